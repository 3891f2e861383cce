"""Where paper, README and code of Talker-T2AV differ, and what is done here; shown by ``bench info talker``.

Paper: arXiv 2604.23586. Code: ``zhenye234/Talker-T2AV``, commit 6712f62.
"""

from __future__ import annotations

from collections.abc import Mapping

DIFFERENCES: Mapping[str, str] = {
    "delay of motion behind speech": (
        "none. Paper: the streams are added at the same position; code: defaults of 5 in the model's arguments and in "
        "infer.py, but 0 in the training configuration and in the model that infer.py builds"
    ),
    "task embedding": (
        "task_token=add_to_prefix, as infer.py: added to the prefix's first patch, left out without a prefix; in "
        "training, and with task_token=prepend, it is the first token"
    ),
    "sampling": (
        "10 steps, temperature 0.3, guidance 2, prefix 0.5 s: infer.py's command line. Paper: temperature 0.7; "
        "defaults of infer.py's functions: 20 steps, guidance 1, prefix 3 s. With zero_star the first step (4 % of 49 "
        "or more) has velocity 0: 10 steps evaluate a head 9 times"
    ),
    "end of speech": (
        "stop_k=3, min_gen_patches=7, as infer.py: probability of at least 0.5 three times in a row, asked after "
        "seven new patches, and what was made meanwhile stays. Paper: one probability above 0.5"
    ),
    "longest result": (
        "that of the reference and margin_patches=15 (2.4 s), as infer.py, whatever the text: a short reference cuts a "
        "long text; max_seconds sets another bound"
    ),
    "weights of the losses": (
        "motion 10 (training configuration; paper 8, default of the class 1), stop 1, its positive labels by their "
        "rarity times 0.3 (code; paper without that factor)"
    ),
    "course of training": (
        "warm-up of 10 % of the steps, then a cosine (code; paper 3 %), from Qwen3's weights or fresh ones (paper: one "
        "stage from scratch; the configuration names a text-to-speech model to begin with)"
    ),
    "width of a speech latent": "32, as released; the class's default and comments say 128",
    "precision": (
        "backbone in bfloat16, everything else in float32 on a CPU; on CUDA references are heard and the backbone runs "
        "in bfloat16 as by infer.py, heads, decoding and drawing in float32"
    ),
    "beginning of the result": (
        "the reference's prefix is cut off before scoring; infer.py leaves it in, as keep_prefix does"
    ),
    "picture": (
        "view=whole: the square of 512 px is brought back to the reference video's size, as frame metrics need it; "
        "infer.py leaves the square, as view=official does"
    ),
    "audio to face, video to speech": (
        "paper and README describe them, no code is published: the known stream is fed, the other one's head runs, "
        "nothing stops before the known stream ends. In tier embedded the known stream is two patches (0.32 s) ahead "
        "where there is no text; as described, a patch is made before anything of the known one beside it is seen"
    ),
    "a long text": (
        "spoken in pieces, each going on from the one before; infer.py takes one text of any length and cuts at its "
        "bound"
    ),
}
