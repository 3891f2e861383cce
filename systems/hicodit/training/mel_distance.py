"""Distance of two waveforms in log-mel spectrograms of seven resolutions: the reconstruction loss of DAC.

Facts: specs/codec.md 1.7 (``descriptinc/descript-audio-codec: dac/nn/loss.py``).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.media.mel_scale import slaney_filters

#: Window in samples, bands.
RESOLUTIONS = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
_FLOOR = 1e-5


def mel_distance(made: Tensor, true: Tensor, rate: int) -> Tensor:
    """Mean absolute differences of log10 mel magnitudes, summed over the resolutions; both ``(B, T)`` at ``rate``."""
    each = [F.l1_loss(_log_mel(made, rate, *sizes), _log_mel(true, rate, *sizes)) for sizes in RESOLUTIONS]
    return torch.stack(each).sum()


def _log_mel(wave: Tensor, rate: int, window: int, bands: int) -> Tensor:
    """``(B, frames, bands)``."""
    shape = torch.hann_window(window, device=wave.device)
    spectra = torch.stft(wave.float(), window, window // 4, window=shape, return_complex=True)
    mel = spectra.abs().transpose(1, 2) @ _filters(rate, window, bands).to(wave.device)
    return mel.clamp_min(_FLOOR).log10()


@lru_cache(maxsize=16)
def _filters(rate: int, window: int, bands: int) -> Tensor:
    return torch.from_numpy(slaney_filters(rate, window, bands).astype(np.float32))
