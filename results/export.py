"""Per-clip rows of runs: one per run, clip, protocol and value, as CSV, JSON lines or Parquet.

Every requested clip of every scored protocol has its rows: with a number, or with the kind and
detail of its failure, or with status ``pending``. Rows are made run by run and protocol by
protocol, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.api import Protocol, UsageError, did_you_mean
from bench.protocols import Selection, select
from bench.results.tidy import neutral, unit_of
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord

COLUMNS: dict[str, type] = {
    "run_id": str,
    "system": str,
    "tier": str,
    "dataset": str,
    "split": str,
    "task": str,
    "pairing": str,
    "audio": str,
    "reference": str,
    "clip_id": str,
    "speaker": str,
    "duration_s": float,
    "protocol": str,
    "value_name": str,
    "value": float,
    "unit": str,
    "status": str,  # ok, failed or pending
    "failure": str,
    "detail": str,
    "score_seconds": float,
    "generate_seconds": float,
    "peak_mib": float,
    "media_seconds": float,
    "device": str,
    "attempts": int,
    "output_sha256": str,
    "reference_sha256": str,
}
FORMATS = ("csv", "jsonl", "parquet")
ROWS_AT_ONCE = 20_000

Record = dict[str, Any]


def records(store: Store, runs: Sequence[RunRecord], metrics: Sequence[str] | str = "all") -> Iterator[Record]:
    """The rows of ``runs``, sorted by run (as given), protocol, clip id and value; keys are :data:`COLUMNS`.

    Raises:
        UsageError: an unknown protocol or family.
    """
    selection = select(metrics, runnable=False)
    for run in runs:
        clips = store.run_clips(run.id)
        outputs = store.outputs(run.id)
        for pid in selection.judging(run.task, sorted(store.protocols(run.id))):
            yield from _protocol(store, run, selection, pid, clips, outputs)


def _protocol(
    store: Store,
    run: RunRecord,
    selection: Selection,
    pid: str,
    clips: Sequence[RunClip],
    outputs: dict[str, OutputRecord],
) -> Iterator[Record]:
    protocol = selection.get(pid)
    rows = dict(store.score_rows(run.id, pid, reference_is_run="cost" in protocol.needs))
    if protocol.sampled:  # the clips that nobody judged are not to do
        clips = [clip for clip in clips if clip.clip_id in rows]
    for clip in clips:
        yield from _clip(run, protocol, clip, outputs.get(clip.clip_id), rows.get(clip.clip_id))


def _clip(
    run: RunRecord, protocol: Protocol, clip: RunClip, output: OutputRecord | None, score: ScoreRecord | None
) -> Iterator[Record]:
    status, kind, detail = _state(output, score)
    common: Record = {
        "run_id": run.id,
        **{name: getattr(run, name) for name in COLUMNS if name in _OF_RUN},
        "clip_id": clip.clip_id,
        "speaker": clip.speaker,
        "duration_s": clip.duration_s,
        "protocol": protocol.id,
        "status": status,
        "failure": kind,
        "detail": detail,
        "score_seconds": None if score is None else score.seconds,
        "reference_sha256": clip.reference_sha256,
    }
    if output is not None:
        common |= {
            "generate_seconds": output.seconds,
            "peak_mib": output.peak_mib,
            "media_seconds": output.media_seconds,
            "device": output.device,
            "attempts": output.attempts,
            "output_sha256": output.sha256,
        }
    for name, number, unit in _numbers(protocol, score):
        yield dict.fromkeys(COLUMNS) | common | {"value_name": name, "value": number, "unit": unit}


_OF_RUN = frozenset({"system", "tier", "dataset", "split", "task", "pairing", "audio", "reference"})


def _state(output: OutputRecord | None, score: ScoreRecord | None) -> tuple[str, str, str]:
    if output is not None and output.status == "failed":
        return "failed", "missing_output", f"{output.kind}: {output.detail}".strip(": ")
    if score is None:
        return "pending", "", ""
    return score.status, score.kind, score.detail


def _numbers(protocol: Protocol, score: ScoreRecord | None) -> Iterator[tuple[str, float | None, str]]:
    """Declared values that exist per clip (empty without a score), then parts; one empty row where there is neither."""
    scored = score is not None and score.status == "ok"
    numbers = score.values if score is not None and scored else {}
    parts = sorted(score.parts.items()) if score is not None and scored else []
    declared = [v for v in protocol.values if v.aggregation.kind != "corpus" and (v.name in numbers or not scored)]
    for value in declared:
        yield value.name, numbers.get(value.name), unit_of(value.unit)
    for name, part in parts:
        yield f"parts.{name}", part, ""
    if not declared and not parts:
        yield "", None, ""


def known_format(named: str, known: Sequence[str], path: Path) -> str:
    """The one of ``known`` that is meant.

    Raises:
        UsageError: none is; ``path`` says for which file.
    """
    kind = named.lower()
    if kind not in known:
        raise UsageError(f"{path}: format {kind!r} is unknown", did_you_mean(kind, known))
    return kind


def write(rows: Iterator[Record], path: Path, to: str | None = None) -> int:
    """Write rows to ``path`` (format by its ending unless given); returns how many.

    The file appears whole or not at all.

    Raises:
        UsageError: an unknown format, or a folder that cannot be written.
    """
    writer = _WRITERS[known_format(to or path.suffix.lstrip("."), FORMATS, path)]
    partial = path.with_name(path.name + ".partial")
    try:
        count = writer(rows, partial)
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}", "name a file in a folder that can be written."
        ) from error
    finally:
        if partial.exists():
            partial.unlink()
    return count


def _write_csv(rows: Iterator[Record], path: Path) -> int:
    import csv

    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([neutral(row[name]) for name in COLUMNS])
            count += 1
    return count


def _write_jsonl(rows: Iterator[Record], path: Path) -> int:
    import json

    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def _write_parquet(rows: Iterator[Record], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for block in _blocks(rows):
            writer.write_table(pa.Table.from_pylist(block, schema=schema))
            count += len(block)
    return count


def _blocks(rows: Iterator[Record]) -> Iterator[list[Record]]:
    block: list[Record] = []
    for row in rows:
        block.append(row)
        if len(block) == ROWS_AT_ONCE:
            yield block
            block = []
    if block:
        yield block


_WRITERS = {"csv": _write_csv, "jsonl": _write_jsonl, "parquet": _write_parquet}
