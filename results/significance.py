"""Paired comparison of two systems on the same clips.

Permutation test: under the null hypothesis the two results of a clip may be exchanged, so each
clip is exchanged or not by a fair coin. The p-value is the share of 10,000 such exchanges whose
difference is at least as large, in absolute value, as the one observed (the observed one counted
in); for up to 13 clips all exchanges are taken and the p-value is exact. For a mean this is the
sign-flip test. Several protocols on one set of clips share the coins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.results.stats import SEED, Codes, Matrix, Statistic, Vector

Rows = Codes  # (m,) places of clips among the common ones

FLIPS = 10_000
EXACT_UP_TO = 13  # 2**13 = 8,192 exchanges: fewer than FLIPS
RELATIVE_SLACK = 1e-9  # of the set values: differences that are equal on paper differ in their last bits
GROUP = 8  # clips whose coins share a byte
GROUPS_AT_ONCE = 64

#: Row ``b`` has the sign of each of eight clips for the byte ``b``.
_SIGNS: Matrix = np.float64(2) * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) - 1


def flipped_sums(columns: Matrix, flips: int = FLIPS, seed: int = SEED) -> Matrix:
    """Sums of the rows of ``columns`` (n, k) under random signs: (flips, k).

    The sums over eight clips have 256 possible values; they are looked up by a random byte, which
    is several times faster than multiplying by signs.
    """
    n, width = columns.shape
    generator = np.random.default_rng(seed)
    total = np.zeros((flips, width))
    padded = np.concatenate([columns, np.zeros((-n % GROUP, width))]).reshape(-1, GROUP, width)
    for start in range(0, len(padded), GROUPS_AT_ONCE):
        tables = _SIGNS @ padded[start : start + GROUPS_AT_ONCE]  # (groups, 256, width)
        codes = generator.integers(0, 256, size=(len(tables), flips), dtype=np.uint8)
        for table, code in zip(tables, codes, strict=True):
            total += table.take(code, axis=0)
    return total


def all_signs(n: int) -> Matrix:
    """Every assignment of signs to ``n`` clips: (2**n, n)."""
    numbers = np.arange(2**n)[:, None] >> np.arange(n)
    return np.asarray(1.0 - 2.0 * (numbers & 1))


class Pair(NamedTuple):
    """Two statistics over the same clips, in the same order."""

    first: Statistic
    second: Statistic

    @property
    def difference(self) -> float:
        """Set value of the first less that of the second."""
        first, second = self.first.value(), self.second.value()
        return float("nan") if first is None or second is None else first - second

    @property
    def magnitude(self) -> float:
        """Sum of the absolute set values."""
        return abs(self.first.value() or 0.0) + abs(self.second.value() or 0.0)


def permutation_p(pairs: Sequence[Pair], rows: Sequence[Rows], n: int, flips: int = FLIPS) -> list[float]:
    """p-values of pairs whose clips are the given ``rows`` (integers) of ``n`` common clips.

    Clips that a pair lacks count 0 in its sums, so one set of coins serves all pairs.
    """
    exact = n <= EXACT_UP_TO
    columns = [_scatter(c, row, n) for pair, row in zip(pairs, rows, strict=True) for c in _difference_columns(pair)]
    if not columns:
        return []
    stacked = np.column_stack(columns)
    signed: Matrix = all_signs(n) @ stacked if exact else flipped_sums(stacked, flips)
    sums = iter(signed.T)
    values = []
    for pair in pairs:
        flipped = _flipped_difference(pair, sums)
        values.append(p_value(flipped, pair.difference, exact, pair.magnitude))
    return values


def p_value(flipped: Vector, observed: float, exact: bool, magnitude: float) -> float:
    """Two-sided: the share of ``flipped`` at least as far from 0 as ``observed``.

    ``magnitude``: size of the set values, of which rounding errors are a small share.
    """
    extreme = int((np.abs(flipped) >= abs(observed) - RELATIVE_SLACK * magnitude).sum())
    return extreme / len(flipped) if exact else (1 + extreme) / (1 + len(flipped))


def _scatter(values: Vector, rows: Rows, n: int) -> Vector:
    full = np.zeros(n)
    full[rows] = values
    return full


def _difference_columns(pair: Pair) -> list[Vector]:
    first, second = pair
    columns: list[Vector] = [first.numerator - second.numerator]
    if first.denominator is not None and second.denominator is not None:
        columns.append(first.denominator - second.denominator)
    return columns


def _flipped_difference(pair: Pair, sums: Iterator[Vector]) -> Vector:
    """The difference of set values when the clips with a negative sign are exchanged."""
    first, second = pair
    top = next(sums)
    if first.denominator is None or second.denominator is None:
        return np.asarray(top / first.n, dtype=np.float64)
    bottom = next(sums)
    tops = float(first.numerator.sum() + second.numerator.sum())
    bottoms = float(first.denominator.sum() + second.denominator.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = (tops + top) / (bottoms + bottom) - (tops - top) / (bottoms - bottom)
    return np.asarray(np.nan_to_num(difference), dtype=np.float64)


def corpus_p(difference: Callable[[Matrix], Vector], n: int, values: tuple[float, float], flips: int) -> float:
    """As :func:`permutation_p` for a set value that only the metric can compute.

    ``difference`` takes signs (b, n) and gives the difference when the clips with -1 are exchanged;
    ``values`` are the two set values as observed.
    """
    observed, magnitude = values[0] - values[1], abs(values[0]) + abs(values[1])
    if n <= EXACT_UP_TO and 2**n <= flips:
        return p_value(difference(all_signs(n)), observed, True, magnitude)
    generator = np.random.default_rng(SEED)
    blocks = []
    for start in range(0, flips, 64):
        coins = generator.integers(0, 2, size=(min(64, flips - start), n), dtype=np.uint8)
        blocks.append(difference(coins.astype(np.float64) * 2 - 1))
    return p_value(np.concatenate(blocks), observed, False, magnitude)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: each p-value times the number of hypotheses not yet rejected, never falling."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def standardised_effect(differences: Vector) -> float | None:
    """Mean of the paired differences over their standard deviation (Cohen's d for pairs).

    ``None`` below two clips and where the differences do not vary.
    """
    if len(differences) < 2:
        return None
    spread = float(np.std(differences, ddof=1))
    mean = float(np.mean(differences))
    return mean / spread if spread > 1e-12 * max(1.0, abs(mean)) else None
