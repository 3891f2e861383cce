"""What the pages and data files say of a leaderboard: its sections, columns, rows and cells, and the index.

All texts of cells come from :mod:`bench.results.grid`, as those of Markdown and LaTeX do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench.results.grid import Grid, GridCell, grid_of
from bench.results.published import Block, PublishedRow, blocks
from bench.results.report.beside import column_of
from bench.results.report.data_script import number
from bench.results.table import ARROWS, Cell, Column, Row, Section, Table, cell_marks, row_counts
from bench.store import Store
from bench.store_records import RunClip

CLIPS_PER_DETAIL = 100  # clips of one file of details
NUMBERS_PER_PART = 220_000  # of one file of scores: below 2 MB
NUMBERS_OF_A_CLIP = 24  # what its id, speaker and transcript take, counted in numbers
BETTER = {"higher": "higher is better", "lower": "lower is better", "zero": "nearer to zero is better"}


@dataclass(frozen=True)
class View:
    """A section of the table with all of its clips, in bytewise order of their ids.

    ``columns`` are all columns, those that tables show first; ``requested``: by row, clip id to what was asked for.
    """

    section: Section
    columns: Sequence[Column]
    clips: Sequence[RunClip]
    requested: Sequence[dict[str, RunClip]]
    published: Sequence[Block]

    @property
    def rows(self) -> Sequence[Row]:
        """The rows of the section; a row's number is its place here."""
        return self.section.rows

    @cached_property
    def id(self) -> str:
        """Eight digits that name the section in addresses and file names."""
        return hashlib.sha256("\n".join(self.section.group).encode()).hexdigest()[:8]

    @cached_property
    def grid(self) -> Grid:
        """The columns that tables show, as text."""
        return grid_of(self.section)

    @cached_property
    def texts(self) -> list[list[GridCell]]:
        """By row and column (all of them), the texts of the cells."""
        shown = [Column(column.protocol, replace(column.value, headline=True)) for column in self.columns]
        return [list(row.cells) for row in grid_of(replace(self.section, columns=shown)).rows]

    @property
    def headings(self) -> list[str]:
        """Of all columns; those that tables show are as the tables have them."""
        return [*self.grid.headings, *(column.heading for column in self.columns[len(self.grid.headings) :])]

    @cached_property
    def places(self) -> dict[str, int]:
        """Clip id to its place."""
        return {clip.clip_id: place for place, clip in enumerate(self.clips)}

    @property
    def clips_per_part(self) -> int:
        """How many clips one file of scores holds."""
        each = NUMBERS_OF_A_CLIP + len(self.rows) * sum(clipwise(column) for column in self.columns)
        return max(1, NUMBERS_PER_PART // each)

    def parts(self) -> list[range]:
        """The places of the clips in each file of scores or texts; one empty part where there is no clip."""
        size = self.clips_per_part
        return [range(start, min(start + size, len(self.clips))) for start in range(0, max(len(self.clips), 1), size)]


def clipwise(column: Column) -> bool:
    """Whether single clips have a value (they have none of Fréchet distances, nor of rates over missing outputs)."""
    value = column.value
    return value.aggregation.kind != "corpus" and value.name in {v.name for v in column.protocol.values}


def key_of(column: Column) -> str:
    """A column's key in the data files."""
    return f"{column.protocol.id} {column.value.name}"


def views(store: Store, table: Table) -> list[View]:
    """The sections of a table with their clips."""
    return [_view(store, section, blocks(replace(table, sections=[section]))) for section in table.sections]


def _view(store: Store, section: Section, published: Sequence[Block]) -> View:
    requested = [{clip.clip_id: clip for clip in store.run_clips(row.run.id)} for row in section.rows]
    known: dict[str, RunClip] = {}
    for clips in requested:
        known = clips | known
    ids = sorted(known, key=lambda clip_id: clip_id.encode("utf-8", "surrogatepass"))
    hidden = [column for column in section.columns if not column.value.headline]
    return View(section, [*section.headline(), *hidden], [known[clip_id] for clip_id in ids], requested, published)


def index(views: Sequence[View], title: str, version: str, texts: dict[tuple[str, int], list[str]]) -> dict[str, Any]:
    """The index: everything that the leaderboards say, without any clip. ``texts``: files by section and row."""
    protocols = {column.protocol.id: column.protocol for view in views for column in view.columns}
    return {
        "title": title,
        "bench": version,
        "sections": [_section(view, texts) for view in views],
        "protocols": {
            pid: {"status": protocol.status, "note": protocol.note, "source": protocol.source}
            for pid, protocol in sorted(protocols.items())
        },
    }


def _section(view: View, texts: dict[tuple[str, int], list[str]]) -> dict[str, Any]:
    section = view.section
    details = -(-len(view.clips) // CLIPS_PER_DETAIL)
    return {
        "id": view.id,
        "title": section.heading,
        "group": section.group._asdict(),
        "columns": [_column(column, heading) for column, heading in zip(view.columns, view.headings, strict=True)],
        "rows": [_row(view, place, texts.get((view.id, place), [])) for place in range(len(view.rows))],
        "n_clips": len(view.clips),
        "scores": [f"scores-{view.id}-{part}" for part in range(len(view.parts()))],
        "detail": {"per": CLIPS_PER_DETAIL, "count": details},
        "compare": f"compare-{view.id}" if len(view.rows) > 1 else None,
        "failures": f"failures-{view.id}",
        "published": [_printed(view, row) for block in view.published for row in block.rows],
        "notes": list(section.notes),
    }


def _column(column: Column, heading: str) -> dict[str, Any]:
    value = column.value
    return {
        "key": key_of(column),
        "protocol": column.protocol.id,
        "name": value.name,
        "label": value.label,
        "heading": heading,
        "unit": value.unit,
        "direction": value.direction,
        "scale": number(value.scale),
        "digits": value.digits,
        "headline": value.headline,
        "per_clip": clipwise(column),
        "gated": column.protocol.gated,
        "definition": definition(column),
    }


def definition(column: Column) -> str:
    """What a column is, in one line: protocol, unit, direction, how clips become one value, where it is from."""
    value, protocol = column.value, column.protocol
    how = {
        "mean": "mean over clips",
        "ratio": f"sum of {value.aggregation.numerator} over sum of {value.aggregation.denominator}",
        "corpus": "one value of the whole set",
    }[value.aggregation.kind]
    said = [f"{value.label}: {protocol.id}", value.unit, f"{ARROWS[value.direction]} {BETTER[value.direction]}", how]
    return "; ".join(part for part in (*said, protocol.note) if part)


def by_whom(row: Row) -> str:
    """Who measured a row: ``here``, or ``external`` where its numbers were brought from elsewhere."""
    return "external" if row.imported or row.run.tier == "external" else "here"


def _row(view: View, place: int, texts: list[str]) -> dict[str, Any]:
    row = view.rows[place]
    clips, failed = row_counts(row)
    cells = [row.cells.get(column.key) for column in view.columns]
    return {
        "label": row.label,
        "system": row.run.system,
        "tier": row.run.tier,
        "run": row.run.id,
        "control": row.control,
        "ground_truth": row.ground_truth,
        "marks": row.marks,
        "by": by_whom(row),
        "date": row.run.created,
        "clips": clips,
        "failed": failed,
        "cells": [
            None if cell is None else cell_record(cell, text)
            for cell, text in zip(cells, view.texts[place], strict=True)
        ],
        "texts": texts,
    }


def cell_record(cell: Cell, text: GridCell) -> dict[str, Any]:
    """One cell of the leaderboard."""
    low, high = cell.interval or (None, None)
    return {
        "text": text.value,
        "value": number(cell.value),
        "low": number(low),
        "high": number(high),
        "interval": text.interval,
        "speakers": text.speakers,
        "scored": cell.n_scored,
        "failed": cell.n_failed,
        "pending": cell.n_pending,
        "total": cell.n_total,
        "rank": cell.rank,
        "best": cell.best,
        "second": text.second,
        "tied": cell.tied,
        "marks": cell_marks(cell),
        "count": text.scored,
        "problem": cell.problem,
    }


def _printed(view: View, row: PublishedRow) -> dict[str, Any]:
    """A paper's number, with the column that it may stand beside."""
    place = column_of(view.columns, row)
    return {
        "system": row.system,
        "source": row.place.source,
        "title": row.place.title,
        "year": row.place.year,
        "table": row.place.table,
        "setting": row.place.setting,
        "metric": row.metric,
        "protocol": row.protocol,
        "text": row.printed,
        "value": number(row.value),
        "direction": row.direction,
        "column": place,
        "same_recipe": place is not None and view.columns[place].protocol.id == row.protocol,
    }
