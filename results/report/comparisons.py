"""Paired comparisons of all rows of a section: the file ``compare-…``, with the numbers of ``bench compare``.

Values of whole sets (Fréchet distances) are left out, and the pair's notes say so: they have no value for a clip, and
their resamples take seconds to minutes for each of the many pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import combinations
from typing import Any, cast

from bench.api import UsageError
from bench.results.compare import Comparison, compare
from bench.results.report.collect import View
from bench.results.report.data_script import number
from bench.results.report.private import clean_text
from bench.results.table import Key
from bench.store import Store

GREATEST = 20  # clips listed for each column


class _ReadOnce:
    """A store whose columns of scores are read once each: every run of a section is compared with all others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.scores = cache(store.scores)
        self.run_clips = cache(store.run_clips)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def compare_file(store: Store, view: View, advance: Any) -> tuple[str, dict[str, Any]]:
    """Name and content: every pair of rows, the first one's number the smaller. ``advance`` is called for each."""
    columns = {column.key: place for place, column in enumerate(view.columns)}
    pairs = []
    reader = cast(Store, _ReadOnce(store))
    for a, b in combinations(range(len(view.rows)), 2):
        pairs.append(_pair(reader, view, a, b, columns))
        advance()
    return f"compare-{view.id}", {"section": view.id, "pairs": pairs}


def _pair(store: Store, view: View, a: int, b: int, columns: Mapping[Key, int]) -> dict[str, Any]:
    sets = {
        column.protocol.id: column.value.label for column in view.columns if column.value.aggregation.kind == "corpus"
    }
    pids = sorted({column.protocol.id for column in view.columns} - sets.keys())
    notes = [f"{', '.join(sets.values())}: a value of the whole set; `bench compare` compares it"] if sets else []
    if not pids:
        return {"a": a, "b": b, "n": 0, "columns": [], "notes": notes}
    try:
        report = compare(store, view.rows[a].run, view.rows[b].run, metrics=pids, greatest=GREATEST)
    except UsageError as error:  # no clip or no protocol in common: that is the answer
        return {"a": a, "b": b, "n": 0, "columns": [], "notes": [clean_text(error.message), *notes]}
    return {
        "a": a,
        "b": b,
        "n": report.n_common,
        "columns": [
            _column(view, found, columns[found.column.key])
            for found in report.comparisons
            if found.column.key in columns
        ],
        "notes": [*(clean_text(note) for note in report.notes), *notes],
    }


def _column(view: View, found: Comparison, place: int) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {
        "column": place,
        "n": found.n,
        "a": number(found.first),
        "b": number(found.second),
        "difference": number(found.difference),
        "low": number(low),
        "high": number(high),
        "p": number(found.p),
        "p_holm": number(found.p_holm),
        "effect": number(found.effect),
        "wins": found.wins,
        "ties": found.ties,
        "losses": found.losses,
        "better": {"first": "a", "second": "b", "": ""}[found.better],
        "clips": [[view.places[clip.clip_id], number(clip.first), number(clip.second)] for clip in found.clips],
    }
