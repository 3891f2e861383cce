"""F0 by YAAPT (Kasi and Zahorian 2002; Zahorian and Hu 2008) as ``AMFM_decompy: pYAAPT.py`` computes it, vectorised.

Used for voice conversion and for training data: 20 ms frames every 5 ms, so 200 values a second. Facts:
specs/hierspeech.md, section 3 and appendix A. Everything is float64. In the last step rows of equal
merit often cost exactly the same; rounding then decides, so other programs may differ by a lag in about 1 % of frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import firwin, lfilter

from bench.errors import UsageError
from bench.systems.hierspeech.yaapt_path import best_first, cheapest_path, median
from bench.systems.hierspeech.yaapt_spectral import spectral_track
from bench.systems.hierspeech.yaapt_time import time_candidates

if TYPE_CHECKING:
    from bench.records import Array

F0_MAX_CONVERSION = 1100.0  # Hz; what the voice-conversion script alone sets
_TAPS, _PASS_HZ = 151, (50.0, 1500.0)
_VOICED_ENERGY = 0.75  # of the clip's mean
_SILENT_ENERGY = 0.1
_MERIT_SILENT = 0.99
_MEDIAN = 7
_MIN_FRAMES = 4  # the smoothing of the spectral track wants as many
_FRAMES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class YaaptConfig:
    """Settings by the names of the package: times in ms, frequencies in Hz; ``pad`` samples of zeros at each end."""

    frame_length: float = 20.0
    frame_space: float = 5.0
    tda_frame_length: float = 25.0
    nccf_threshold: float = 0.25
    f0_min: float = 60.0
    f0_max: float = 400.0
    pad: int = 160
    rate: int = 16000
    nfft: int = 8192

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return int(self.frame_length * self.rate / 1000)

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return int(self.frame_space * self.rate / 1000)

    @property
    def tda_frame(self) -> int:
        """Samples of a frame of the time-domain analysis."""
        return int(self.tda_frame_length * self.rate / 1000)

    @property
    def bin_hz(self) -> float:
        """Hz between bins of the spectrum."""
        return self.rate / self.nfft


DEFAULT = YaaptConfig()


@dataclass(frozen=True, slots=True)
class Stages:
    """What YAAPT finds on its way; F0 in Hz, T frames. ``f0`` is the result (0: unvoiced)."""

    energy: Array  # (T,) low-frequency energy over the clip's mean
    voiced: Array  # (T,) bool
    track: Array  # (T,) spectral track
    spread: float  # its standard deviation
    time_pitch: tuple[Array, Array]  # (3, T) candidates of the signal, of the squared signal
    time_merit: tuple[Array, Array]
    refined_pitch: Array  # (6, T)
    refined_merit: Array
    f0: Array  # (T,)


def f0(samples: Array, config: YaaptConfig = DEFAULT) -> Array:
    """F0 (T,) float64 in Hz, 0 where unvoiced, of mono ``samples`` (N,) at ``config.rate``.

    T = ceil(N / hop) with the default padding. A clip that is silent, or shorter than four frames, is unvoiced
    throughout. Raises :class:`UsageError` for samples that are not (N,) or not finite.
    """
    found = stages(samples, config)
    return np.zeros(_frame_count(_padded(samples, config), config)) if found is None else found.f0


def stages(samples: Array, config: YaaptConfig = DEFAULT) -> Stages | None:
    """All steps of :func:`f0`; ``None`` where there is nothing to analyse (silence, fewer than four frames)."""
    signal = _padded(samples, config)
    if _frame_count(signal, config) < _MIN_FRAMES or not signal.any():
        return None
    band = _band_pass(config.rate)
    plain, squared = lfilter(band, 1.0, signal), lfilter(band, 1.0, signal**2)
    energy = _energy(plain, config)
    if not energy.any():
        return None
    energy = energy / energy.mean()
    voiced = energy > _VOICED_ENERGY
    track, spread = spectral_track(squared, voiced, config)
    first = time_candidates(plain, track, spread, config)
    second = time_candidates(squared, track, spread, config)
    pitch, merit = _refine(
        np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]]), track, energy, voiced
    )
    return Stages(
        energy,
        voiced,
        track,
        spread,
        (first[0], second[0]),
        (first[1], second[1]),
        pitch,
        merit,
        _final(pitch, merit, energy),
    )


def _padded(samples: Array, config: YaaptConfig) -> Array:
    signal = np.asarray(samples, dtype=np.float64)
    if signal.ndim != 1 or not np.isfinite(signal).all():
        raise UsageError(f"F0 wants finite mono samples (N,), not {signal.shape}", "mix the channels first")
    return np.pad(signal, config.pad)


@lru_cache(maxsize=4)
def _band_pass(rate: int) -> Array:
    taps: Array = firwin(_TAPS, _PASS_HZ, pass_zero=False, fs=rate)
    return taps


def _frame_count(signal: Array, config: YaaptConfig) -> int:
    half = config.frame // 2
    return len(range(half, signal.size - half, config.hop))


def _energy(plain: Array, config: YaaptConfig) -> Array:
    """Sum of the spectrum's magnitudes from twice the lowest F0 to the highest, (T,)."""
    window = np.hanning(config.frame + 2)[1:-1]
    low = int(np.around(2 * config.f0_min / config.bin_hz)) - 1
    high = int(np.around(config.f0_max / config.bin_hz))
    frames = sliding_window_view(plain, config.frame)[:: config.hop][: _frame_count(plain, config)]
    parts = [
        np.abs(np.fft.rfft(frames[i : i + _FRAMES_AT_ONCE] * window, config.nfft)[:, low:high]).sum(axis=1)
        for i in range(0, len(frames), _FRAMES_AT_ONCE)
    ]
    return np.concatenate(parts)


def _refine(pitch: Array, merit: Array, track: Array, energy: Array, voiced: Array) -> tuple[Array, Array]:
    """The six candidates (6, T) after weighing energy and spectral track; rows 3 and 4 become track and median."""
    pitch, merit = best_first(pitch, merit)
    best = median(pitch[0], _MEDIAN) * voiced
    loudness = np.minimum(1.0, energy / 2)
    silent = energy <= _SILENT_ENERGY
    heard = ~silent & (pitch[0] > 0)
    lost = ~silent & ~heard
    merit[1:5][(pitch[1:5] == 0) & heard] = 0.0
    pitch[5, heard], merit[5, heard] = 0.0, 1 - merit[0, heard]
    pitch[:, silent], merit[:, silent] = 0.0, _MERIT_SILENT
    pitch[0, lost], merit[0, lost] = track[lost], loudness[lost]
    pitch[1:, lost], merit[1:, lost] = 0.0, 1 - loudness[lost]
    pitch[4], merit[4] = best, np.where(best > 0, merit[0], 1 - loudness)
    pitch[3], merit[3] = track, energy / 5
    return pitch, merit


def _final(pitch: Array, merit: Array, energy: Array) -> Array:
    """The cheapest path (T,) through the candidates (6, T); zeros where the median row has no voice at all."""
    rows, frames = pitch.shape
    best = pitch[rows - 2]
    if not (best > 0).any():
        return np.zeros(frames)
    typical = best[best > 0].mean()
    before, after = pitch.T[:-1, :, None], pitch.T[1:, None, :]  # (T-1, 6, 1), (T-1, 1, 6)
    change = np.minimum(1.0, np.abs(energy[:-1] - energy[1:]))[:, None, None]
    cost = np.where((before > 0) & (after > 0), 0.15 * (np.abs(after - before) / typical), 0.5 * (1 - change))
    cost = np.where((before == 0) & (after == 0), 0.1, cost)
    transition = np.ones((frames, rows, rows))
    transition[1:] = cost / 0.9
    path = cheapest_path(1 - merit, transition)
    return np.asarray(pitch[path, np.arange(frames)])
