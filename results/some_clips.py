"""A column of scores over some of its clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from bench.store_records import ScoreColumn

if TYPE_CHECKING:
    from bench.records import Array


class _Some(Sequence["Mapping[str, Array]"]):
    """Some of a sequence of arrays, each read when it is asked for."""

    def __init__(self, whole: Sequence[Mapping[str, Array]], places: Sequence[int]) -> None:
        self._whole = whole
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Array]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Array]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return _Some(self._whole, self._places[index])
        return self._whole[self._places[index]]


def judged_clips(column: ScoreColumn) -> ScoreColumn:
    """``column`` over the clips with a score alone: people judge a sample, and the other clips are not to do."""
    return some_clips(column, {clip for clip, ok in zip(column.clip_ids, column.ok, strict=True) if ok})


def some_clips(column: ScoreColumn, clips: Collection[str]) -> ScoreColumn:
    """``column`` without the clips that are not among ``clips``."""
    keep = np.array([clip in clips for clip in column.clip_ids], dtype=np.bool_)
    if keep.all():
        return column
    places: list[int] = np.flatnonzero(keep).tolist()
    kinds = [column.kinds[place] for place in places]
    return replace(
        column,
        clip_ids=[column.clip_ids[place] for place in places],
        speakers=[column.speakers[place] for place in places],
        values={name: numbers[keep] for name, numbers in column.values.items()},
        parts={name: numbers[keep] for name, numbers in column.parts.items()},
        ok=column.ok[keep],
        pending=column.pending[keep],
        kinds=kinds,
        failures=Counter(kind for kind in kinds if kind),
        arrays=_Some(column.arrays, np.flatnonzero(keep[column.ok]).tolist()),
    )
