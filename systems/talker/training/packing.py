"""Which clips are a batch: clips of similar length together, so that little of a batch is padding.

Each epoch shuffles all clips, cuts the order into pools, sorts every pool by length and cuts it into batches, whose
order is shuffled again. Batches are numbered over all epochs: number i is a function of seed and i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.train import step_seed

_EPOCHS = -2  # stands for the rank in the seeds of epochs


class Packing:
    """Batches of clip indices.

    Args:
        lengths: positions of each clip, at least one clip.
        batch_size: the most clips a batch has; without a bound of positions every batch has so many.
        positions: the most positions a batch has, clips times the longest one; None: no bound. A clip that is longer
            than this is a batch of its own.
        pool: batches a pool; 1 leaves the order to chance.
        seed: of the order.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, positions: int | None = None, pool: int = 8, seed: int = 0
    ) -> None:
        self._lengths, self._size, self._positions = np.asarray(lengths), batch_size, positions
        self._pool, self._seed = pool, seed
        self._epoch, self._first, self._batches = 0, 0, self._planned(0)

    def batch(self, number: int) -> list[int]:
        """The clips of batch ``number``, counted from 0 over all epochs."""
        if number < self._first:
            self._epoch, self._first, self._batches = 0, 0, self._planned(0)
        while number >= self._first + len(self._batches):
            self._first += len(self._batches)
            self._epoch += 1
            self._batches = self._planned(self._epoch)
        return self._batches[number - self._first]

    def _planned(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch; what is missing to a whole number of full batches is drawn a second time."""
        random = np.random.default_rng(step_seed(self._seed, epoch, _EPOCHS))
        order = random.permutation(len(self._lengths))
        order = np.resize(order, -(-len(order) // self._size) * self._size)  # goes on from its beginning
        batches: list[list[int]] = []
        for first in range(0, len(order), self._size * self._pool):
            pool = order[first : first + self._size * self._pool]
            batches += self._cut(pool[np.argsort(self._lengths[pool], kind="stable")])
        return [batches[place] for place in random.permutation(len(batches))]

    def _cut(self, pool: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[list[int]]:
        """A pool in order of length, in batches."""
        batches: list[list[int]] = [[]]
        for index in pool.tolist():
            count = len(batches[-1]) + 1
            # the newcomer is the longest
            heavy = self._positions is not None and count * int(self._lengths[index]) > self._positions
            if batches[-1] and (heavy or count > self._size):
                batches.append([])
            batches[-1].append(index)
        return batches
