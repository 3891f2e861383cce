"""YAAPT's spectral track: a rough F0 of every frame from the harmonics of the squared signal.

Facts: specs/hierspeech.md, appendix A, step 3 (``AMFM_decompy: pYAAPT.py``). SHC = spectral harmonics correlation,
the product of the spectrum's magnitudes around the first four multiples of a frequency.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.interpolate import PchipInterpolator

from bench.systems.hierspeech.yaapt_path import cheapest_path, is_first_maximum, median

if TYPE_CHECKING:
    from bench.records import Array
    from bench.systems.hierspeech.yaapt import YaaptConfig

_ROWS = 4  # candidates of a frame; a frame with as many peaks or more is discarded
_HARMONICS = 4
_SMEAR_HZ = 40.0  # width of the window around each harmonic
_PEAK_HZ = 50.0  # width in which a peak must be the highest
_KAISER_BETA = 0.5
_MIN_PROMINENCE = 5.0  # the highest peak over the mean
_MIN_HEIGHT = 1.25  # every peak over the mean
_TRANSITION = 11.0
_MEDIAN = 5
_DEFAULT_HZ = 150.0  # where too few frames have a candidate
_MIN_SPREAD = 0.05  # standard deviation over mean, at least
_TINY = 1e-14
_FRAMES_AT_ONCE = 64  # bounds the memory of spectra and products


def spectral_track(squared: Array, voiced: Array, config: YaaptConfig) -> tuple[Array, float]:
    """F0 (T,) in Hz, never 0, of the filtered squared signal (L,), and its standard deviation.

    ``voiced`` (T,) says which frames are looked at; the others are interpolated. T must be at least 4.
    """
    pitch, merit = _candidates(squared, voiced, config)
    found = pitch[0] > 0
    chosen = _smooth_path(pitch[:, found], merit[:, found], config)
    used = chosen if chosen.size else np.array([_DEFAULT_HZ])
    mean = float(used.mean())
    spread = max(float(used.std()), _MIN_SPREAD * mean)
    track = np.zeros(voiced.shape)
    track[found] = chosen
    for end in (0, -1):
        if track[end] < mean / 2:
            track[end] = mean
    known = np.flatnonzero(track)
    track = PchipInterpolator(known, track[known])(np.arange(track.size))
    smooth = np.convolve(track, np.ones(3) / 3)[: track.size]  # causal
    smooth[:2] = smooth[2:4]
    return smooth, spread


def _smooth_path(pitch: Array, merit: Array, config: YaaptConfig) -> Array:
    """One F0 per frame with candidates, (V,), from candidates (R, V)."""
    frames = pitch.shape[1]
    if frames <= 2:
        return np.full(frames, _DEFAULT_HZ)
    mean, spread = pitch[0].mean(), pitch[0].std()
    nearest = (np.abs(pitch - 0.8 * mean) * (3 - merit)).argmin(axis=0)
    each = np.arange(frames)
    pitch[nearest, each] = median(pitch[nearest, each], _MEDIAN)
    step = np.zeros((frames, _ROWS, _ROWS))
    step[1:] = np.abs(pitch.T[1:, None, :] - pitch.T[:-1, :, None]) / config.f0_min
    path = cheapest_path(1 - merit, _TRANSITION * spread / mean * (0.05 * step + step**2))
    return median(pitch[path, each], _MEDIAN)


def _candidates(squared: Array, voiced: Array, config: YaaptConfig) -> tuple[Array, Array]:
    """Pitch (4, T) in Hz, 0 without candidate, and merit (4, T)."""
    frames = voiced.size
    pitch, merit = np.zeros((_ROWS, frames)), np.ones((_ROWS, frames))
    size, hop = 2 * config.frame, config.hop
    needed = size + (frames - 1) * hop
    padded = np.pad(squared, (0, max(0, needed - squared.size)))
    slices = sliding_window_view(padded, size)[::hop]
    window = np.kaiser(size, _KAISER_BETA)
    wanted = np.flatnonzero(voiced)
    for start in range(0, wanted.size, _FRAMES_AT_ONCE):
        block = wanted[start : start + _FRAMES_AT_ONCE]
        shc = _harmonic_products(slices[block] * window, config)
        pitch[:, block], merit[:, block] = _peaks(shc, config)
    return pitch, merit


def _harmonic_products(frames: Array, config: YaaptConfig) -> Array:
    """SHC (V, K) of windowed frames (V, S). Index k stands for bin k + 1 of the spectrum, and is used as bin k."""
    low, high = _bins(config)
    width = int(_SMEAR_HZ / config.bin_hz)
    half = width // 2
    width += 1 - width % 2
    spectrum = np.abs(np.fft.rfft(frames - frames.mean(axis=1, keepdims=True), config.nfft))
    around = sliding_window_view(np.pad(spectrum, [(0, 0), (half, 0)]), width, axis=1)  # (V, bins, width)
    count = high - low + 1
    product = np.ones((frames.shape[0], count, width))
    for harmonic in range(1, _HARMONICS + 1):
        product *= around[:, low * harmonic :: harmonic][:, :count]
    shc = np.zeros((frames.shape[0], high))
    shc[:, low - 1 :] = product.sum(axis=2)
    return shc


def _bins(config: YaaptConfig) -> tuple[int, int]:
    """The lowest and highest spectral bin whose multiples are looked at."""
    return math.ceil(config.f0_min / config.bin_hz), int((config.f0_max + 2 * _PEAK_HZ) / config.bin_hz)


def _peaks(shc: Array, config: YaaptConfig) -> tuple[Array, Array]:
    """Candidates (4, V), best first and filled up with the best; of SHC (V, K)."""
    width = int(_PEAK_HZ / config.bin_hz)
    width += 1 - width % 2
    centre = math.ceil(width / 2)
    first = max(1, int(config.f0_min / config.bin_hz - centre))
    last = min(int(config.f0_max / config.bin_hz + centre), shc.shape[1] - width)
    highest = shc[:, first : last + 1].max(axis=1, keepdims=True)
    shc = np.divide(shc, highest, out=shc.copy(), where=highest > _TINY)
    mean = shc[:, first : last + 1].mean(axis=1, keepdims=True)  # (V, 1)
    peak = np.zeros(shc.shape, dtype=bool)
    inside = slice(first + centre + 1, last - centre + 1)
    rising = shc[:, inside] > shc[:, first + centre : last - centre]
    falling = shc[:, inside] > shc[:, first + centre + 2 : last - centre + 2]
    peak[:, inside] = rising & falling & (shc[:, inside] > _MIN_HEIGHT * mean)
    peak &= is_first_maximum(shc, centre)
    merits = np.where(peak, shc, -np.inf)
    count = peak.sum(axis=1)
    clear = merits.max(axis=1) >= _MIN_PROMINENCE * mean[:, 0]
    good = (mean[:, 0] <= 1 / _MIN_PROMINENCE) & clear & (count >= 1) & (count < _ROWS)
    rows = np.argsort(-merits, axis=1, kind="stable")[:, :_ROWS]  # (V, 4) bins
    rows = np.where(np.arange(_ROWS) < count[:, None], rows, rows[:, :1])
    merit = np.take_along_axis(merits, rows, axis=1)
    return np.where(good, rows.T * config.bin_hz, 0.0), np.where(good, merit.T, 1.0)
