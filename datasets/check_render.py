"""The report of ``bench data check`` as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.api import CheckReport, Issue
from bench.datasets.ids import printable

SCHEMA = "bench-datacheck-1"
_EXAMPLES = 10  # ids per code in the text
_COLUMNS = ("expected", "found", "ok", "warn", "bad", "hours", "gb")
_TITLES = {"gb": "GB"}


def verdict(report: CheckReport) -> str:
    """``usable`` without errors; with their number and that of the warnings."""
    errors, warnings = report.count("error"), report.count("warn")
    word = "usable" if errors == 0 else "not usable as it is"
    return f"{word} ({_counted(errors, 'error')}, {_counted(warnings, 'warning')})"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def render_text(report: CheckReport, details: bool = False) -> str:
    """Lines for a terminal; ``details`` adds one line per finding with its explanation."""
    lines = [f"{report.dataset}  root={printable(report.root)}  mode={report.mode}"]
    if report.splits:
        lines += _table(report)
    by_code = _by_code(report.issues)
    if by_code:
        lines.append("codes: " + ", ".join(f"{code} {len(issues)}" for (code, _), issues in by_code.items()))
    for (code, severity), issues in by_code.items():
        names = ", ".join(printable(issue.where) for issue in issues[:_EXAMPLES])
        more = f", and {len(issues) - _EXAMPLES} more" if len(issues) > _EXAMPLES else ""
        lines.append(f"  {code} ({severity}): {names}{more}")
        shown = issues if details else issues[:1]
        lines += [f"    {printable(issue.where)}: {_one_line(issue.detail)}" for issue in shown if issue.detail]
    content = f"  content {report.content_sha256[:12]}" if report.content_sha256 else ""
    lines.append(f"verdict: {verdict(report)}{content}")
    return "\n".join(lines) + "\n"


def render_json(report: CheckReport) -> str:
    """The same as one object, with every finding and its explanation."""
    value = {
        "schema": SCHEMA,
        "dataset": report.dataset,
        "root": report.root,
        "mode": report.mode,
        "splits": {name: dict(sums) for name, sums in report.splits.items()},
        "codes": {f"{code}": len(issues) for code, issues in _codes(report.issues).items()},
        "issues": [
            {"code": issue.code, "severity": issue.severity, "where": issue.where, "detail": issue.detail}
            for issue in report.issues
        ],
        "errors": report.count("error"),
        "warnings": report.count("warn"),
        "verdict": verdict(report),
        "content_sha256": report.content_sha256,
    }
    return json.dumps(value, indent=1) + "\n"  # ASCII: a name on disk may hold bytes that are no UTF-8


def _table(report: CheckReport) -> list[str]:
    header = ["split", *(_TITLES.get(name, name) for name in _COLUMNS)]
    rows = [header]
    for split, sums in report.splits.items():
        rows.append([printable(split), *(_cell(name, sums.get(name)) for name in _COLUMNS)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if name in {"hours", "gb"} else f"{value:.0f}"


def _codes(issues: Sequence[Issue]) -> dict[str, list[Issue]]:
    found: dict[str, list[Issue]] = {}
    for issue in issues:
        found.setdefault(issue.code, []).append(issue)
    return dict(sorted(found.items()))


def _by_code(issues: Sequence[Issue]) -> dict[tuple[str, str], list[Issue]]:
    """Findings by code and severity (``av-gap`` has two), errors first."""
    order = {"error": 0, "warn": 1, "info": 2}
    found: dict[tuple[str, str], list[Issue]] = {}
    for issue in issues:
        found.setdefault((issue.code, issue.severity), []).append(issue)
    return dict(sorted(found.items(), key=lambda entry: (order[entry[0][1]], entry[0][0])))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
