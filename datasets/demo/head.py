"""Slow random motion of the head and brows, and blinks: the random numbers of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.records import FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

POSE_FIELDS = ("dx", "dy", "roll", "yaw", "pitch")
#: Standard deviation of each: px, px, degrees, px, px.
POSE_AMPLITUDE = (1.3, 0.9, 0.8, 1.6, 1.2)
#: Smoothing of each, in frames.
POSE_SIGMA = (10.0, 10.0, 10.0, 9.0, 9.0)
BROW_AMPLITUDE = 0.012  # inter-ocular distances
BROW_SIGMA = 8.0  # frames
FIRST_BLINK_S = (0.3, 1.5)  # from, and width of the uniform draw
NEXT_BLINK_S = (1.6, 2.0)
LAST_BLINK_S = 0.25  # none begins this shortly before the end
CLOSING_S, OPENING_S = 0.080, 0.120


@dataclass(frozen=True, slots=True)
class HeadMotion:
    """``start``: uniform in [0, 1); ``pose`` (T, 5); ``blink`` (T,) 0 open … 1 closed; ``brow`` (T,) up, in IOD."""

    start: float
    pose: NDArray[np.float64]
    blink: NDArray[np.float64]
    brow: NDArray[np.float64]


def smooth_noise(rng: np.random.Generator, n_frames: int, sigma: float) -> NDArray[np.float64]:
    """White noise after a Gaussian of ``sigma`` frames, scaled to unit variance (T,)."""
    radius = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= np.sqrt(np.sum(kernel**2))
    return np.convolve(rng.standard_normal(n_frames + 2 * radius), kernel, mode="valid")


def blinks(rng: np.random.Generator, n_frames: int) -> NDArray[np.float64]:
    """How far the lids are closed in each frame (T,): triangles of 80 ms down and 120 ms up."""
    times = (np.arange(n_frames) + 0.5) / FPS
    closed = np.zeros(n_frames)
    begin = FIRST_BLINK_S[0] + rng.uniform(0.0, FIRST_BLINK_S[1])
    while begin < n_frames / FPS - LAST_BLINK_S:
        falling = (times - begin) / CLOSING_S
        rising = 1.0 - (times - begin - CLOSING_S) / OPENING_S
        closed = np.maximum(closed, np.clip(np.minimum(falling, rising), 0.0, 1.0))
        begin += NEXT_BLINK_S[0] + rng.uniform(0.0, NEXT_BLINK_S[1])
    return closed


def head_motion(rng: np.random.Generator, n_frames: int) -> HeadMotion:
    """All random numbers of a clip, drawn in the recipe's order: start, pose, blinks, brow."""
    start = float(rng.uniform())
    series = [
        amplitude * smooth_noise(rng, n_frames, sigma)
        for amplitude, sigma in zip(POSE_AMPLITUDE, POSE_SIGMA, strict=True)
    ]
    closed = blinks(rng, n_frames)
    brow = BROW_AMPLITUDE * smooth_noise(rng, n_frames, BROW_SIGMA)
    return HeadMotion(start, np.stack(series, axis=1), closed, brow)
