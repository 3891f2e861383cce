"""Lengths and levels of waveforms: padding before the networks, int16 after them.

Facts: specs/hierspeech.md, sections 3 and 5.2 (``sh-lee-prml/HierSpeechpp: inference.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import pad

from bench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROMPT_STEP = 1600  # samples; prompts get a length that is a multiple
SOURCE_STEP = 1280  # the same for clips whose wav2vec features are taken: 4 frames
PEAK = 0.999  # of the output where the prompt's level is not kept
_FULL_SCALE = 32767.0


def padded_length(samples: int, step: int) -> int:
    """The next multiple of ``step`` above ``samples``: a whole step more where it is one already."""
    return (samples // step + 1) * step


def pad_right(audio: torch.Tensor, step: int) -> torch.Tensor:
    """``audio`` (..., L) with zeros to :func:`padded_length`."""
    return pad(audio, (0, padded_length(audio.shape[-1], step) - audio.shape[-1]))


def to_int16(audio: torch.Tensor, peak: float = PEAK) -> NDArray[np.int16]:
    """``audio`` (one item of any shape) flat, scaled so that its peak is ``peak``, truncated toward zero: (L,).

    ``peak`` is 0.999, or the prompt's greatest magnitude. Silence stays silence.

    Raises:
        DataError: a sample is not finite.
    """
    flat = audio.detach().to("cpu", torch.float32).flatten()
    if not flat.numel():
        return np.zeros(0, np.int16)
    highest = flat.abs().max()
    if not highest.isfinite():
        raise DataError("the waveform has samples that are not finite", "the network's weights are damaged.")
    if highest == 0:
        return np.zeros(flat.numel(), np.int16)
    # the order of operations is the official one; another may round to the other side of an integer
    scaled = flat / highest * _FULL_SCALE * peak
    return np.asarray(scaled.numpy().astype(np.int16))
