"""The backward map of a frame: two thin-plate splines that part at the lips.

The lips are a cut in the picture. One spline cannot send two almost equal target points (closed
lips) to two source points 8 px apart without ringing; so one spline serves all above the dividing
line of the lips and another all below it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.demo.geometry import SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.datasets.demo.geometry import Lips, Points

STEP = 8  # px of the grid on which the splines are evaluated
KNOTS = SIZE // STEP + 1
RIDGE = 1e-3  # on the diagonal of the spline's system
ABOVE_MOUTH = 24.0  # px above the mouth from which the lower spline is needed
DIVIDE_WIDTH = 0.35  # px of the logistic at the lips, and px more per px beyond a corner


@lru_cache(maxsize=1)
def grid_points() -> Points:
    """The grid in row order (KNOTS², 2)."""
    axis = np.arange(KNOTS) * float(STEP)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], axis=1)


@lru_cache(maxsize=32)
def upsampling(first: int) -> NDArray[np.float64]:
    """Natural cubic from the knots ``first`` … 28 to the pixels from there on (224 - 8·first, KNOTS - first)."""
    from scipy.interpolate import CubicSpline

    knots = np.arange(first, KNOTS) * float(STEP)
    spline = CubicSpline(knots, np.eye(knots.size), bc_type="natural")
    return np.ascontiguousarray(spline(np.arange(first * STEP, SIZE, dtype=np.float64)))


def _kernel(a: Points, b: Points) -> NDArray[np.float64]:
    """r² ln r between the points of ``a`` (n, 2) and ``b`` (m, 2): (n, m)."""
    dx = a[:, 0, None] - b[:, 0]
    dy = a[:, 1, None] - b[:, 1]
    squared = dx * dx + dy * dy
    # ln r = ln r² / 2; the tiny number only keeps the logarithm of 0 finite
    return 0.5 * squared * np.log(squared + 1e-300)


def spline_values(targets: Points, sources: Points, points: Points) -> Points:
    """Displacement (source - target) at ``points`` (n, 2) of the spline through ``targets`` (m, 2)."""
    count = targets.shape[0]
    affine = np.concatenate([np.ones((count, 1)), targets], axis=1)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(targets, targets)
    system[:count, :count].flat[:: count + 1] += RIDGE
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    right = np.zeros((count + 3, 2))
    right[:count] = sources - targets
    weights = np.linalg.solve(system, right)
    values: Points = _kernel(points, targets) @ weights[:count]
    return values + weights[count] + points @ weights[count + 1 :]


class Warper:
    """Maps of frames to the texture for given source points."""

    def __init__(self, common: Points, lips: Lips) -> None:
        """``common`` (66, 2) and ``lips`` of the portrait, in px."""
        self._upper_sources = np.concatenate([common, lips.upper()])
        self._lower_sources = np.concatenate([common, lips.lower()])
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
        self._pixels = np.stack([x, y])  # (2, H, W)

    def map(self, common: Points, lips: Lips) -> NDArray[np.float64]:
        """Where each pixel of the frame comes from: (2, 224, 224), x and y in px of the portrait's frame."""
        points = grid_points()
        above = spline_values(np.concatenate([common, lips.upper()]), self._upper_sources, points)
        first = max(0, int((float(lips.corners[:, 1].mean()) - ABOVE_MOUTH) // STEP))
        lower_points = points[first * KNOTS :]
        below = spline_values(np.concatenate([common, lips.lower()]), self._lower_sources, lower_points)
        full = self._pixels + _enlarge(above, 0)
        apart = _enlarge(below - above[first * KNOTS :], first)
        full[:, first * STEP :] += apart * _below_share(lips, first * STEP)
        return full


def _enlarge(values: Points, first: int) -> NDArray[np.float64]:
    """Grid values in row order from knot row ``first`` on -> (2, rows, 224)."""
    grid = values.reshape(KNOTS - first, KNOTS, 2)
    rows, columns = upsampling(first), upsampling(0)
    # contiguous, or NumPy leaves BLAS and takes ten times as long
    return np.stack([rows @ np.ascontiguousarray(grid[..., k]) @ columns.T for k in range(2)])


def dividing_curve(lips: Lips) -> NDArray[np.float64]:
    """The line between the lips, corner to corner (9, 2)."""
    middle = (lips.upper_bottom + lips.lower_top) / 2
    return np.concatenate([lips.corners[:1], middle, lips.corners[1:]])


def _below_share(lips: Lips, first_row: int) -> NDArray[np.float64]:
    """Share of the lower spline per pixel, rows from ``first_row`` on: 0 above the lips, 1 below."""
    curve = dividing_curve(lips)
    x = np.arange(SIZE, dtype=np.float64)
    left, right = lips.corners
    slope = (right[1] - left[1]) / (right[0] - left[0])
    line = np.interp(x, curve[:, 0], curve[:, 1])
    beyond = np.maximum(np.maximum(left[0] - x, x - right[0]), 0.0)
    line += slope * np.where(x < left[0], -beyond, beyond)
    width = DIVIDE_WIDTH * (1.0 + beyond)
    y = np.arange(first_row, SIZE, dtype=np.float64)[:, None]
    share = 1.0 / (1.0 + np.exp(-np.clip((y - line) / width, -40.0, 40.0)))
    # far beside the mouth the logistic is wide: it must still be 0 in the first row, or a seam shows there
    ramp = np.clip((y - first_row) / (ABOVE_MOUTH / 2), 0.0, 1.0)
    seamless: NDArray[np.float64] = share * ramp * ramp * (3.0 - 2.0 * ramp)
    return seamless
