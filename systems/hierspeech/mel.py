"""Log-mel and linear spectrograms of 16 kHz audio, 50 frames a second (hop 320).

Facts: specs/hierspeech.md, section 3 (``sh-lee-prml/HierSpeechpp: Mels_preprocess.py``, semantics of torchaudio's
MelSpectrogram). The last frame is dropped: L samples give floor(L / hop) frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.functional import pad

from bench.errors import DataError


@dataclass(frozen=True, slots=True)
class MelConfig:
    """Settings by the names of the configuration; ``floor`` is added before the logarithm."""

    sample_rate: int = 16000
    n_fft: int = 1280
    win_length: int = 1280
    hop_length: int = 320
    f_min: float = 0.0
    f_max: float = 8000.0
    n_mels: int = 80
    floor: float = 1e-3


DEFAULT = MelConfig()


def log_mel(audio: torch.Tensor, config: MelConfig = DEFAULT) -> torch.Tensor:
    """``log(mel + floor)`` (B, n_mels, T) of ``audio`` (B, L), T = L // hop; differentiable.

    Raises:
        DataError: ``audio`` is shorter than what its ends are reflected by (n_fft / 2 + 1 samples).
    """
    power = linear_spectrogram(audio, config)
    bank = filter_bank(config).to(power)
    return torch.log(torch.einsum("bft,fm->bmt", power, bank) + config.floor)


def linear_spectrogram(audio: torch.Tensor, config: MelConfig = DEFAULT, power: float = 2.0) -> torch.Tensor:
    """|STFT|^power (B, n_fft // 2 + 1, T) of ``audio`` (B, L); window Hann, centred, reflected ends."""
    if audio.shape[-1] <= config.n_fft // 2:
        raise DataError(
            f"audio of {audio.shape[-1]} samples is too short for a spectrogram",
            f"at least {config.n_fft // 2 + 1} samples ({config.sample_rate} Hz) are needed.",
        )
    window = torch.hann_window(config.win_length, dtype=audio.dtype, device=audio.device)
    spectrum = torch.stft(
        audio, config.n_fft, config.hop_length, config.win_length, window, pad_mode="reflect", return_complex=True
    )[..., : audio.shape[-1] // config.hop_length]
    if power == 2.0:
        return spectrum.real.square() + spectrum.imag.square()
    magnitude: torch.Tensor = spectrum.abs()
    return magnitude if power == 1.0 else magnitude.pow(power)


@lru_cache(maxsize=8)
def filter_bank(config: MelConfig = DEFAULT) -> torch.Tensor:
    """Triangles on the HTK mel scale, float32 (n_fft // 2 + 1, n_mels), height 1. Treat as constant."""
    bins = torch.linspace(0, config.sample_rate // 2, config.n_fft // 2 + 1)
    mels = torch.linspace(_hz_to_mel(config.f_min), _hz_to_mel(config.f_max), config.n_mels + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)  # (n_mels + 2,) in Hz
    width = edges[1:] - edges[:-1]
    slope = edges[None, :] - bins[:, None]  # (bins, n_mels + 2)
    rising, falling = -slope[:, :-2] / width[:-1], slope[:, 2:] / width[1:]
    return torch.minimum(rising, falling).clamp_min(0)


def _hz_to_mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)


def pad_to_frames(audio: torch.Tensor, config: MelConfig = DEFAULT) -> torch.Tensor:
    """``audio`` (B, L) with zeros at the right where it is too short for one spectrogram frame."""
    return pad(audio, (0, max(0, config.n_fft // 2 + 1 - audio.shape[-1])))
