"""YAAPT's candidates in the time domain: peaks of the normalised cross-correlation (NCCF) near the spectral track.

Facts: specs/hierspeech.md, appendix A, step 4 (``AMFM_decompy: pYAAPT.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter

from bench.errors import UsageError
from bench.systems.hierspeech.yaapt_path import is_first_maximum

if TYPE_CHECKING:
    from bench.records import Array
    from bench.systems.hierspeech.yaapt import YaaptConfig

ROWS = 3  # candidates of a frame
_REACH = 2  # half of the width in which a peak must be the highest
_CERTAIN = 0.9  # above it the highest peak alone counts
_BOOST = 1.2
_FRAMES_AT_ONCE = 512  # bounds the memory of frames and correlations


def time_candidates(filtered: Array, track: Array, spread: float, config: YaaptConfig) -> tuple[Array, Array]:
    """Pitch (3, T) in Hz and merit (3, T) of the filtered signal (L,), near the spectral ``track`` (T,) in Hz.

    Frames beyond the signal's end, and rows without a peak, are zeros.

    Raises:
        UsageError: the frames are too short for two periods of the lowest F0.
    """
    frames = min((filtered.size - config.tda_frame + config.hop) // config.hop, track.size)
    pitch, merit = np.zeros((ROWS, track.size)), np.zeros((ROWS, track.size))
    if frames < 1:
        return pitch, merit
    track = track[:frames]
    shortest = (config.rate / np.minimum(track + 2 * spread, config.f0_max)).astype(np.intp) - _REACH
    longest = (config.rate / np.maximum(track - 2 * spread, config.f0_min)).astype(np.intp) + _REACH
    if longest.max() >= config.tda_frame:
        raise UsageError(
            f"YAAPT frames of {config.tda_frame} samples for a lag of {longest.max()}", "raise tda_frame_length."
        )
    z = centred_frames(filtered, frames, config.tda_frame, config.hop)
    for start in range(0, frames, _FRAMES_AT_ONCE):
        block = slice(start, min(start + _FRAMES_AT_ONCE, frames))
        phi = _correlation(z[block], shortest[block, None], longest[block, None])
        pitch[:, block], merit[:, block] = _peaks(phi, shortest[block, None], longest[block, None], config)
    away = np.abs(pitch[:, :frames] - track) / (5 * spread)
    merit[:, :frames] = _BOOST * merit[:, :frames] * np.where(away < 1, 1 - away, 0.0)
    return pitch, merit


def centred_frames(signal: Array, frames: int, size: int, hop: int) -> Array:
    """Frames (T, size) as the original makes them: views of one buffer, each one's mean taken off in place.

    So a frame finds its beginning already lowered by the means of the frames before it. With shared
    fractions w_d = 1 - d hop/size, the means obey m_k = raw mean_k - sum_d w_d m_(k-d).
    """
    z = sliding_window_view(signal, size)[::hop][:frames].copy()
    shifts = range(1, (size - 1) // hop + 1)
    means = lfilter([1.0], [1.0, *(1 - d * hop / size for d in shifts)], z.mean(axis=1))
    z -= means[:, None]
    for d in shifts:
        z[d:, : size - d * hop] -= means[:-d, None]
    return z


def _correlation(z: Array, shortest: Array, longest: Array) -> Array:
    """NCCF (V, size) of frames (V, size) at the lags shortest <= l < longest, both (V, 1); 0 elsewhere.

    phi[l] = <z[l:l+n], z[:n]> / sqrt(|z[l:l+n]|^2 |z[:n]|^2) with n = size - longest.
    """
    size = z.shape[1]
    lag = np.arange(size)
    n = size - longest  # (V, 1)
    head = np.where(lag < n, z, 0.0)
    # circular correlation of `size` points: l + n < size, so nothing wraps around
    dot = np.fft.irfft(np.fft.rfft(z) * np.conj(np.fft.rfft(head)), size)
    energy = np.pad(np.cumsum(z * z, axis=1), [(0, 0), (1, 0)])
    ends = np.minimum(lag + n, size)
    power = (np.take_along_axis(energy, ends, axis=1) - energy[:, :size]) * np.take_along_axis(energy, n, axis=1)
    valid = (lag >= shortest) & (lag < longest) & (power > 0)
    phi = np.zeros_like(z)
    np.divide(dot, np.sqrt(power, where=valid, out=np.ones_like(z)), out=phi, where=valid)
    return phi


def _peaks(phi: Array, shortest: Array, longest: Array, config: YaaptConfig) -> tuple[Array, Array]:
    """The best peaks (3, V): pitch in Hz and merit, best first, zeros where there are fewer; phi is (V, size)."""
    lag = np.arange(phi.shape[1])
    rising = np.pad(phi[:, 1:] > phi[:, :-1], [(0, 0), (1, 0)])
    falling = np.pad(phi[:, :-1] > phi[:, 1:], [(0, 0), (0, 1)])
    inside = (lag >= shortest + _REACH) & (lag <= longest - _REACH)
    peak = rising & falling & inside & (phi > config.nccf_threshold)
    highest = np.where(peak, phi, -np.inf).argmax(axis=1)
    certain = (phi.max(axis=1) > _CERTAIN) & peak.any(axis=1)
    peak = np.where(certain[:, None], (lag == highest[:, None]), peak & is_first_maximum(phi, _REACH))
    merits = np.where(peak, phi, 0.0)
    order = np.argsort(-merits, axis=1, kind="stable")[:, :ROWS]
    merit = np.take_along_axis(merits, order, axis=1).T
    pitch = np.where(merit > 0, config.rate / (order.T + 1.0), 0.0)
    return pitch, merit / np.maximum(merit.max(axis=0), 1.0)
