"""Fréchet distances of many resamples of a set of clips, from sums that are kept per clip.

A resample counts clip i c_i times, so that its moments are weighted sums of each clip's number of
rows, sum of rows and sum of outer products. Clips are read in blocks: memory holds the sums of all
resamples (B·D²/2 numbers a side), not those of all clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.frechet import Matrix, Moments, distance_of_moments

BLOCK_CLIPS = 64
Features = Sequence[NDArray[Any]]  # per clip (n_i, D)


def resampled_distances(
    generated: Features, reference: Features, counts: NDArray[Any], least: int
) -> NDArray[np.float64]:
    """Squared Fréchet distance of each resample, (B,); at least 0.

    ``counts`` (B, n) is the multiplicity of each clip. A resample with fewer than ``least`` rows on
    a side is ``nan``. The result does not depend on the order of the clips.

    Raises:
        ValueError: lengths of the arguments differ.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.ndim != 2 or not len(generated) == len(reference) == counts.shape[1]:
        raise ValueError(
            f"{len(generated)} generated and {len(reference)} reference clips, counts of shape {counts.shape}"
        )
    result = np.full(len(counts), np.nan)
    enough = np.ones(len(counts), dtype=bool)
    sums = []
    order = _canonical_order(generated, reference)
    for side in (generated, reference):
        rows = np.array([len(side[i]) for i in order], dtype=np.float64)
        enough &= counts[:, order] @ rows >= max(least, 2)
        sums.append((side, rows))
    if not enough.any():
        return result
    # of few speakers there are few different resamples: four have 35, in a thousand
    kept, places = np.unique(counts[enough][:, order], axis=0, return_inverse=True)
    moments = [_resampled_moments([side[i] for i in order], rows, kept) for side, rows in sums]
    found = np.array([max(0.0, distance_of_moments(a, b)) for a, b in zip(*moments, strict=True)])
    result[enough] = found[places.reshape(-1)]
    return result


def _canonical_order(generated: Features, reference: Features) -> NDArray[np.intp]:
    """An order of the clips by their content: sums of floating-point numbers depend on the order."""
    digests = [
        hashlib.blake2b(np.ascontiguousarray(a).tobytes() + b"|" + np.ascontiguousarray(b).tobytes()).digest()
        for a, b in zip(generated, reference, strict=True)
    ]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.intp)


class _Packed:
    """Moments of every resample, made one at a time from packed sums."""

    def __init__(self, centre: Matrix, rows: Matrix, sums: Matrix, products: Matrix) -> None:
        self._centre, self._rows, self._sums, self._products = centre, rows, sums, products
        self._upper = np.triu_indices(len(centre))

    def __iter__(self) -> Iterator[Moments]:
        for n, total, packed in zip(self._rows, self._sums, self._products, strict=True):
            mean = total / n
            second = np.zeros((len(mean), len(mean)))
            second[self._upper] = packed
            second = np.triu(second) + np.triu(second, 1).T
            yield Moments(self._centre + mean, (second - n * np.outer(mean, mean)) / (n - 1))


def _resampled_moments(features: Features, rows: NDArray[np.float64], counts: NDArray[np.float64]) -> _Packed:
    """Weighted sums over clips for every resample; rows are centred first, so that nothing cancels."""
    dimensions = features[0].shape[1]
    upper = np.triu_indices(dimensions)
    centre = sum((clip.astype(np.float64).sum(axis=0) for clip in features), np.zeros(dimensions)) / rows.sum()
    sums = np.zeros((len(counts), dimensions))
    products = np.zeros((len(counts), len(upper[0])))
    for start in range(0, len(features), BLOCK_CLIPS):
        block = [clip.astype(np.float64) - centre for clip in features[start : start + BLOCK_CLIPS]]
        weights = counts[:, start : start + BLOCK_CLIPS]
        sums += weights @ np.array([clip.sum(axis=0) for clip in block])
        products += weights @ np.array([(clip.T @ clip)[upper] for clip in block])
    return _Packed(centre, counts @ rows, sums, products)
