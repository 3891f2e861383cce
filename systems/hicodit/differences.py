"""What of this HiCoDiT is the paper's, what is inferred, and what is our choice; shown by ``bench info hicodit``.

Paper: arXiv 2604.15923; DEmoFace: arXiv 2502.01046, by the same first author, which the paper cites for its guidance;
SEDD: arXiv 2310.16834. No code and no weights of HiCoDiT are public.
"""

from __future__ import annotations

from collections.abc import Mapping

DIFFERENCES: Mapping[str, str] = {
    "status": (
        "an implementation of our own: no code and no weights are public, the official repository holds a README and a "
        "licence. Nothing here was compared with official code or numbers"
    ),
    "paper: tokens": (
        "12 levels of 1024 codes, 50 a second; levels 1-2 are low (content, timbre), 3-12 high (prosody, detail)"
    ),
    "paper: model": (
        "8 low and 8 high blocks of width 768 with 12 heads; lips join the tokens by concatenation, identity enters "
        "the low blocks by plain, emotion the high ones by dual-scale adaptive normalisation; a linear head per level"
    ),
    "paper: diffusion": (
        "absorbing-state discrete diffusion with score entropy and log-linear noise (formulas: SEDD), 64 Euler steps, "
        "sampler=paper; guidance by joint, identity, emotion and lip scales of 2.5, 1.25, 1.5 and 2 (LRS3)"
    ),
    "paper: training": (
        "AdamW, learning rate 1e-4, batch 32, 200 k steps; L1 of identity against GE2E times 100; conditions dropped "
        "with probability 0.1 each, and all in 10 %; speech-side identity and emotion in training"
    ),
    "paper: rows": "mode=video is its row without audio, mode=audio the one in which a speech clip gives the voice",
    "inferred: gate": "the residual gate is predicted with scale and shift; the paper lists it, its formula does not",
    "inferred: identity loss": "the mean over the 256 entries, by its weight of 100; the adapter alone learns from it",
    "inferred: guidance": (
        "the paper prints the identity scale twice, the second one is taken for emotion's; the product of DEmoFace's "
        "two factors has one power of the unconditional score, and is normalised again"
    ),
    "inferred: emotion in training": "one acoustic label for the utterance, at every step",
    "inferred: lip features": "AV-HuBERT's output behind its last normalisation; self-supervised or fine-tuned file",
    "choice: codec": (
        "DAC at 16 kHz, the same grid of tokens, in place of MaskGCT's at 24 kHz (codec=maskgct), which the paper names"
    ),
    "choice: scores": (
        "normalized: the known factor of time stands outside the network; free is SEDD's, as the paper has it"
    ),
    "choice: sampler": (
        "tau with 32 steps: for normalised scores the distribution of Euler's step at any step size; fast and tiny "
        "decode low levels first, by confidence"
    ),
    "choice: times": "in half of the training samples low levels are at an earlier time than high ones",
    "choice: alignment": "each video frame's features stand for two code frames; one emotion step for 25",
    "choice: emotion": (
        "neutral; or Poster V2 from a file of the user's (emotion=poster2); or a small classifier (emotion=tiny) that "
        "has learnt from neutral faces moved into expressions; means over windows of 0.5 s, then the class"
    ),
    "choice: faces that are lost": (
        "frames without a face, or with the mouth's centre outside the picture, have their neighbours' landmarks; a "
        "clip of such frames alone fails as no_face. A covered mouth is not told from one that is seen"
    ),
    "choice: long clips": (
        "above 10 s windows of 8 s that share 1 s (tier embedded: 4 s and 0.5 s); the tokens of the shared part are "
        "given to the next window"
    ),
    "choice: optimiser": (
        "weight decay 0.01 on matrices, warm-up 2500 steps, average of weights 0.9999, gradients of the identity "
        "adapter clipped apart"
    ),
}
