"""Pictures through a network in batches of bounded memory; a still picture is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.pictures import Picture

#: Pictures (B of them, their sizes may differ) to rows (B, D).
Compute = Callable[[list[Picture]], NDArray[Any]]


def in_batches(pictures: Iterable[Picture], compute: Compute, size: int) -> Iterator[NDArray[Any]]:
    """Rows of ``compute`` for all pictures, in order, in pieces (k, D).

    A picture that equals the one before it gets the same row without being computed; ``size`` different
    ones make a batch. Batches depend on the pictures alone, not on how these were decoded.
    """
    batch: list[Picture] = []
    times: list[int] = []
    for picture in pictures:
        if batch and np.array_equal(batch[-1], picture):
            times[-1] += 1
            continue
        if len(batch) == size:
            yield compute(batch).repeat(times, axis=0)
            batch, times = [], []
        batch.append(picture)
        times.append(1)
    if batch:
        yield compute(batch).repeat(times, axis=0)
