"""Log-mel frames of 16 kHz audio and their inversion without a network; what the small systems speak through.

Analysis: STFT magnitudes, window 640 inside 1024 points, centred over zero padding, 100 frames a second; 80 Slaney
bands; natural logarithm. Inversion: magnitudes by non-negative least squares, phases by the fast Griffin-Lim algorithm
(Perraudin, Balazs and Søndergaard 2013) from a seeded random start, as ``librosa.griffinlim`` does it.
Facts: specs/codec.md, section 4. Each clip is inverted on its own: what is beside it in a batch changes no bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import UsageError
from bench.media.mel_scale import slaney_filters

_LEAST_MAGNITUDE = 1e-5  # at which least squares begins
_LEAST_DIVISOR = 1e-8
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class LogMelConfig:
    """``win_length`` is a multiple of ``hop_length``; ``floor`` bounds mel magnitudes from below.

    ``least_squares`` and ``rounds``: iterations for magnitudes and for phases.
    """

    sample_rate: int = 16_000
    n_fft: int = 1024
    win_length: int = 640
    hop_length: int = 160
    n_mels: int = 80
    floor: float = 1e-4
    least_squares: int = 30
    rounds: int = 48
    momentum: float = 0.99

    def __post_init__(self) -> None:
        if self.win_length % 2 or not self.hop_length <= self.win_length // 2 <= self.n_fft // 2:
            raise UsageError(
                f"window {self.win_length}, hop {self.hop_length}, {self.n_fft} points do not go together",
                "the window must be even, at least two hops long, and no longer than the transform.",
            )

    @property
    def silence(self) -> float:
        """The value of a band in which there is nothing."""
        return math.log(self.floor)


DEFAULT = LogMelConfig()


def log_mel(audio: Tensor, config: LogMelConfig = DEFAULT) -> Tensor:
    """``(B, L // hop, n_mels)`` of ``audio`` ``(B, L)`` in [-1, 1]; differentiable."""
    bank = _filters(config).to(audio)
    magnitudes = _analysed(audio, config)[:, : audio.shape[-1] // config.hop_length].abs()
    return (magnitudes @ bank).clamp_min(config.floor).log()


def padded(audio: Tensor, multiple: int) -> Tensor:
    """``audio`` ``(…, L)`` with zeros at its end to a multiple of so many samples, at least one."""
    length = max(1, math.ceil(audio.shape[-1] / multiple)) * multiple
    return F.pad(audio, (0, length - audio.shape[-1]))


@torch.no_grad()
def inverted(mel: Tensor, config: LogMelConfig = DEFAULT, seed: int = 0) -> Tensor:
    """A waveform ``(B, hop * T)`` float32 for log-mel frames ``(B, T, n_mels)``; the same for the same seed."""
    return torch.stack([_clip(one.float(), config, seed) for one in mel])


def magnitudes_of(mel: Tensor, config: LogMelConfig = DEFAULT) -> Tensor:
    """STFT magnitudes ``(T, n_fft // 2 + 1)`` that have, as nearly as can be, the log-mel frames ``(T, n_mels)``."""
    bank = _filters(config).to(mel)  # (bins, mels)
    wanted = mel.exp()
    found = (wanted @ _pseudo_inverse(config).to(mel)).clamp_min(_LEAST_MAGNITUDE)
    target = wanted @ bank.T
    for _ in range(config.least_squares):  # multiplicative updates keep signs
        found = found * target / ((found @ bank) @ bank.T + _LEAST_DIVISOR)
    return found


def _clip(mel: Tensor, config: LogMelConfig, seed: int) -> Tensor:
    """The waveform ``(hop * T,)`` of one clip's frames ``(T, n_mels)``."""
    length = len(mel) * config.hop_length
    if not length:
        return mel.new_zeros(0)
    # the analysis has left out the frame that is centred on the end
    target = magnitudes_of(torch.cat([mel, mel[-1:]]), config)  # (T + 1, bins)
    spectra = target * _start(target.shape, config, seed).to(mel.device)
    kept = config.momentum / (1 + config.momentum)
    synthesis = _Synthesis(len(target), config, mel.device)
    before: Tensor | None = None
    for _ in range(config.rounds):
        now = _analysed(synthesis(spectra)[None], config)[0]
        spectra = _with_magnitudes(now.clone() if before is None else torch.sub(now, before, alpha=kept), target)
        before = now
    return synthesis(spectra)


def _with_magnitudes(spectra: Tensor, target: Tensor) -> Tensor:
    """``spectra`` with other magnitudes, both ``(T, bins)``, in place; real numbers are faster here than complex."""
    real, imaginary = spectra.real, spectra.imag
    power = torch.addcmul((real * real).add_(_TINY), imaginary, imaginary)
    scale = power.rsqrt_().mul_(target)
    real.mul_(scale)
    imaginary.mul_(scale)
    return spectra


def _start(shape: torch.Size, config: LogMelConfig, seed: int) -> Tensor:
    """Random phases ``(T, bins)``, those that librosa begins with for this seed, as :func:`_analysed` counts them."""
    frames, bins = shape
    turns = np.random.RandomState(seed).random_sample((bins, frames)).T
    # librosa's frames begin a margin before the window's first sample
    margin = (config.n_fft - config.win_length) // 2
    turns = turns + margin / config.n_fft * np.arange(bins)
    return torch.from_numpy(np.exp(2j * np.pi * turns).astype(np.complex64))


def _analysed(audio: Tensor, config: LogMelConfig) -> Tensor:
    """Spectra ``(B, L // hop + 1, bins)`` of centred frames; time is counted from each window's first sample."""
    half = config.win_length // 2
    frames = F.pad(audio, (half, half)).unfold(-1, config.win_length, config.hop_length)
    spectra: Tensor = torch.fft.rfft(frames * _window(config).to(audio), n=config.n_fft)
    return spectra


class _Synthesis:
    """The waveform ``(hop * (T - 1),)`` whose spectra are nearest to given ones ``(T, bins)``: overlap and add."""

    def __init__(self, frames: int, config: LogMelConfig, device: torch.device) -> None:
        self._hop, self._parts = config.hop_length, -(-config.win_length // config.hop_length)
        self._n_fft, self._length = config.n_fft, config.win_length
        window = _window(config).to(device)
        weight = self._added((window**2).expand(frames, -1))
        self._window, self._scale = window, weight.clamp_min(_TINY).reciprocal()

    def __call__(self, spectra: Tensor) -> Tensor:
        """See the class."""
        pieces = torch.fft.irfft(spectra, n=self._n_fft)[:, : self._length]
        return self._added(pieces * self._window) * self._scale

    def _added(self, pieces: Tensor) -> Tensor:
        """Windows ``(T, win)`` each a hop later than the last, added; the half window at both ends is cut."""
        frames, parts = len(pieces), self._parts
        total = pieces.new_zeros(frames + parts - 1, self._hop)
        for part, columns in enumerate(torch.split(pieces, self._hop, dim=1)):
            total[part : part + frames, : columns.shape[1]] += columns
        first = self._length // 2
        return total.flatten()[first : first + self._hop * (frames - 1)]


@lru_cache(maxsize=4)
def _window(config: LogMelConfig) -> Tensor:
    return torch.hann_window(config.win_length)


@lru_cache(maxsize=4)
def _filters(config: LogMelConfig) -> Tensor:
    """``(bins, n_mels)`` float32."""
    return torch.from_numpy(slaney_filters(config.sample_rate, config.n_fft, config.n_mels).astype(np.float32))


@lru_cache(maxsize=4)
def _pseudo_inverse(config: LogMelConfig) -> Tensor:
    """``(n_mels, bins)`` float32."""
    bank = slaney_filters(config.sample_rate, config.n_fft, config.n_mels)
    return torch.from_numpy(np.linalg.pinv(bank).astype(np.float32))
