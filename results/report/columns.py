"""Numbers and texts of single clips as columns: the files ``scores-…`` and ``text-…``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.results.report.collect import View, clipwise, key_of
from bench.results.report.data_script import number, numbers
from bench.results.some_clips import judged_clips
from bench.results.table import Column
from bench.store import Store
from bench.store_records import ScoreColumn

OK, PENDING, FAILED, NOT_ASKED = range(4)  # what a status array holds

Values = NDArray[np.float64]


@dataclass(frozen=True)
class RowScores:
    """One row's results over the clips of its section; absent clips are not-a-number and :data:`NOT_ASKED`.

    ``values``: by place of the column; ``status`` and ``kinds`` (place of the clip to failure kind): by protocol.
    """

    values: Mapping[int, Values]
    status: Mapping[str, NDArray[np.int8]]
    kinds: Mapping[str, Mapping[int, str]]


def row_scores(store: Store, view: View, place: int) -> RowScores:
    """The scores of the row at ``place``, of every column that it has."""
    row = view.rows[place]
    values: dict[int, Values] = {}
    status: dict[str, NDArray[np.int8]] = {}
    kinds: dict[str, dict[int, str]] = {}
    columns: dict[str, ScoreColumn] = {}
    for number_of, column in enumerate(view.columns):
        if column.key not in row.cells:
            continue
        pid = column.protocol.id
        if pid not in columns:
            scored = store.scores(row.run.id, pid, reference_is_run="cost" in column.protocol.needs)
            scored = columns[pid] = judged_clips(scored) if column.protocol.sampled else scored
            at = np.array([view.places[clip_id] for clip_id in scored.clip_ids], dtype=np.intp)
            status[pid] = np.full(len(view.clips), NOT_ASKED, np.int8)
            status[pid][at] = np.where(scored.ok, OK, np.where(scored.pending, PENDING, FAILED))
            kinds[pid] = {int(i): kind for i, kind in zip(at, scored.kinds, strict=True) if kind}
        if clipwise(column):
            values[number_of] = _spread(clip_values(columns[pid], column), columns[pid], view)
    return RowScores(values, status, kinds)


def clip_values(scored: ScoreColumn, column: Column) -> Values:
    """Each clip's own value (n,): as the metric stored it, else a ratio's own ratio; not-a-number without one."""
    aggregation = column.value.aggregation
    if column.value.name in scored.values:
        found = scored.values[column.value.name]
    elif aggregation.kind == "ratio" and aggregation.numerator in scored.parts:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = scored.parts[aggregation.numerator] / scored.parts[aggregation.denominator]
    else:
        found = np.full(scored.n, np.nan)
    return np.where(scored.ok & np.isfinite(found), found, np.nan)


def _spread(values: Values, scored: ScoreColumn, view: View) -> Values:
    """``values`` of a run's clips at the places of the section's clips."""
    if len(values) == len(view.clips):
        return values
    wide = np.full(len(view.clips), np.nan)
    wide[[view.places[clip_id] for clip_id in scored.clip_ids]] = values
    return wide


def score_files(
    view: View, rows: Sequence[RowScores], texts: Mapping[int, str | None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each file of scores. ``texts``: place of a clip to what is said in it."""
    for part, places in enumerate(view.parts()):
        clips = [view.clips[place] for place in places]
        yield (
            f"scores-{view.id}-{part}",
            {
                "section": view.id,
                "from": places.start,
                "clips": {
                    "id": [clip.clip_id for clip in clips],
                    "speaker": [clip.speaker for clip in clips],
                    "seconds": numbers(round(clip.duration_s, 3) for clip in clips),
                    "text": [texts.get(place) for place in places],
                },
                "systems": [_row_part(view, row, places) for row in rows],
            },
        )


def _row_part(view: View, row: RowScores, places: range) -> dict[str, Any]:
    cut = slice(places.start, places.stop)
    status = {pid: found[cut] for pid, found in row.status.items()}
    kinds = {
        pid: {str(place - places.start): kind for place, kind in sorted(found.items()) if place in places}
        for pid, found in row.kinds.items()
    }
    return {
        "values": {
            key_of(view.columns[column]): [number(value) for value in values[cut].tolist()]
            for column, values in row.values.items()
        },
        "status": {pid: found.tolist() for pid, found in status.items() if found.any()},
        "kinds": {pid: found for pid, found in kinds.items() if found},
    }


def text_files(view: View, place: int, texts: Mapping[str, Mapping[int, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each file of what was understood of a row's outputs: protocol, place of the clip, text."""
    if not texts:
        return
    for part, places in enumerate(view.parts()):
        found = {pid: [heard.get(clip) for clip in places] for pid, heard in sorted(texts.items())}
        yield (
            f"text-{view.id}-{place}-{part}",
            {"section": view.id, "row": place, "from": places.start, "texts": found},
        )
