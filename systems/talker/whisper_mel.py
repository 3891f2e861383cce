"""Whisper's log-mel of 16 kHz audio: 128 bands, 100 frames a second, always 30 s.

Facts: specs/talker.md 6.5 (``openai-whisper`` 20250625: ``whisper/audio.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.media.mel_scale import slaney_filters

_FLOOR = 1e-10
_RANGE = 8.0  # decades below the greatest value


@dataclass(frozen=True, slots=True)
class WhisperMelConfig:
    """``n_samples``: audio is cut or padded with zeros to so many."""

    n_mels: int = 128
    sample_rate: int = 16_000
    n_samples: int = 480_000
    n_fft: int = 400
    hop_length: int = 160


DEFAULT = WhisperMelConfig()


def whisper_mel(audio: Tensor, config: WhisperMelConfig = DEFAULT) -> Tensor:
    """``(…, n_mels, n_samples / hop)`` of ``audio`` ``(…, L)``; each clip is scaled by its own greatest value."""
    audio = pad(audio[..., : config.n_samples], (0, max(0, config.n_samples - audio.shape[-1])))
    window = torch.hann_window(config.n_fft, device=audio.device)
    flat = audio.reshape(-1, config.n_samples)
    spectrum = torch.stft(
        flat, config.n_fft, config.hop_length, window=window, pad_mode="reflect", return_complex=True
    )[..., :-1]
    mel = filters(config).to(audio.device) @ spectrum.abs().square()
    level = mel.clamp_min(_FLOOR).log10()
    level = torch.maximum(level, level.amax((-2, -1), keepdim=True) - _RANGE)
    return ((level + 4.0) / 4.0).reshape(*audio.shape[:-1], *level.shape[-2:])


@lru_cache(maxsize=4)
def filters(config: WhisperMelConfig = DEFAULT) -> Tensor:
    """The filter bank, float32 ``(n_mels, n_fft / 2 + 1)``. Treat as constant."""
    bank = slaney_filters(config.sample_rate, config.n_fft, config.n_mels)
    return torch.from_numpy(bank.T.astype("float32"))
