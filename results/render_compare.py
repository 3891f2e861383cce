"""A paired comparison as terminal table, Markdown, CSV or JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.api import UsageError, did_you_mean
from bench.results.compare import SIGNIFICANT, Comparison, Report
from bench.results.render_markup import markdown_text
from bench.results.table import DASH, Group, format_interval, format_value
from bench.results.tidy import to_csv, unit_of

FORMATS = ("table", "md", "csv", "json")
COLUMNS = (
    "dataset",
    "split",
    "task",
    "first",
    "second",
    "first_run",
    "second_run",
    "protocol",
    "metric",
    "direction",
    "unit",
    "n",
    "first_value",
    "second_value",
    "difference",
    "ci_low",
    "ci_high",
    "p",
    "p_holm",
    "effect",
    "wins",
    "ties",
    "losses",
    "better",
)
CLIPS_SHOWN = 3  # per column, in the readable formats; JSON has all of the report


def render(reports: Sequence[Report], to: str, width: int = 100) -> str:
    """Reports in one of :data:`FORMATS`.

    Raises:
        UsageError: an unknown format.
    """
    if to not in FORMATS:
        raise UsageError(f"--format {to!r} is unknown", did_you_mean(to, FORMATS))
    if to == "csv":
        return to_csv(COLUMNS, [_record(report, c) for report in reports for c in report.comparisons])
    if to == "json":
        return json.dumps([_json(report) for report in reports], indent=1, ensure_ascii=False) + "\n"
    if to == "md":
        return "\n".join(_markdown(report) for report in reports)
    buffer = io.StringIO()
    print_reports(Console(file=buffer, width=width, no_color=True, highlight=False), reports)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def print_reports(console: Console, reports: Sequence[Report]) -> None:
    """One table per report, then the clips with the greatest differences."""
    for report in reports:
        table = RichTable(title=Text(_title(report), style="bold"), title_justify="left")
        for name, justify in _HEAD:
            table.add_column(name, justify="left" if justify == "l" else "right", vertical="top")
        for comparison in report.comparisons:
            style = "bold" if comparison.better else ""
            table.add_row(*[Text(text, style=style) for text in _cells(report, comparison)])
        console.print(table)
        for line in _lines(report):
            console.print(Text("  " + line, style="dim"))


_HEAD = (
    ("metric", "l"),
    ("first", "r"),
    ("second", "r"),
    ("difference", "r"),
    ("p (Holm)", "r"),
    ("effect", "r"),
    ("w/t/l", "r"),
    ("better", "l"),
)


def _title(report: Report) -> str:
    group = Group(*(getattr(report.first, name) for name in Group._fields))
    first, second = report.labels
    return f"{first} (first) against {second} (second) · {group.title} · {report.n_common} common clips"


def _cells(report: Report, comparison: Comparison) -> list[str]:
    value = comparison.column.value
    interval = format_interval(comparison.interval, value)
    counts = (comparison.wins, comparison.ties, comparison.losses)
    winner = {"first": report.labels[0], "second": report.labels[1], "": DASH}[comparison.better]
    return [
        comparison.column.heading,
        format_value(comparison.first, value),
        format_value(comparison.second, value),
        format_value(comparison.difference, value) + (f"\n{interval}" if interval else ""),
        DASH if comparison.p_holm is None else _p(comparison.p_holm),
        DASH if comparison.effect is None else f"{comparison.effect:+.2f}",
        DASH if comparison.wins is None else "/".join(str(count) for count in counts),
        winner,
    ]


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _lines(report: Report) -> list[str]:
    """Notes, the clips with the greatest differences, and what the columns mean."""
    lines = list(report.notes)
    for comparison in report.comparisons:
        if comparison.clips and comparison.column.value.headline:
            value = comparison.column.value
            shown = [
                f"{clip.clip_id} {format_value(clip.first, value)} / {format_value(clip.second, value)}"
                for clip in comparison.clips[:CLIPS_SHOWN]
            ]
            lines.append(f"greatest differences, {comparison.column.heading}: {'; '.join(shown)}")
    return [
        *lines,
        "difference: first - second, [95 % paired bootstrap over clips]; p: permutation test of paired clips, "
        f"adjusted by Holm over all rows; better: p < {SIGNIFICANT}.",
        "effect: mean clip difference / its standard deviation; w/t/l: clips on which the first is better, equal, "
        "worse.",
        "protocols: " + ", ".join(dict.fromkeys(c.column.protocol.id for c in report.comparisons)),
    ]


def _markdown(report: Report) -> str:
    head = "| " + " | ".join(markdown_text(name) for name, _ in _HEAD) + " |"
    rule = "| " + " | ".join("---" if side == "l" else "---:" for _, side in _HEAD) + " |"
    rows = ["| " + " | ".join(markdown_text(c) for c in _cells(report, one)) + " |" for one in report.comparisons]
    lines = [f"- {markdown_text(line)}" for line in _lines(report)]
    return "\n".join([f"### {markdown_text(_title(report))}", "", head, rule, *rows, "", *lines, ""])


def _record(report: Report, comparison: Comparison) -> dict[str, Any]:
    low, high = comparison.interval or (None, None)
    return {
        **{name: getattr(report.first, name) for name in ("dataset", "split", "task")},
        "first": report.labels[0],
        "second": report.labels[1],
        "first_run": report.first.id,
        "second_run": report.second.id,
        "protocol": comparison.column.protocol.id,
        "metric": comparison.column.value.label,
        "direction": comparison.column.value.direction,
        "unit": unit_of(comparison.column.value.unit),
        "n": comparison.n,
        "first_value": comparison.first,
        "second_value": comparison.second,
        "difference": comparison.difference,
        "ci_low": low,
        "ci_high": high,
        "p": comparison.p,
        "p_holm": comparison.p_holm,
        "effect": comparison.effect,
        "wins": comparison.wins,
        "ties": comparison.ties,
        "losses": comparison.losses,
        "better": comparison.better,
    }


def _json(report: Report) -> dict[str, Any]:
    rows = []
    for comparison in report.comparisons:
        clips = [{"clip": c.clip_id, "first": c.first, "second": c.second} for c in comparison.clips]
        rows.append({**_record(report, comparison), "clips": clips})
    return {"n_common": report.n_common, "notes": list(report.notes), "comparisons": rows}
