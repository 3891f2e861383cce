"""The files that readers take with them: the leaderboard in four formats, all scores, and the runs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.results import export, tidy
from bench.results.published import Block
from bench.results.render import SUFFIXES, render
from bench.results.report.private import clean_text
from bench.results.table import Table
from bench.store import Store
from bench.store_records import RunRecord

LEADERBOARD = ("csv", "md", "latex")
NAMES = (*(f"leaderboard{SUFFIXES[kind]}" for kind in LEADERBOARD), "leaderboard.parquet", "scores.parquet", "run.json")


def leaderboard_files(table: Table, published: Sequence[Block]) -> Iterator[tuple[str, str | bytes]]:
    """Name and content of the leaderboard's files; numbers are those of ``bench leaderboard --published``."""
    for kind in LEADERBOARD:
        yield f"leaderboard{SUFFIXES[kind]}", render(table, kind, published=published)
    yield "leaderboard.parquet", _parquet(tidy.tidy_rows(table, published), tidy.columns_of(table))


def _parquet(rows: Sequence[tidy.Tidy], columns: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"value": pa.float64(), "ci_low": pa.float64(), "ci_high": pa.float64()}
    numbers |= {"n_scored": pa.int64(), "n_failed": pa.int64()}
    schema = pa.schema([(name, numbers.get(name, pa.string())) for name in columns])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows], schema), buffer)
    return buffer.getvalue()


def runs_file(runs: Sequence[dict[str, Any]]) -> str:
    """``run.json``."""
    return json.dumps(runs, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write_scores(store: Store, runs: Sequence[RunRecord], metrics: Sequence[str] | str, path: Path) -> None:
    """``scores.parquet``: every score of every clip, as ``bench export`` writes them; messages name no folder."""
    rows = export.records(store, runs, metrics)
    path.parent.mkdir(parents=True, exist_ok=True)
    export.write(({**row, "detail": clean_text(row["detail"] or "")} for row in rows), path)
