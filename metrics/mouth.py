"""Geometry of dlib's 68 points: mouth distances, mouth opening, and its coupling with loudness.

Points are (T, 68, 2) in pixels. Mouth: 48..67; eyes: 36..41 and 42..47. All in float64.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[Any]  # (T, 68, 2)
Series = NDArray[np.float64]  # (T,)

MOUTH = slice(48, 68)
N_MOUTH = 20
EYES = (slice(36, 42), slice(42, 48))
#: Pairs of upper and lower inner-lip points.
LIP_GAPS = ((61, 67), (62, 66), (63, 65))
FLOOR_RMS = 1e-4  # -80 dB: quieter frames count as this


def inter_ocular(points: Points) -> Series:
    """Distance of the two eye centres in pixels, (T,)."""
    left, right = (points[:, eye].astype(np.float64).mean(axis=1) for eye in EYES)
    return np.asarray(np.linalg.norm(left - right, axis=-1), dtype=np.float64)


def mouth_distance(generated: Points, reference: Points) -> Series:
    """Sum over the 20 mouth points of their distances in pixels, each mouth moved to its mean, (T,)."""
    gen, ref = (points[:, MOUTH].astype(np.float64) for points in (generated, reference))
    gen -= gen.mean(axis=1, keepdims=True)
    ref -= ref.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.norm(gen - ref, axis=-1).sum(axis=1), dtype=np.float64)


def mouth_opening(points: Points) -> Series:
    """Mean of the three inner-lip gaps over the inter-ocular distance, (T,); nan where that is 0."""
    whole = points.astype(np.float64)
    gaps = [np.linalg.norm(whole[:, upper] - whole[:, lower], axis=-1) for upper, lower in LIP_GAPS]
    eyes = inter_ocular(points)
    opening = np.full(len(eyes), np.nan)
    np.divide(np.mean(gaps, axis=0), eyes, out=opening, where=eyes > 0)
    return opening


class Bridged(NamedTuple):
    """``values`` (T,) with short gaps filled; ``used`` (T,): may take part in a correlation."""

    values: Series
    used: NDArray[np.bool_]


def bridge_gaps(values: Series, valid: NDArray[np.bool_], longest: int) -> Bridged:
    """Fill gaps of at most ``longest`` frames between two valid ones linearly; longer and outer gaps stay unused."""
    filled, used = values.copy(), valid.copy()
    known = np.flatnonzero(valid)
    for before, after in pairwise(known):
        if 1 < after - before <= longest + 1:
            inside = np.arange(before + 1, after)
            filled[inside] = np.interp(inside, [before, after], values[[before, after]])
            used[inside] = True
    return Bridged(filled, used)


def envelope_db(samples: NDArray[np.floating[Any]], samples_per_frame: int) -> Series:
    """Loudness of each whole video frame in dB, 20·log10(max(rms, 1e-4)), (floor(N / samples_per_frame),)."""
    n = len(samples) // samples_per_frame
    frames = samples[: n * samples_per_frame].astype(np.float64).reshape(n, samples_per_frame)
    rms = np.sqrt(np.mean(np.square(frames), axis=1))
    return np.asarray(20.0 * np.log10(np.maximum(rms, FLOOR_RMS)), dtype=np.float64)


def pearson(x: Series, y: Series) -> float:
    """Correlation of two series, 0 where one of them is constant."""
    if x.min() == x.max() or y.min() == y.max():
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt(np.dot(x, x) * np.dot(y, y)))
    return float(np.clip(np.dot(x, y) / scale, -1.0, 1.0)) if scale > 0 else 0.0


def shifted_correlations(
    opening: Series, used: NDArray[np.bool_], envelope: Series, max_shift: int, min_pairs: int
) -> Series:
    """r(k) for k = -max_shift..max_shift: correlation of opening[t] with envelope[t + k], (2·max_shift + 1,).

    Over all t < T = min of the lengths that are used and whose t + k lies in 0..T-1; fewer than
    ``min_pairs`` of them give 0.
    """
    n = min(len(opening), len(envelope))
    frames = np.flatnonzero(used[:n])
    result = np.zeros(2 * max_shift + 1)
    for index, shift in enumerate(range(-max_shift, max_shift + 1)):
        inside = frames[(frames + shift >= 0) & (frames + shift < n)]
        if len(inside) >= max(min_pairs, 1):
            result[index] = pearson(opening[inside], envelope[inside + shift])
    return result


class Coupling(NamedTuple):
    """What r(k) says: its peak, the peak's place in frames, its height over the median, and r(0)."""

    corr: float
    offset: float
    conf: float
    corr0: float


def coupling(correlations: Series) -> Coupling:
    """Summarise r(k); the offset is the first k of the greatest value, positive when the audio is late."""
    middle = len(correlations) // 2
    peak = int(np.argmax(correlations))
    top = float(correlations[peak])
    conf = top - float(np.median(correlations))
    return Coupling(top, float(peak - middle), conf, float(correlations[middle]))
