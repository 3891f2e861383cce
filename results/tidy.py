"""Tidy rows (one per system, protocol and metric), wide rows (systems x protocols), CSV and JSON.

Numbers are unrounded and rates are fractions. A row of a paper has the paper's id as ``source``,
tier ``published``, and the table and setting that it is printed under as ``run_id``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence

from bench.results.published import TIER, Block, PublishedRow
from bench.results.table import Cell, Column, Group, Row, Section, Table

COLUMNS = (
    "dataset",
    "split",
    "task",
    "pairing",
    "audio",
    "reference",
    "system",
    "tier",
    "protocol",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n_scored",
    "n_failed",
    "unit",
    "direction",
    "run_id",
    "source",
)
MEASURED = "measured"
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula

Tidy = dict[str, str | float | int | None]


def tidy_rows(table: Table, published: Sequence[Block] = ()) -> list[Tidy]:
    """Measured rows in the order of the table, then those of papers; keys are :data:`COLUMNS`."""
    rows = [
        _measured(section, row, column, row.cells[column.key])
        for section in table.sections
        for row in section.rows
        for column in section.columns
        if column.key in row.cells
    ]
    rows += [
        {**_printed(row, block), "table": section.title}
        for section in table.sections
        for block in section.beside
        for row in block.rows
    ]
    return rows + [_printed(row, block) for block in published for row in block.rows]


def columns_of(table: Table) -> tuple[str, ...]:
    """:data:`COLUMNS`, after the table's title where sections have one: a run may stand in several."""
    return ("table", *COLUMNS) if any(section.title for section in table.sections) else COLUMNS


def _measured(section: Section, row: Row, column: Column, cell: Cell) -> Tidy:
    low, high = cell.interval or (None, None)
    return {
        **({"table": section.title} if section.title else {}),
        **{name: getattr(row.run, name) for name in Group._fields},
        "system": row.label,
        "tier": row.run.tier,
        "protocol": column.protocol.id,
        "metric": column.value.label,
        "value": cell.value,
        "ci_low": low,
        "ci_high": high,
        "n_scored": cell.n_scored,
        "n_failed": cell.n_failed,
        "unit": unit_of(column.value.unit),
        "direction": column.value.direction,
        "run_id": row.run.id,
        "source": MEASURED,
    }


def unit_of(declared: str) -> str:
    """The unit of the stored number; what a declaration says about tables is cut off."""
    return "fraction" if declared.startswith("fraction") else declared


def _printed(row: PublishedRow, block: Block) -> Tidy:
    pairing, audio = _condition(row.place.setting)
    return {
        "dataset": row.dataset,
        "split": row.split,
        "task": block.task,
        "pairing": pairing,
        "audio": audio,
        "reference": "",
        "system": row.system,
        "tier": TIER,
        "protocol": row.protocol,
        "metric": row.metric,
        "value": row.value,
        "ci_low": None,
        "ci_high": None,
        "n_scored": None,
        "n_failed": None,
        "unit": row.unit,
        "direction": row.direction,
        "run_id": f"{row.place.table}: {row.place.setting}",
        "source": row.place.source,
    }


def _condition(setting: str) -> tuple[str, str]:
    """Pairing and audio of a paper's setting, where it says them in our words (``real audio/matched``)."""
    audio = "real" if "real audio" in setting else "tts" if "TTS audio" in setting else ""
    last = setting.rsplit("/", 1)[-1].split(" ", 1)[0]
    return last if last in {"matched", "cross"} else "", audio


def wide_rows(table: Table) -> tuple[list[str], list[Tidy]]:
    """Column names, and one row per run with a column per protocol and value."""
    head = [*COLUMNS[:8], "run_id"]
    keys = {column.key: f"{column.protocol.id} {column.value.label}" for s in table.sections for column in s.columns}
    rows: list[Tidy] = []
    for section in table.sections:
        for row in section.rows:
            values: Tidy = {keys[key]: cell.value for key, cell in row.cells.items()}
            known: Tidy = {"system": row.label, "tier": row.run.tier, "run_id": row.run.id}
            rows.append({**section.group._asdict(), **known, **values})
    return head + list(keys.values()), rows


def neutral(cell: object) -> str:
    """A CSV cell that no spreadsheet runs: text that begins like a formula gets a quote mark before it.

    Numbers stay numbers: a float is written with all of its digits, ``None`` as nothing.
    """
    if cell is None:
        return ""
    if isinstance(cell, float | int):
        return repr(cell)
    text = str(cell)
    return "'" + text if text.startswith(DANGEROUS) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """CSV text with a header line; fields that a row lacks are empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([neutral(name) for name in columns])
    for row in rows:
        writer.writerow([neutral(row.get(name)) for name in columns])
    return buffer.getvalue()


def to_json(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = COLUMNS) -> str:
    """A JSON list of objects with the given keys, in that order."""
    ordered = [{name: row.get(name) for name in columns} for row in rows]
    return json.dumps(ordered, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
