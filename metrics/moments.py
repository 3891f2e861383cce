"""Mean and covariance of feature rows that arrive in pieces, from many clips and workers (metrics.md 5).

All in float64. :class:`MomentSums` keeps the number of rows, their mean and the sum of outer products
about the mean, and joins two such sums by the update of T. Chan, G. Golub and R. LeVeque, "Updating
formulae and a pairwise algorithm for computing sample variances", 1979: nothing cancels, the result
does not depend on the order beyond rounding (1e-12 relative), and memory does not grow with the rows.

:class:`Pool` keeps few rows as they are, which is smaller and lets the Fréchet distance be taken from
the samples, and turns to sums when there are more rows than dimensions. Both forms are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from bench.api import Unscorable
from bench.metrics.frechet import Matrix, Moments, distance, distance_of_moments

Features = NDArray[Any]  # (N, D)
BLOCK_ROWS = 1024  # rows that are float64 at a time


class MomentSums:
    """Sums over rows (N, D); ``n`` counts them with their multiplicity."""

    def __init__(self, dimensions: int) -> None:
        self.n = 0
        self._mean = np.zeros(dimensions)
        # Of the outer products about the mean only the lower triangle is kept up; BLAS adds to it in place.
        self._products = np.zeros((dimensions, dimensions), order="F")

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self._mean)

    def add(self, features: Features, times: int = 1) -> None:
        """Count every row of ``features`` (N, D) ``times`` times.

        Raises:
            ValueError: the rows have another number of dimensions.
        """
        if features.ndim != 2 or features.shape[1] != self.dimensions:
            raise ValueError(f"features of shape {features.shape}, rows of {self.dimensions} numbers are summed")
        for start in range(0, len(features) if times else 0, BLOCK_ROWS):
            block = features[start : start + BLOCK_ROWS].astype(np.float64)
            mean = block.mean(axis=0)
            centred = np.vstack([block - mean, np.zeros(len(mean))])  # the last row is for the shift of the mean
            centred[-1] = self._shift(mean, times * len(block)) / np.sqrt(times)
            self._products = dsyrk(times, centred.T, beta=1.0, c=self._products, lower=1, overwrite_c=1)

    def merge(self, other: MomentSums, times: int = 1) -> None:
        """Count every row of ``other`` ``times`` times, as if they had been added here."""
        if other.n and times:
            shift = self._shift(other._mean, times * other.n)[None]
            self._products += times * other._products
            self._products = dsyrk(1.0, shift.T, beta=1.0, c=self._products, lower=1, overwrite_c=1)

    def _shift(self, mean: Matrix, n: int) -> Matrix:
        """Move the mean by ``n`` rows of another mean; the row whose outer product that adds."""
        whole = self.n + n
        away = mean - self._mean
        row = away * np.sqrt(self.n * (n / whole))
        self._mean = self._mean + away * (n / whole)
        self.n = whole
        return np.asarray(row)

    def finish(self) -> Moments:
        """Mean (D,) and covariance (D, D), divisor n - 1.

        Raises:
            Unscorable: ``too_short`` for fewer than two rows.
        """
        if self.n < 2:
            raise Unscorable("too_short", f"{self.n} rows of features; at least two are needed")
        lower = np.tril(self._products)
        return Moments(self._mean.copy(), (lower + np.tril(lower, -1).T) / (self.n - 1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`from_arrays` makes the same sums of: ``n`` (1,), ``mean`` (D,), ``products`` (D(D+1)/2,)."""
        packed = self._products[np.tril_indices(self.dimensions)]
        return {"n": np.array([self.n]), "mean": self._mean.copy(), "products": packed}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> MomentSums:
        """The sums that :meth:`arrays` wrote down."""
        sums = cls(len(arrays["mean"]))
        sums.n = int(arrays["n"][0])
        sums._mean = arrays["mean"].astype(np.float64)
        sums._products[np.tril_indices(sums.dimensions)] = arrays["products"]
        return sums


class Pool:
    """Feature rows of a clip or a set: at most D of them as they are, more as :class:`MomentSums`."""

    def __init__(self) -> None:
        self._rows: list[Features] = []
        self._sums: MomentSums | None = None
        self._n_rows = 0

    @property
    def n(self) -> int:
        """How many rows, with their multiplicity."""
        return self._n_rows + (0 if self._sums is None else self._sums.n)

    @property
    def rows(self) -> Features | None:
        """All rows (n, D); ``None`` where only their sums are left, or where there is no row."""
        return np.concatenate(self._rows) if self._rows and self._sums is None else None

    def add(self, features: Features, times: int = 1) -> None:
        """Count every row of ``features`` (N, D) ``times`` times."""
        if self._sums is not None:
            self._sums.add(features, times)
        elif len(features) and times:
            self._rows.append(features if times == 1 else features.repeat(times, axis=0))
            self._n_rows += times * len(features)
            if self._n_rows > features.shape[1]:
                self._settle(features.shape[1])

    def merge(self, other: Pool, times: int = 1) -> None:
        """Count every row of ``other`` ``times`` times."""
        for features in other._rows:
            self.add(features, times)
        if other._sums is not None:
            self._settle(other._sums.dimensions).merge(other._sums, times)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The pool as arrays, for :meth:`from_arrays`: ``rows`` (n, D), or those of the sums."""
        if self._sums is not None:
            return self._sums.arrays()
        return {} if self.rows is None else {"rows": self.rows}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Pool:
        """The pool that :meth:`arrays` wrote down."""
        pool = cls()
        if "rows" in arrays:
            pool.add(arrays["rows"])
        elif arrays:
            pool._sums = MomentSums.from_arrays(arrays)
        return pool

    def moments(self) -> Moments:
        """Mean and covariance of all rows. Raises ``Unscorable``: ``too_short`` for fewer than two."""
        if self.n < 2:
            raise Unscorable("too_short", f"{self.n} rows of features; at least two are needed")
        if self._sums is not None:
            return self._sums.finish()
        sums = MomentSums(self._rows[0].shape[1])
        for features in self._rows:
            sums.add(features)
        return sums.finish()

    def _settle(self, dimensions: int) -> MomentSums:
        """Turn the rows to sums."""
        sums = MomentSums(dimensions) if self._sums is None else self._sums
        for features in self._rows:
            sums.add(features)
        self._rows, self._n_rows, self._sums = [], 0, sums
        return sums


def pool_distance(first: Pool, second: Pool) -> float:
    """Squared Fréchet distance of two pools, at least 0; from the samples where both still have their rows.

    Raises:
        Unscorable: ``too_short`` for fewer than two rows on a side.
    """
    for side in (first, second):
        if side.n < 2:
            raise Unscorable("too_short", f"{side.n} rows of features; at least two are needed")
    a, b = first.rows, second.rows
    if a is not None and b is not None:
        return max(0.0, distance(a, b))
    return max(0.0, distance_of_moments(first.moments(), second.moments()))
