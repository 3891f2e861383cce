"""Papers' numbers beside ours: rows of the leaderboard for the same systems, set apart and never ranked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results.published import Place, PublishedRow, family_of, same_system
from bench.results.table import Column, format_value

if TYPE_CHECKING:
    from bench.results.report.collect import View


@dataclass(frozen=True)
class PrintedCell:
    """One number. ``told``: the recipe that the paper used, where it is not the column's."""

    text: str
    told: str


@dataclass(frozen=True)
class PrintedRow:
    """One system in one table of one paper; ``cells`` are those of the leaderboard's columns, ``None``: not printed."""

    system: str
    place: str
    cells: Sequence[PrintedCell | None]


def column_of(columns: Sequence[Column], row: PublishedRow) -> int | None:
    """The column that a paper's number may stand in: of the same recipe, else of the same metric."""
    same = [
        place
        for place, column in enumerate(columns)
        if column.protocol.id == row.protocol and column.value.label == row.metric
    ]
    family = [
        place
        for place, column in enumerate(columns)
        if column.protocol.family == family_of(row.metric) and column.value.label == row.metric
    ]
    return next(iter([*same, *family]), None)


def printed_rows(view: View) -> list[PrintedRow]:
    """What papers print of the section's own systems in its columns, in the order of its rows."""
    columns = view.section.headline()
    systems = list(dict.fromkeys(row.run.system for row in view.rows))
    found: dict[tuple[int, str, Place], dict[int, PrintedCell]] = {}
    for block in view.published:
        for row in block.rows:
            column = column_of(columns, row)
            ours = next((i for i, system in enumerate(systems) if same_system(system, row.system)), None)
            if column is not None and ours is not None:
                cells = found.setdefault((ours, row.system, row.place), {})
                cells[column] = _cell(columns[column], row)
    return [
        PrintedRow(system, _place(place), [cells.get(column) for column in range(len(columns))])
        for (_, system, place), cells in sorted(found.items(), key=lambda item: item[0])
    ]


def _cell(column: Column, row: PublishedRow) -> PrintedCell:
    """As it is printed, unless the table shows it in another unit."""
    printed = row.printed.rstrip("%")
    same = math.isclose(float(printed), row.value * column.value.scale, rel_tol=1e-9)
    told = "" if row.protocol == column.protocol.id else row.protocol
    return PrintedCell(printed if same else format_value(row.value, column.value), told)


def _place(place: Place) -> str:
    return ", ".join(part for part in (f"{place.title} ({place.year})", place.table, place.setting) if part)
