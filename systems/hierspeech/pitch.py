"""F0 as the networks take it, log(F0 + 1) with 0 for unvoiced, and its transfer to another voice.

Facts: specs/hierspeech.md, sections 5.2 and 5.3 (``sh-lee-prml/HierSpeechpp: inference.py, inference_vc.py``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from bench.records import Array

LOWEST_LOG_F0 = math.log(55.0)  # predicted log-F0 below it means unvoiced


def log_f0(f0: Array) -> Array:
    """``log(f0 + 1)`` float64 of F0 in Hz, any shape."""
    return np.asarray(np.log(np.asarray(f0, np.float64) + 1))


def convert_f0(source: Array, target: Array) -> Array:
    """log-F0 (T,) of the source's melody in the target's range.

    ``source`` (T,) and ``target`` (S,) are Hz with 0 for unvoiced. Voiced values are normalised by the source's voiced
    mean and (population) standard deviation, then scaled by the target's, and cut at 0. Where either
    clip has no voice the result is unvoiced throughout (the official code gives NaN); a source that never
    changes lies at the target's mean.
    """
    f0 = np.asarray(source, np.float64)
    voiced, theirs = f0[f0 > 0], np.asarray(target, np.float64)
    theirs = theirs[theirs > 0]
    moved = np.zeros_like(f0)
    if voiced.size and theirs.size:
        spread = voiced.std()
        score = (voiced - voiced.mean()) / spread if spread > 0 else np.zeros_like(voiced)
        moved[f0 > 0] = np.maximum(score * theirs.std() + theirs.mean(), 0)
    return log_f0(moved)


def clip_pitch(pitch: torch.Tensor) -> torch.Tensor:
    """Predicted log-F0, any shape, with every value below log(55) as 0."""
    return torch.where(pitch < LOWEST_LOG_F0, torch.zeros_like(pitch), pitch)
