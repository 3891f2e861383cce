"""A leaderboard in any of its formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from bench.api import UsageError, did_you_mean
from bench.results import render_markup, render_terminal, tidy
from bench.results.published import Block
from bench.results.table import Table

Format = Literal["table", "csv", "md", "latex", "json", "html"]
FORMATS: tuple[str, ...] = get_args(Format)
SUFFIXES = {"csv": ".csv", "md": ".md", "latex": ".tex", "json": ".json", "html": ".html", "table": ".txt"}


def render(table: Table, to: str, *, published: Sequence[Block] = (), wide: bool = False, width: int = 100) -> str:
    """The table as text in one of :data:`FORMATS`.

    ``wide`` turns CSV and JSON into systems x protocols; the other formats are so already.

    Raises:
        UsageError: an unknown format, or ``wide`` with papers' numbers (which have no place there).
    """
    if to not in FORMATS:
        raise UsageError(f"--format {to!r} is unknown", did_you_mean(to, FORMATS))
    if to in {"csv", "json"}:
        return _plain(table, to, published, wide)
    if to == "md":
        return render_markup.to_markdown(table, published)
    if to == "latex":
        return render_markup.to_latex(table, published)
    if to == "html":
        return render_markup.to_html(table, published)
    return render_terminal.to_text(table, published, width)


def _plain(table: Table, to: str, published: Sequence[Block], wide: bool) -> str:
    if wide and published:
        raise UsageError("--wide has no place for --published", "leave one of the two out.")
    columns: Sequence[str] = tidy.columns_of(table)
    rows: Sequence[tidy.Tidy] = tidy.tidy_rows(table, published)
    if wide:
        columns, rows = tidy.wide_rows(table)
    return tidy.to_csv(columns, rows) if to == "csv" else tidy.to_json(rows, columns)
