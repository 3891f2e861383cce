"""The leaderboard on a terminal: blocks of as many columns as fit, one value with its interval per cell."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.results.grid import LEAD, PUBLISHED_LEAD, Grid, GridCell, grid_of, published_grid
from bench.results.published import Block
from bench.results.table import Table, footer

DEFAULT_WIDTH = 100
PADDING = 3  # two spaces and a border between columns
LABEL_WIDTH = 28
SETTING_WIDTH = 22


def print_leaderboard(console: Console, table: Table, published: Sequence[Block] = ()) -> None:
    """Print all sections, papers' blocks and the footer, within the console's width."""
    for section in table.sections:
        grid = grid_of(section)
        for part in _parts(grid, console.width) if grid.rows else [Text(grid.title, style="bold")]:
            console.print(part)
        _print_lines(console, grid.notes, "yellow")
        console.print()
        for block in section.beside:
            _print_published(console, block)
    for block in published:
        _print_published(console, block)
    _print_lines(console, footer(table), "dim")


def to_text(table: Table, published: Sequence[Block] = (), width: int = DEFAULT_WIDTH) -> str:
    """What :func:`print_leaderboard` shows, without colour."""
    buffer = io.StringIO()
    print_leaderboard(Console(file=buffer, width=width, no_color=True, highlight=False), table, published)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _print_lines(console: Console, lines: Sequence[str], style: str) -> None:
    for line in lines:
        console.print(Text("  " + line, style=style), soft_wrap=False)


def _parts(grid: Grid, width: int) -> Iterator[RichTable]:
    """The grid in tables that fit: the first with tier and counts, the others with the names alone."""
    leads = [(row.label, row.tier, row.clips, row.failed) for row in grid.rows]
    texts = [[_cell_text(cell) for cell in row.cells] for row in grid.rows]
    widths = [
        max([_widest(heading), *[max(map(len, t.plain.splitlines()), default=0) for t in column]])
        for heading, column in zip(grid.headings, zip_longest(*texts), strict=True)
    ]
    lead_widths = [_lead_width(i, leads) for i in range(len(LEAD))]
    for number, columns in enumerate(_fit(widths, lead_widths, width)):
        shown = len(LEAD) if number == 0 else 1
        title = grid.title if number == 0 else f"{grid.title} (continued)"
        part = _frame(title, LEAD[:shown])
        room = width - sum(w + PADDING for w in lead_widths[:shown]) - 1
        limits = _limits(grid.headings, widths, columns, room)
        for column in columns:
            part.add_column(Text(grid.headings[column]), justify="right", vertical="top", max_width=limits[column])
        for lead, row in zip(leads, texts, strict=True):
            part.add_row(*[Text(text) for text in lead[:shown]], *[row[column] for column in columns])
        yield part


def _widest(heading: str) -> int:
    """Headings may break at spaces."""
    return max(len(word) for word in heading.split(" "))


def _lead_width(index: int, leads: Sequence[Sequence[str]]) -> int:
    longest = max([len(LEAD[index]), *[len(lead[index]) for lead in leads]])
    return min(LABEL_WIDTH, longest) if index == 0 else longest


def _fit(widths: Sequence[int], lead_widths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Column numbers in runs that fit beside the leading columns (all of them in the first run)."""
    room = width - sum(w + PADDING for w in lead_widths) - 1
    columns: list[int] = []
    for column, needed in enumerate(widths):
        if columns and needed + PADDING > room:
            yield columns
            columns, room = [], width - (lead_widths[0] + PADDING) - 1
        columns.append(column)
        room -= needed + PADDING
    yield columns


def _limits(headings: Sequence[str], widths: Sequence[int], columns: Sequence[int], room: int) -> dict[int, int | None]:
    """How wide columns may be: as wide as their contents where the headings on one line do not fit beside each other.

    Left to itself the table would take the room from all columns alike, and break numbers.
    """
    fits = sum(max(widths[column], len(headings[column])) + PADDING for column in columns) <= room
    return {column: None if fits else widths[column] for column in columns}


def _frame(title: str, lead: Sequence[str]) -> RichTable:
    part = RichTable(title=Text(title, style="bold"), title_justify="left", show_lines=False)
    for index, name in enumerate(lead):
        part.add_column(
            name,
            justify="left" if index < 2 else "right",
            overflow="fold",
            max_width=LABEL_WIDTH if index == 0 else None,
            vertical="top",
        )
    return part


def _cell_text(cell: GridCell) -> Text:
    text = Text(cell.value + cell.marks, style="bold" if cell.best else "")
    if cell.scored:
        text.append(f" {cell.scored}", style="yellow")
    for line in (cell.interval, cell.speakers):
        if line:
            text.append(f"\n{line}", style="dim not bold")
    return text


def _print_published(console: Console, block: Block) -> None:
    """Papers' numbers in a frame of another colour, as one long table per run of columns."""
    grid = published_grid(block)
    widths = [max([_widest(h), *[len(row[1][i]) for row in grid.rows]]) for i, h in enumerate(grid.headings)]
    lead = [14, 12, 10, SETTING_WIDTH]
    for number, columns in enumerate(_fit(widths, [sum(lead) + 3 * PADDING], console.width)):
        title = grid.title + (" (continued)" if number else "")
        part = RichTable(title=Text(title, style="bold"), title_justify="left", border_style="yellow", show_lines=False)
        for name, wide in zip(PUBLISHED_LEAD, lead, strict=True):
            part.add_column(name, overflow="fold", max_width=wide, vertical="top")
        limits = _limits(grid.headings, widths, columns, console.width - sum(lead) - 4 * PADDING - 1)
        for column in columns:
            part.add_column(Text(grid.headings[column]), justify="right", vertical="top", max_width=limits[column])
        for (system, source, table, setting), values in grid.rows:
            if any(values[column] != "–" for column in columns):
                texts = (system, source.split(" ", 1)[0], table, setting)
                part.add_row(*[Text(text) for text in texts], *[Text(values[column]) for column in columns])
        console.print(part)
    _print_lines(console, grid.notes, "yellow")
    console.print()
