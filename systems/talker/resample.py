"""Resampling as the official code does it, to 24 kHz for the codec and 16 kHz for Whisper and the speaker encoder.

Facts: specs/talker.md 6.6 (torchaudio's defaults). It is the windowed sinc of :mod:`bench.media.resample`, but phases
are rounded to float32 before they enter the float64 kernel: 3e-6 of full scale apart at 44.1 kHz.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from bench.errors import UsageError

WIDTH = 6  # zero crossings on each side
ROLLOFF = 0.99


def resample(audio: Tensor, rate_in: int, rate_out: int, width: int = WIDTH, rolloff: float = ROLLOFF) -> Tensor:
    """``audio`` (B, L) from ``rate_in`` to ``rate_out`` Hz: (B, ceil(L rate_out / rate_in)), equal rates as it is.

    Raises:
        UsageError: rates that are not positive.
    """
    if rate_in < 1 or rate_out < 1:
        raise UsageError(f"sample rates must be positive, not {rate_in} and {rate_out}", "give rates in Hz")
    if rate_in == rate_out:
        return audio
    common = gcd(rate_in, rate_out)
    old, new = rate_in // common, rate_out // common
    kernel, reach = sinc_kernel(old, new, width, rolloff)
    phases = conv1d(pad(audio, (reach, reach + old))[:, None], kernel.to(audio), stride=old)  # (B, new, …)
    return phases.transpose(1, 2).flatten(1)[:, : ceil(new * audio.shape[-1] / old)]


@lru_cache(maxsize=16)
def sinc_kernel(old: int, new: int, width: int = WIDTH, rolloff: float = ROLLOFF) -> tuple[Tensor, int]:
    """Taps of each output phase, float32 ``(new, 1, 2 W + old)``, and W; rates without their common divisor.

    Treat as constant.
    """
    cutoff = min(old, new) * rolloff
    reach = ceil(width * old / cutoff)
    taps = np.arange(-reach, reach + old, dtype=np.float64) / old
    phases = np.arange(0, -new, -1).astype(np.float32) / np.float32(new)
    t = np.clip((phases.astype(np.float64)[:, None] + taps) * cutoff, -width, width)
    kernel = np.sinc(t) * np.cos(np.pi * t / (2 * width)) ** 2 * (cutoff / old)
    return torch.from_numpy(kernel.astype(np.float32))[:, None], reach
