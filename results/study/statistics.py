"""Means, shares, their intervals and the agreement of people, from judgements as plain arrays.

Intervals, all of 95 %: Student's t over judgements (as papers print it; takes them for independent, which
judgements of one person are not), Wilson's for shares (a tie counts as half a win), and a bootstrap that draws
whole people with all of their judgements (1,000 resamples, seed 0), which is the one to trust with enough people.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from bench.results.stats import Codes, Interval, Statistic, Vector, by_speaker, interval_of, resample_all

LEVEL = 0.95
WILSON_Z = 1.959963984540054  # the normal quantile of 0.975


def t_interval(values: Vector) -> Interval | None:
    """Mean ± t · s / √n of ``values`` (n,); ``None`` below two."""
    n = len(values)
    if n < 2:
        return None
    from scipy.stats import t

    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return Interval(mean - half, mean + half)


def wilson_interval(points: float, n: int) -> Interval | None:
    """Wilson's score interval of ``points`` / ``n`` (a tie gives half a point); ``None`` for n = 0."""
    if n == 0:
        return None
    share, z2 = points / n, WILSON_Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = WILSON_Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def people_interval(values: Vector, people: Sequence[str]) -> Interval | None:
    """The bootstrap interval of the mean of ``values`` (n,) over their ``people`` (n,); ``None`` below two people."""
    numbers: dict[str, int] = {}
    codes: Codes = np.array([numbers.setdefault(person, len(numbers)) for person in people], dtype=np.intp)
    if len(numbers) < 2:
        return None
    grouped = by_speaker(Statistic(values, np.ones(len(values))), codes)
    return interval_of(resample_all([grouped])[0])


def krippendorff_alpha(units: Sequence[str], values: Vector, scale: Literal["interval", "nominal"]) -> float | None:
    """Krippendorff's alpha of judgements: ``units[i]`` (what was judged) got ``values[i]`` from some person.

    1 is full agreement, 0 what chance gives. Distance of two values: squared difference (interval), or whether
    they differ (nominal). ``None`` where no unit was judged twice or all values are equal.
    """
    by_unit: defaultdict[str, list[float]] = defaultdict(list)
    for unit, value in zip(units, values.tolist(), strict=True):
        by_unit[unit].append(value)
    groups = [np.array(found) for found in by_unit.values() if len(found) > 1]
    if not groups:
        return None
    paired = np.concatenate(groups)
    observed = sum(_disagreement(group, scale) / (len(group) - 1) for group in groups) / len(paired)
    expected = _disagreement(paired, scale) / (len(paired) * (len(paired) - 1))
    return None if expected == 0.0 else 1.0 - float(observed / expected)


def _disagreement(values: Vector, scale: Literal["interval", "nominal"]) -> float:
    """The distances of all ordered pairs of ``values`` (n,), summed."""
    n = len(values)
    if scale == "interval":
        return float(2 * n * n * np.var(values))
    _, counts = np.unique(values, return_counts=True)
    return float(n * n - np.sum(counts.astype(np.float64) ** 2))
