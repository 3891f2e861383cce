"""Resampling of prompts to 16 kHz: sinc under a Kaiser window, as torchaudio's ``kaiser_window`` method.

Facts: specs/hierspeech.md, section 3. The kernel is computed in float32, as torchaudio does for float32 audio.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch.nn.functional import conv1d, pad

from bench.errors import UsageError

WIDTH = 6  # zero crossings on each side
ROLLOFF = 0.99
BETA = 14.769656459379492


def resample(
    audio: torch.Tensor, rate_in: int, rate_out: int, width: int = WIDTH, rolloff: float = ROLLOFF, beta: float = BETA
) -> torch.Tensor:
    """``audio`` (B, L) from ``rate_in`` to ``rate_out`` Hz: (B, ceil(L rate_out / rate_in)), equal rates as it is.

    Raises :class:`UsageError` for rates that are not positive.
    """
    if rate_in < 1 or rate_out < 1:
        raise UsageError(f"sample rates must be positive, not {rate_in} and {rate_out}", "give rates in Hz")
    if rate_in == rate_out:
        return audio
    common = math.gcd(rate_in, rate_out)
    old, new = rate_in // common, rate_out // common
    kernel = _kernel(old, new, width, rolloff, beta).to(audio)  # (new, 1, 2 W + old)
    reach = (kernel.shape[-1] - old) // 2
    phases = conv1d(pad(audio, (reach, reach + old))[:, None], kernel, stride=old)  # (B, new, ceil)
    return phases.transpose(1, 2).flatten(1)[:, : math.ceil(new * audio.shape[-1] / old)]


@lru_cache(maxsize=16)
def _kernel(old: int, new: int, width: int, rolloff: float, beta: float) -> torch.Tensor:
    """The taps of each output phase (new, 1, 2 W + old), W = ceil(width old / cut-off)."""
    cutoff = min(old, new) * rolloff
    reach = math.ceil(width * old / cutoff)
    taps = torch.arange(-reach, reach + old, dtype=torch.float32)[None, None] / old
    phases = torch.arange(0, -new, -1, dtype=torch.float32)[:, None, None] / new
    t = ((phases + taps) * cutoff).clamp(-width, width)
    window = torch.i0(beta * torch.sqrt(1 - (t / width) ** 2)) / torch.i0(torch.tensor(float(beta)))
    return torch.sinc(t) * window * (cutoff / old)
