"""How far synthetic speech is from recorded speech, as spectra at several resolutions and as F0.

These four terms, summed, are all that the tiny synthesizer is trained with (specs/hierspeech.md, T.3): no posterior
encoder, no discriminator. Waveforms are ``(B, L)`` at 16 kHz with the level that they have in the data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bench.systems.hierspeech.mel import log_mel

#: Lengths of the transforms in samples; the hop is a quarter.
RESOLUTIONS = (1024, 512, 256)
_POWER_FLOOR = 1e-5  # under the square root, whose slope at 0 is infinite
_LEAST_MAGNITUDE = 0.1  # below it logarithms do not tell magnitudes apart
_NORM_FLOOR = 1e-3


class SpeechLosses(NamedTuple):
    """Scalars. ``mel``: mean distance of log-mel spectrograms; ``log_magnitude``: of log magnitudes; ``convergence``:
    relative error of magnitudes; ``f0``: mean distance of log(F0 + 1)."""

    mel: Tensor
    log_magnitude: Tensor
    convergence: Tensor
    f0: Tensor

    def total(self) -> Tensor:
        """Their sum; none has a weight."""
        return self.mel + self.log_magnitude + self.convergence + self.f0


def speech_losses(made: Tensor, true: Tensor, made_f0: Tensor, true_f0: Tensor) -> SpeechLosses:
    """``made`` and ``true`` (B, L) of equal length, L above 640; F0 as log(F0 + 1) of any equal shape."""
    mel = (log_mel(made) - log_mel(true)).abs().mean()
    return SpeechLosses(mel, *stft_losses(made, true), (made_f0 - true_f0).abs().mean())


def stft_losses(made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Means over :data:`RESOLUTIONS` of the distance of log magnitudes, and of the error of all magnitudes of the
    batch over their norm."""
    distances, errors = [], []
    for size in RESOLUTIONS:
        ours, theirs = magnitudes(made, size), magnitudes(true, size)
        distances.append((_log(ours) - _log(theirs)).abs().mean())
        errors.append(torch.linalg.vector_norm(ours - theirs) / (torch.linalg.vector_norm(theirs) + _NORM_FLOOR))
    return torch.stack(distances).mean(), torch.stack(errors).mean()


def magnitudes(audio: Tensor, size: int) -> Tensor:
    """sqrt(|STFT|² + 1e-5) (B, size / 2 + 1, frames) of ``audio`` (B, L): Hann window, centred, reflected ends."""
    window = torch.hann_window(size, dtype=audio.dtype, device=audio.device)
    spectrum = torch.stft(audio, size, size // 4, window=window, pad_mode="reflect", return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + _POWER_FLOOR).sqrt()


def _log(magnitude: Tensor) -> Tensor:
    return magnitude.clamp_min(_LEAST_MAGNITUDE).log()
