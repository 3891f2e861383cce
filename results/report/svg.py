"""The static marks of the report as SVG: intervals in the leaderboard, histograms with their curves.

Everything is drawn with classes, as the pages' policy forbids inline styles; lengths are in user units. Numbers are
rounded in one place. Texts are escaped by the template engine, which also puts the parts together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH = 120.0  # of an interval's mark
PLOT_WIDTH, PLOT_HEIGHT = 320.0, 56.0  # of a histogram
BINS = 20
_SHARE = 0.01  # of the values at each end stand in the outer bins, so that single ones do not squeeze the rest

Values = NDArray[np.float64]


def length(value: float) -> str:
    """A coordinate as text: at most one decimal."""
    return f"{value + 0.0:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class IntervalMark:
    """A point with its interval on the common scale of a column; ``None`` where a cell has no value."""

    point: str
    low: str
    high: str


def interval_marks(cells: list[tuple[float, float, float] | None]) -> list[IntervalMark | None]:
    """Marks of one column from (value, low, high) of each row, on one scale from the least to the greatest."""
    known = [cell for cell in cells if cell is not None]
    if not known:
        return [None] * len(cells)
    least, most = min(min(cell) for cell in known), max(max(cell) for cell in known)
    span = (most - least) or 1.0

    def place(value: float) -> str:
        return length(4 + (WIDTH - 8) * (value - least) / span)

    return [None if cell is None else IntervalMark(*(place(value) for value in cell)) for cell in cells]


@dataclass(frozen=True)
class Bin:
    """One bar: its place, and the least and the greatest of the ``count`` values in it (0.0 where it is empty)."""

    x: str
    y: str
    width: str
    height: str
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """Bars, the distribution function as points of a polyline, and the median's place."""

    bins: list[Bin]
    curve: str
    median: str
    quantiles: list[float]  # 0, 5, 25, 50, 75, 95 and 100 %


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def edges_of(values: Values) -> Values:
    """The :data:`BINS` + 1 edges that all systems of a column share; the outer ones reach the extremes."""
    low, high = np.quantile(values, [_SHARE, 1 - _SHARE])
    least, most = float(values.min()), float(values.max())
    if low == high:
        low, high = least, most
    if low == high:
        return np.linspace(low - 0.5, low + 0.5, BINS + 1)
    return np.linspace(low, high, BINS + 1)


def histogram(values: Values, edges: Values) -> Histogram:
    """The histogram of ``values`` (n,), n at least 1, over the equally wide bins of ``edges``."""
    inner = np.clip(values, edges[0], edges[-1])
    counts, _ = np.histogram(inner, bins=edges)
    highest = max(int(counts.max()), 1)
    wide = PLOT_WIDTH / len(counts)
    order = np.sort(values)
    ends = np.cumsum(counts)
    bins = [
        Bin(
            x=length(place * wide),
            y=length(PLOT_HEIGHT * (1 - count / highest)),
            width=length(wide - 1),
            height=length(PLOT_HEIGHT * count / highest),
            low=float(order[ends[place] - count]) if count else 0.0,
            high=float(order[ends[place] - 1]) if count else 0.0,
            count=int(count),
        )
        for place, count in enumerate(counts.tolist())
    ]
    share = np.concatenate([[0.0], np.cumsum(counts) / len(values)])
    points = (f"{length(i * wide)},{length(PLOT_HEIGHT * (1 - part))}" for i, part in enumerate(share.tolist()))
    middle = float(np.clip(np.median(values), edges[0], edges[-1]))
    median = PLOT_WIDTH * (middle - edges[0]) / (edges[-1] - edges[0])
    return Histogram(bins, " ".join(points), length(median), np.quantile(values, QUANTILES).tolist())
