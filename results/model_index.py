"""The table as ``model-index`` of Hugging Face model cards: one YAML file per row name.

A result is one section (data set, split, task and condition), a metric one cell. Values are unrounded and in the unit
of the protocol, which ``config`` names; ``args`` says what they rest on. A cell that lacks clips says so in its name,
since readers of model cards show nothing else beside the value.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api import UsageError
from bench.records import Task
from bench.results.table import Cell, Column, Group, Row, Section, Table
from bench.results.tidy import unit_of

#: Task types as model cards write them: what goes in, to, what comes out.
TYPES: Mapping[Task, str] = {
    "vts": "video-to-speech",
    "dub": "video-to-speech",
    "a2v": "audio-to-video",
    "t2av": "text-to-video",
    "tts": "text-to-speech",
}
NAMES: Mapping[Task, str] = {
    "vts": "Speech from silent video",
    "dub": "Dubbing: speech from silent video and text",
    "a2v": "Talking head from audio",
    "t2av": "Talking head with speech from text",
    "tts": "Speech from text",
}


def model_indexes(table: Table) -> dict[str, list[dict[str, Any]]]:
    """The ``model-index`` of every row name in order of appearance; rows without a value are left out."""
    results: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for section in table.sections:
        for row in section.rows:
            metrics = [
                _metric(row, column, cell)
                for column in section.columns
                if (cell := row.cells.get(column.key)) is not None and cell.value is not None
            ]
            if metrics:
                results[row.label].append({**_head(section, row), "metrics": metrics})
    return {label: [{"name": label, "results": found}] for label, found in results.items()}


def _head(section: Section, row: Row) -> dict[str, Any]:
    run = row.run
    parts = Group(run.dataset, run.split, run.task, run.pairing, run.audio, run.reference)
    condition = {name: getattr(parts, name) for name in ("pairing", "audio", "reference") if getattr(parts, name)}
    dataset = {
        "name": section.heading,
        "type": run.dataset,
        "config": ",".join([run.task, *(f"{name}={value}" for name, value in condition.items())]),
        "split": run.split,
        "revision": run.dataset_sha256,
        "args": {"clips": row.n_clips, "clips_of_split": run.n_split, "clips_sha256": row.clips_sha256},
    }
    return {
        "task": {"type": TYPES[run.task], "name": NAMES[run.task]},
        "dataset": {key: value for key, value in dataset.items() if value != ""},
    }


def _metric(row: Row, column: Column, cell: Cell) -> dict[str, Any]:
    protocol, value, run = column.protocol, column.value, row.run
    count = "" if cell.complete else f" ({cell.n_scored} of {cell.n_total} clips)"
    args: dict[str, Any] = {
        "value": value.name,
        "unit": unit_of(value.unit),
        "direction": value.direction,
        "clips_scored": cell.n_scored,
        "clips_failed": cell.n_failed,
        "clips_pending": cell.n_pending,
        "tier": run.tier,
        "system_version": run.version,
        "seed": run.seed,
        "run": run.id,
    }
    if cell.interval is not None:
        args["interval_95"] = [cell.interval.low, cell.interval.high]
    return {
        "type": protocol.family,
        "name": f"{value.label}{count}",
        "value": cell.value,
        "config": protocol.id,
        "args": args,
    }


def write_cards(table: Table, folder: Path) -> list[Path]:
    """Write ``<name>.yaml`` for every row name with a value into ``folder``; returns the files.

    Raises:
        UsageError: no row has a value, or the folder cannot be written.
    """
    import yaml

    indexes = model_indexes(table)
    if not indexes:
        raise UsageError("no run has a value yet", "`bench score` makes some; `bench runs list` shows the runs.")
    files: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for label, index in indexes.items():
            file = folder / f"{_file_name(label, files)}.yaml"
            text = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=120)
            file.write_text(text, encoding="utf-8")
            files.append(file)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror or error}", "name a folder that can be written.") from error
    return files


def _file_name(label: str, taken: list[Path]) -> str:
    """Letters, digits, dots and hyphens of a label; a number behind a name that is taken."""
    plain = re.sub(r"[^\w.-]+", "_", label).strip("._") or "system"
    names = {file.stem.casefold() for file in taken}
    number = 1
    while (name := plain if number == 1 else f"{plain}-{number}").casefold() in names:
        number += 1
    return name
