"""Sizes of the tiny configuration: the classes of the full system, narrow enough for two CPU cores (talker.md, 14).

The audio VAE, the speaker condition and the text table are other ones (:mod:`.mel_vae`, :mod:`.voice_vector`,
:class:`.text.Characters`); everything else is the same code with these widths.
"""

from __future__ import annotations

from bench.systems.talker import text, voice_vector
from bench.systems.talker.backbone import BackboneConfig
from bench.systems.talker.lia_sizes import TINY as LIA
from bench.systems.talker.lia_sizes import TINY64 as LIA64
from bench.systems.talker.local_dit import DitConfig
from bench.systems.talker.speech_llm import SpeechLLMConfig

__all__ = ["AHEAD", "LIA", "LIA64", "LLM", "LONGEST_TEXT"]

_WIDTH = 160

#: Backbone, patch encoders, heads: 3,986,288 parameters.
LLM = SpeechLLMConfig(
    backbone=BackboneConfig(
        hidden_size=_WIDTH,
        intermediate_size=426,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=40,
        vocab_size=text.ROWS,
        rms_norm_eps=1e-6,
        rope_theta=1e4,
        tie_word_embeddings=False,
    ),
    speech_dim=32,
    motion_dim=LIA.motion_dim,
    speaker_dim=voice_vector.SIZE,
    encoder_layers=1,
    encoder_heads=4,
    dit=DitConfig(feat_dim=_WIDTH, hidden_size=_WIDTH, n_layer=3, n_head=4),
)
#: Patches that a given mouth or speech runs ahead of what is made to it without a text. At none, as the official loop
#: has it, a patch is made before anything of the mouth in it is known. On 24 held-out clips, of the phonemes that are
#: spoken a small recurrent network tells 0.60 right by the codes up to the patch before, 0.83 with the patch, 0.84 with
#: one more.
AHEAD = 2
#: Characters of a text that is spoken in one piece: what it has learned from are sentences of at most so many.
LONGEST_TEXT = 40
