"""The HTML pages: templates with escaping always on, and what each of them is given.

Nothing here marks text as safe but the index inside index.html, which :func:`data_script.to_json` has made free of
markup. Pages have no inline script and no inline style: their policy allows neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.results.grid import PublishedGrid, published_grid
from bench.results.report import svg
from bench.results.report.beside import PrintedRow, printed_rows
from bench.results.report.collect import View, by_whom, definition
from bench.results.report.data_script import SCHEMA, number, to_json
from bench.results.table import Column, Row, Table, cell_marks, footer, row_counts

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'none'; form-action 'none'; base-uri 'none'"
)
#: Page to title, in the order of the navigation; ``clip`` is reached from the others.
TITLES: Mapping[str, str] = {
    "index": "Leaderboard",
    "distributions": "Distributions",
    "clips": "Clips",
    "clip": "Clip",
    "compare": "Compare",
    "failures": "Failures",
    "about": "About",
}
#: Pages that draw charts, and so load the chart library.
CHARTS = frozenset({"distributions", "clips", "clip", "compare"})
RANKS = 5  # ranks that have a background of their own

BY = {"here": "by us", "external": "from elsewhere"}


def link(page: str, **address: object) -> str:
    """The address of a page of the report; keys are those of the scripts' hash."""
    parts = "&".join(f"{key}={quote(str(value), safe=',.')}" for key, value in address.items())
    return f"{page}.html#{parts}" if parts else f"{page}.html"


def environment() -> Environment:
    """The template engine: everything is escaped, an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals |= {"link": link, "policy": POLICY, "titles": TITLES, "charts": CHARTS, "schema": SCHEMA}
    return made


@dataclass(frozen=True)
class BoardCell:
    """One cell of a leaderboard page. ``raw``: what a script sorts by; ``words`` say what colours and marks say."""

    column: int
    text: str
    raw: str
    marks: str
    interval: str
    speakers: str
    count: str
    kind: str
    words: str
    mark: svg.IntervalMark | None


@dataclass(frozen=True)
class BoardRow:
    """One row of a leaderboard page."""

    place: int
    label: str
    marks: str
    tier: str
    by: str
    clips: str
    failed: str
    kind: str
    n_clips: int
    n_failed: int
    cells: Sequence[BoardCell]


@dataclass(frozen=True)
class BoardColumn:
    """One column: its heading, explanation and direction."""

    place: int
    heading: str
    protocol: str
    definition: str
    direction: str


@dataclass(frozen=True)
class Board:
    """A section as the leaderboard page has it."""

    view: View
    columns: Sequence[BoardColumn]
    rows: Sequence[BoardRow]
    condition: str
    limited: bool
    made: str
    printed: Sequence[PrintedRow]
    published: Sequence[PublishedGrid]


def board(view: View) -> Board:
    """The leaderboard of a section: its headline columns."""
    shown = view.section.headline()
    marks = [svg.interval_marks([_extent(row, column) for row in view.rows]) for column in shown]
    columns = [
        BoardColumn(place, heading, column.protocol.id, definition(column), column.value.direction)
        for place, (column, heading) in enumerate(zip(shown, view.grid.headings, strict=True))
    ]
    rows = [_row(view, place, [column[place] for column in marks]) for place in range(len(view.rows))]
    group = view.section.group
    parts = {"pairing": group.pairing, "audio": group.audio, "reference": group.reference}
    condition = ", ".join(f"{name} {value}" for name, value in parts.items() if value)
    limited = any(row.limited for row in view.rows)
    days = sorted({row.run.created[:10] for row in view.rows if row.run.created})
    made = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    grids = [published_grid(block) for block in view.published]
    return Board(view, columns, rows, condition, limited, made, printed_rows(view), grids)


def _extent(row: Row, column: Column) -> tuple[float, float, float] | None:
    cell = row.cells.get(column.key)
    if cell is None or cell.value is None:
        return None
    low, high = cell.interval or (cell.value, cell.value)
    return cell.value, low, high


def _row(view: View, place: int, marks: Sequence[svg.IntervalMark | None]) -> BoardRow:
    row, grid = view.rows[place], view.grid.rows[place]
    clips, failed = row_counts(row)
    cells = [_cell(view, place, column, mark) for column, mark in enumerate(marks)]
    kind = "truth" if row.ground_truth else "control" if row.control else "system"
    return BoardRow(
        place=place,
        label=row.label,
        marks=row.marks,
        tier=grid.tier,
        by=BY[by_whom(row)],
        clips=clips,
        failed=failed,
        kind=kind,
        n_clips=row.n_clips,
        n_failed=max((cell.n_failed for cell in row.cells.values()), default=0),
        cells=cells,
    )


def _cell(view: View, row: int, place: int, mark: svg.IntervalMark | None) -> BoardCell:
    text = view.texts[row][place]
    cell = view.rows[row].cells.get(view.columns[place].key)
    if cell is None:
        return BoardCell(place, text.value, "", "", "", "", "", "none", "not measured", None)
    ranked = f"rank-{cell.rank}" if cell.rank is not None and cell.rank <= RANKS else ""
    kinds = [ranked, "best" * cell.best, "second" * text.second, "tied" * cell.tied]
    words = [f"rank {cell.rank}" * (cell.rank is not None), "not told apart from the best" * cell.tied, cell.problem]
    raw = "" if cell.value is None else repr(number(cell.value))
    return BoardCell(
        column=place,
        text=text.value,
        raw=raw,
        marks=cell_marks(cell),
        interval=text.interval,
        speakers=text.speakers,
        count=text.scored,
        kind=" ".join(part for part in kinds if part),
        words=", ".join(part for part in words if part),
        mark=mark if cell.interval is not None else None,
    )


class Pages:
    """Renders the pages of one report."""

    def __init__(self, title: str, version: str, index: Mapping[str, Any], table: Table) -> None:
        self._environment = environment()
        self._title, self._version = title, version
        self._index, self._table = index, table

    def render(self, page: str, **given: Any) -> str:
        """The text of a page; ``given`` is what its template needs beyond what all pages have."""
        template = self._environment.get_template(f"{page}.html")
        return template.render(page=page, title=self._title, version=self._version, **given)

    def leaderboard(self, boards: Sequence[Board], downloads: Sequence[str]) -> str:
        """index.html, with the index inside, so that it needs one file less."""
        data = Markup(to_json({"schema": SCHEMA, **self._index}))  # to_json has escaped all markup
        lines = footer(self._table)
        return self.render("index", boards=boards, downloads=downloads, data=data, footer=lines)
