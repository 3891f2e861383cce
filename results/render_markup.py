"""Markdown, LaTeX and HTML of a leaderboard; every text from outside is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from bench.results.grid import LEAD, PUBLISHED_LEAD, Grid, GridCell, PublishedGrid, grid_of, published_grid
from bench.results.published import Block
from bench.results.table import Table, footer

# --------------------------------------------------------------------------- Markdown

_MARKDOWN_SPECIAL = set("\\`*_{}[]<>#|~$&!")


def markdown_text(text: str) -> str:
    """``text`` as plain words in Markdown, on one line."""
    line = " ".join(text.split())
    return "".join("\\" + c if c in _MARKDOWN_SPECIAL else c for c in line)


def to_markdown(table: Table, published: Sequence[Block] = ()) -> str:
    """One table per section, its warnings, papers' numbers under their own heading, then the footer."""
    parts: list[str] = []
    for section in table.sections:
        grid = grid_of(section)
        body = _markdown_grid(grid) if grid.rows else ""
        parts += [f"### {markdown_text(grid.title)}", body, _markdown_list(grid.notes)]
        parts += [text for block in section.beside for text in _markdown_published(block)]
    parts += [text for block in published for text in _markdown_published(block)]
    parts.append(_markdown_list(footer(table)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_published(block: Block) -> list[str]:
    found = published_grid(block)
    head = [*PUBLISHED_LEAD, *found.headings]
    rows = [[markdown_text(text) for text in (*lead, *values)] for lead, values in found.rows]
    body = _markdown_table(head, rows, len(PUBLISHED_LEAD))
    return [f"### {markdown_text(found.title)}", body, _markdown_list(found.notes)]


def _markdown_grid(grid: Grid) -> str:
    rows = [
        [markdown_text(text) for text in (row.label, row.tier, row.clips, row.failed)]
        + [_markdown_cell(cell) for cell in row.cells]
        for row in grid.rows
    ]
    return _markdown_table([*LEAD, *grid.headings], rows, 2)


def _markdown_cell(cell: GridCell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    extra = " ".join(markdown_text(text) for text in (cell.scored, cell.interval, cell.speakers) if text)
    return f"{value}{markdown_text(cell.marks)} {extra}".strip()


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    lines = [[markdown_text(name) for name in head], ["---" if i < left else "---:" for i in range(len(head))], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _markdown_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)


# --------------------------------------------------------------------------- LaTeX

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "≈": r"$\approx$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "–": "--",
    "·": r"$\cdot$",
    "[": "{[}",
    "]": "{]}",
}


def latex_text(text: str) -> str:
    """``text`` as plain words in LaTeX, on one line."""
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))


def to_latex(table: Table, published: Sequence[Block] = ()) -> str:
    """One ``table`` environment per section (needs booktabs): best bold, second underlined, ± half the interval."""
    parts = [r"% needs \usepackage{booktabs}"]
    for section in table.sections:
        grid = grid_of(section)
        rows = [
            [latex_text(text) for text in (row.label, row.tier, row.clips, row.failed)]
            + [_latex_cell(cell) for cell in row.cells]
            for row in grid.rows
        ]
        parts.append(_latex_table(grid.title, [*LEAD, *grid.headings], rows, 2, grid.notes))
        parts += [_latex_published(block) for block in section.beside]
    parts += [_latex_published(block) for block in published]
    parts.append("\n".join(f"% {' '.join(line.split())}" for line in footer(table)))
    return "\n\n".join(parts) + "\n"


def _latex_published(block: Block) -> str:
    found = published_grid(block)
    rows = [[latex_text(text) for text in (*lead, *values)] for lead, values in found.rows]
    return _latex_table(found.title, [*PUBLISHED_LEAD, *found.headings], rows, 4, found.notes)


def _latex_cell(cell: GridCell) -> str:
    value = rf"\textbf{{{cell.value}}}" if cell.best else cell.value
    value = rf"\underline{{{value}}}" if cell.second else value
    half = rf" {{\scriptsize$\pm${cell.half_width}}}" if cell.half_width else ""
    count = f" {latex_text(cell.scored)}" if cell.scored else ""
    return latex_text(value) if cell.value == "–" else f"{value}{latex_text(cell.marks)}{half}{count}"


def _latex_table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], left: int, notes: Sequence[str]
) -> str:
    body = [" & ".join(cells) + r" \\" for cells in rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(title)}}}",
            rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(head) - left)}}}",
            r"\toprule",
            " & ".join(latex_text(name) for name in head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *[rf"\par\smallskip\footnotesize {latex_text(note)}" for note in notes],
            r"\end{table}",
        ]
    )


# --------------------------------------------------------------------------- HTML

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:80rem;padding:0 1rem}
body{color:#1a1a1a;background:#fff}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0 1rem}
caption{text-align:left;font-weight:600;font-size:1.1rem;padding:.6rem 0}
th,td{padding:.35rem .7rem;text-align:right;border-bottom:1px solid #ddd;vertical-align:top;white-space:nowrap}
th[scope=row],.text{text-align:left}thead th{border-bottom:2px solid #333}
.ci,.id{display:block;font-size:.8em;font-weight:400;color:#555}.second{text-decoration:underline}
.control{color:#555}.published{border-left:4px solid #b58900;padding-left:1rem;background:#fdf8ec}
footer{font-size:.85rem;color:#333}
@media (prefers-color-scheme:dark){body{background:#15171a;color:#e8e8e8}th,td{border-color:#3a3d42}
.ci,.id,.control{color:#aaa}.published{background:#26221a}footer{color:#ccc}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def to_html(table: Table, published: Sequence[Block] = ()) -> str:
    """One page that needs nothing else: no script, no other host."""
    body: list[str] = ["<h1>Leaderboard</h1>"]
    for section in table.sections:
        grid = grid_of(section)
        body += ["<section>", _html_grid(grid), _html_list(grid.notes), "</section>"]
        body += [part for block in section.beside for part in _html_section(block)]
    body += [part for block in published for part in _html_section(block)]
    body += ["<footer>", _html_list(footer(table)), "</footer>"]
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Leaderboard</title><style>{_STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _html_section(block: Block) -> list[str]:
    found = published_grid(block)
    return ['<section class="published">', _html_published(found), _html_list(found.notes), "</section>"]


def _html_grid(grid: Grid) -> str:
    head = [f'<th scope="col" class="{"text" if i < 2 else "number"}">{name}</th>' for i, name in enumerate(LEAD)]
    for heading, protocol in zip(grid.headings, grid.protocols, strict=True):
        head.append(f'<th scope="col">{html.escape(heading)}<span class="id">{html.escape(protocol)}</span></th>')
    rows = []
    for row in grid.rows:
        kind = ' class="control"' if row.control else ""
        texts = f'<td class="text">{html.escape(row.tier)}</td>' + "".join(
            f"<td>{html.escape(text)}</td>" for text in (row.clips, row.failed)
        )
        cells = "".join(_html_cell(cell) for cell in row.cells)
        rows.append(f'<tr{kind}><th scope="row">{html.escape(row.label)}</th>{texts}{cells}</tr>')
    return _html_table(grid.title, head, rows)


def _html_cell(cell: GridCell) -> str:
    value = html.escape(cell.value)
    value = f"<strong>{value}</strong>" if cell.best else value
    value = f'<span class="second">{value}</span>' if cell.second else value
    extra = " ".join(text for text in (cell.interval, cell.speakers) if text)
    interval = f'<span class="ci">{html.escape(extra)}</span>' if extra else ""
    count = f" {html.escape(cell.scored)}" if cell.scored else ""
    return f"<td>{value}{html.escape(cell.marks)}{count}{interval}</td>"


def _html_published(grid: PublishedGrid) -> str:
    head = [f'<th scope="col" class="text">{name}</th>' for name in PUBLISHED_LEAD]
    head += [f'<th scope="col">{html.escape(name)}</th>' for name in grid.headings]
    rows = []
    for (system, *place), values in grid.rows:
        texts = "".join(f'<td class="text">{html.escape(text)}</td>' for text in place)
        numbers = "".join(f"<td>{html.escape(value)}</td>" for value in values)
        rows.append(f'<tr><th scope="row">{html.escape(system)}</th>{texts}{numbers}</tr>')
    return _html_table(grid.title, head, rows)


def _html_table(title: str, head: Sequence[str], rows: Sequence[str]) -> str:
    return (
        f'<div class="scroll"><table><caption>{html.escape(title)}</caption>\n<thead><tr>{"".join(head)}</tr></thead>\n'
        "<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
    )


def _html_list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>" if lines else ""
