"""Tables as text cells: what Markdown, LaTeX, HTML and the terminal have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bench.results.published import VERDICTS, Block, PublishedRow, Spread
from bench.results.table import (
    ARROWS,
    DASH,
    Cell,
    Column,
    Row,
    Section,
    cell_count,
    cell_marks,
    format_half_width,
    format_interval,
    format_value,
    row_counts,
)

#: Printed metrics that are shown per cent, as measured rates are.
PERCENT = frozenset({"WER", "CER", "WER-lipread", "EmoAcc", "SECS", *VERDICTS})


class GridCell(NamedTuple):
    """One value as text. ``speakers``: interval over speakers; ``scored``: ``(scored/requested)`` if they differ."""

    value: str
    marks: str = ""
    interval: str = ""
    half_width: str = ""
    speakers: str = ""
    scored: str = ""
    best: bool = False
    second: bool = False


class GridRow(NamedTuple):
    """One row: its four leading texts and its values."""

    label: str
    tier: str
    clips: str
    failed: str
    control: bool
    cells: Sequence[GridCell]


class Grid(NamedTuple):
    """A section as text. ``protocols`` has the id behind each heading."""

    title: str
    headings: Sequence[str]
    protocols: Sequence[str]
    rows: Sequence[GridRow]
    notes: Sequence[str]


class PublishedGrid(NamedTuple):
    """Numbers of papers as text: one row per system, source, table and setting."""

    title: str
    headings: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[str]]]  # (system, source, table, setting), values
    notes: Sequence[str]


LEAD = ("system", "tier", "n", "failed")
PUBLISHED_LEAD = ("system", "source", "table", "setting")


def grid_of(section: Section) -> Grid:
    """The headline columns of a section as text."""
    columns = section.headline()
    return Grid(
        section.heading,
        _headings(columns),
        [column.protocol.id for column in columns],
        [_row(row, columns) for row in section.rows],
        section.notes,
    )


def _headings(columns: Sequence[Column]) -> list[str]:
    """Label and arrow; with the recipe where two columns have one label."""
    used = Counter(column.value.label for column in columns)
    return [
        column.heading if used[column.value.label] == 1 else f"{column.heading} {column.protocol.id.split('/', 1)[1]}"
        for column in columns
    ]


def _row(row: Row, columns: Sequence[Column]) -> GridRow:
    clips, failed = row_counts(row)
    cells = [_cell(row.cells.get(column.key), column) for column in columns]
    return GridRow(row.label + row.marks, row.run.tier, clips, failed, row.control, cells)


def _cell(cell: Cell | None, column: Column) -> GridCell:
    if cell is None:
        return GridCell(DASH)
    speakers = format_interval(cell.speakers, column.value)
    return GridCell(
        value=format_value(cell.value, column.value),
        marks=cell_marks(cell),
        interval=format_interval(cell.interval, column.value),
        half_width=format_half_width(cell.interval, column.value),
        speakers="{" + speakers[1:-1] + "}" if speakers else "",
        scored=cell_count(cell),
        best=cell.best,
        second=cell.rank == 2,
    )


def published_grid(block: Block) -> PublishedGrid:
    """A block of papers' numbers as text: metrics as columns, in order of how often they occur."""
    metrics = [metric for metric, _ in Counter(row.metric for row in block.rows).most_common()]
    places = dict.fromkeys((row.system, row.place) for row in block.rows)
    values = {(row.system, row.place, row.metric): _printed(row) for row in block.rows}
    direction = {row.metric: ARROWS.get(row.direction, "") for row in block.rows}
    ordered = places if block.title else sorted(places, key=lambda found: (found[0] != "Ground Truth", *found))
    rows = [
        (
            (block.named(system), f"{place.source} ({place.title}, {place.year})", place.table, place.setting),
            [values.get((system, place, metric), DASH) for metric in metrics],
        )
        for system, place in ordered
    ]
    headings = [f"{metric}{' %' if metric in PERCENT else ''} {direction[metric]}".rstrip() for metric in metrics]
    return PublishedGrid(
        block.title or f"PUBLISHED, not measured here: {block.dataset}, {block.task}",
        headings,
        rows,
        [*(_spread(spread) for spread in block.spreads), *block.remarks],
    )


def _number(metric: str, value: float) -> str:
    return f"{value * 100:.2f}" if metric in PERCENT else f"{value:.6g}"


def _printed(row: PublishedRow) -> str:
    """In the paper's own digits, unless the number is shown in another unit."""
    as_printed = row.metric not in PERCENT and float(row.printed.rstrip("%")) == row.value
    return row.printed if as_printed else _number(row.metric, row.value)


def _spread(spread: Spread) -> str:
    low, high = _number(spread.metric, spread.low), _number(spread.metric, spread.high)
    return f"{spread.system}, {spread.metric}: {low} to {high} in {spread.sources} sources"
