"""Choices of YAAPT that look over a whole clip: cheapest path through candidates, median filter, local maxima."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from bench.records import Array


def cheapest_path(local: Array, transition: Array) -> Array:
    """One row per frame (T,) with the least sum of costs.

    ``local`` (R, T) is the cost of row r in frame t, ``transition`` (T, R, R) that of going from row i
    in frame t-1 to row j in frame t (the first frame's is not read). Of equal costs the greatest row wins, for
    predecessors and for the end: rows often repeat one candidate, so ties are the rule.
    """
    rows, frames = local.shape
    here = np.arange(rows)
    came_from = np.zeros((frames, rows), dtype=np.intp)
    cost = local[:, 0].copy()
    for t in range(1, frames):
        reached = cost[:, None] + transition[t]  # (from, to)
        came_from[t] = rows - 1 - reached[::-1].argmin(axis=0)
        cost = reached[came_from[t], here] + local[:, t]
    path = np.empty(frames, dtype=np.intp)
    path[-1] = rows - 1 - int(cost[::-1].argmin())
    for t in range(frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path


def median(values: Array, width: int) -> Array:
    """Median of ``width`` (odd) neighbours, with zeros beyond both ends, of (T,)."""
    padded = np.pad(values, width // 2)
    return np.asarray(np.median(sliding_window_view(padded, width), axis=-1))


def is_first_maximum(values: Array, reach: int) -> Array:
    """Where (..., N) exceeds its ``reach`` left neighbours and is at least its ``reach`` right ones; (..., N) bool.

    Beyond the ends nothing competes.
    """
    edge = [(0, 0)] * (values.ndim - 1) + [(reach, reach)]
    padded = np.pad(values, edge, constant_values=-np.inf)
    highest = sliding_window_view(padded, reach, axis=-1).max(axis=-1)  # of reach values from each index on
    length = values.shape[-1]
    left, right = highest[..., :length], highest[..., reach + 1 : reach + 1 + length]
    return np.asarray((values > left) & (values >= right))


def best_first(pitch: Array, merit: Array) -> tuple[Array, Array]:
    """Candidates (R, T) with each frame's rows by falling merit; equal merits keep their order."""
    order = np.argsort(-merit, axis=0, kind="stable")
    return np.take_along_axis(pitch, order, axis=0), np.take_along_axis(merit, order, axis=0)
