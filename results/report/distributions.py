"""How the values of clips are spread: for each column and row a histogram, its curve and quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.results.report.collect import View, clipwise
from bench.results.report.columns import RowScores
from bench.results.report.data_script import DIGITS, number
from bench.results.report.svg import QUANTILES, Histogram, edges_of, histogram
from bench.results.table import format_value

QUANTILE_NAMES = tuple(
    {0.0: "least", 0.5: "median", 1.0: "greatest"}.get(share, f"{100 * share:.0f} %") for share in QUANTILES
)


@dataclass(frozen=True)
class Spread:
    """One row's values of a column. ``ranges``: of each bar, as addresses have them; empty where nothing is in it."""

    row: int
    label: str
    n: int
    figure: Histogram
    ranges: Sequence[str]
    quantiles: Sequence[str]


@dataclass(frozen=True)
class Distribution:
    """A column: the texts at both ends of its axis, and the spread of every row that has values."""

    column: int
    heading: str
    definition: str
    low: str
    high: str
    spreads: Sequence[Spread]


def distributions(view: View, rows: Sequence[RowScores], definitions: Sequence[str]) -> list[Distribution]:
    """Of the columns that tables show and that single clips have values of."""
    found = []
    for place, heading in enumerate(view.grid.headings):
        if not clipwise(view.columns[place]):
            continue
        values = {row: _finite(scores.values[place]) for row, scores in enumerate(rows) if place in scores.values}
        values = {row: known for row, known in values.items() if len(known)}
        if values:
            found.append(_distribution(view, place, heading, definitions[place], values))
    return found


def _finite(values: Any) -> Any:
    """The known values, rounded as the data files have them, so that a bar's range holds what the pages find."""
    known = values[np.isfinite(values)].tolist()
    return np.array([float(f"{value:.{DIGITS}g}") for value in known])


def _distribution(view: View, place: int, heading: str, definition: str, values: dict[int, Any]) -> Distribution:
    value = view.columns[place].value
    edges = edges_of(np.concatenate(list(values.values())))
    spreads = []
    for row, known in values.items():
        figure = histogram(known, edges)
        ranges = [f"{number(bar.low)}..{number(bar.high)}" if bar.count else "" for bar in figure.bins]
        quantiles = [format_value(quantile, value) for quantile in figure.quantiles]
        spreads.append(Spread(row, view.rows[row].label, len(known), figure, ranges, quantiles))
    low, high = (format_value(float(edge), value) for edge in (edges[0], edges[-1]))
    return Distribution(place, heading, definition, low, high, spreads)
