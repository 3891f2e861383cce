"""MFCC as SyncNet takes them (metrics.md 4.3): float64 throughout, one row per 10 ms.

Pre-emphasis, frames without a window function, power spectrum |rfft|^2 / nfft, triangular mel
filters between whole FFT bins, logarithm, orthonormal DCT-II, lifter; coefficient 0 is replaced by the
logarithm of the frame's energy. The signal is filled up with zeros to whole frames, and an energy of
exactly zero becomes the smallest step of float64, so that digital silence stays finite.

Source: ``jameslyons/python_speech_features: python_speech_features/base.py, sigproc.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

_BLOCK = 8192  # frames transformed at a time: bounds the memory for spectra of long audio


@dataclass(frozen=True, slots=True)
class MfccRecipe:
    """Settings of :func:`mfcc`; times in seconds, frequencies in Hz. ``ceplifter`` 0: no lifter."""

    rate: int
    winlen: float
    winstep: float
    numcep: int
    nfilt: int
    nfft: int
    lowfreq: float
    highfreq: float
    preemph: float
    ceplifter: int
    append_energy: bool

    @classmethod
    def of(cls, parameters: Mapping[str, Any], rate: int) -> MfccRecipe:
        """From the ``mfcc`` part of a protocol's parameters; words that only describe are passed over."""
        known = {name: parameters[name] for name in cls.__dataclass_fields__ if name in parameters}
        return cls(rate=rate, **known)

    @property
    def frame_length(self) -> int:
        """Samples of a frame, rounded half up."""
        return math.floor(self.winlen * self.rate + 0.5)

    @property
    def frame_step(self) -> int:
        """Samples between the beginnings of frames, rounded half up."""
        return math.floor(self.winstep * self.rate + 0.5)


def mfcc(signal: NDArray[Any], recipe: MfccRecipe) -> Reals:
    """Coefficients (M, numcep) of samples (N,), which are integers of the 16-bit range for SyncNet.

    M = 1 for N <= frame length, else 1 + ceil((N - length) / step). Raises ``ValueError`` for no samples.
    """
    if signal.ndim != 1 or signal.size == 0:
        raise ValueError(f"MFCC need samples (N,) with N >= 1, not {signal.shape}")
    frames = _frames(_emphasised(signal, recipe.preemph), recipe)
    filters = filterbank(recipe).T
    blocks = [_coefficients(frames[k : k + _BLOCK], filters, recipe) for k in range(0, len(frames), _BLOCK)]
    return np.concatenate(blocks)


def filterbank(recipe: MfccRecipe) -> Reals:
    """Triangular filters (nfilt, nfft // 2 + 1), equally spaced in mel = 2595 log10(1 + f / 700)."""
    ends = [2595.0 * np.log10(1.0 + f / 700.0) for f in (recipe.lowfreq, recipe.highfreq)]
    hertz = 700.0 * (10.0 ** (np.linspace(ends[0], ends[1], recipe.nfilt + 2) / 2595.0) - 1.0)
    bins = np.floor((recipe.nfft + 1) * hertz / recipe.rate)
    filters = np.zeros((recipe.nfilt, recipe.nfft // 2 + 1))
    for row, (left, centre, right) in zip(filters, zip(bins, bins[1:], bins[2:], strict=False), strict=True):
        rising, falling = np.arange(left, centre), np.arange(centre, right)
        row[int(left) : int(centre)] = (rising - left) / (centre - left)
        row[int(centre) : int(right)] = (right - falling) / (right - centre)
    return filters


def _emphasised(signal: NDArray[Any], factor: float) -> Reals:
    samples = signal.astype(np.float64)  # int16 must not overflow
    samples[1:] -= factor * samples[:-1]
    return samples


def _frames(samples: Reals, recipe: MfccRecipe) -> Reals:
    """A view (M, frame_length) of the samples, filled up with zeros."""
    length, step = recipe.frame_length, recipe.frame_step
    count = 1 + max(0, math.ceil((samples.size - length) / step))
    padded = np.pad(samples, (0, (count - 1) * step + length - samples.size))
    return sliding_window_view(padded, length)[::step]


def _coefficients(frames: Reals, filters: Reals, recipe: MfccRecipe) -> Reals:
    power = np.abs(np.fft.rfft(frames, recipe.nfft)) ** 2 / recipe.nfft  # (m, nfft // 2 + 1)
    cepstra = dct(np.log(_positive(power @ filters)), type=2, axis=1, norm="ortho")[:, : recipe.numcep]
    if recipe.ceplifter > 0:
        n = np.arange(cepstra.shape[1])
        cepstra = cepstra * (1.0 + recipe.ceplifter / 2.0 * np.sin(np.pi * n / recipe.ceplifter))
    if recipe.append_energy:
        cepstra[:, 0] = np.log(_positive(power.sum(axis=1)))
    return np.asarray(cepstra)


def _positive(energies: Reals) -> Reals:
    return np.where(energies == 0.0, np.finfo(np.float64).eps, energies)
