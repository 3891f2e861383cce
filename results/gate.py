"""``bench gate``: does today's leaderboard still say what a baseline says?

A baseline is the leaderboard's JSON (tidy rows) with a ``tolerance`` per row: the largest absolute
difference of ``value`` that passes. Costs are not gated: they describe a machine. Default
tolerances (:func:`default_tolerance`) cover what other versions of the numeric libraries do to equal
inputs, not changes of a system; those of seeded protocols, which are regression and nothing else, are tight.

* a row of the baseline that is not in the table: fails (``missing``)
* a value that moved by more than its tolerance, or that is there on one side alone: fails (``moved``)
* fewer scored or more failed clips than the baseline: fails (``counts``)
* a row of the table that the baseline lacks: reported, passes (``new``)
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.api import DataError, UsageError
from bench.results.table import Table
from bench.results.tidy import COLUMNS, MEASURED, Tidy, tidy_rows

#: What a row is recognised by. The run's id is left out: a new version of a system is to be held against the old.
IDENTITY = ("dataset", "split", "task", "pairing", "audio", "reference", "system", "protocol", "metric")
UNGATED_FAMILIES = frozenset({"cost"})

#: Largest absolute difference by family; a family that is not listed has RELATIVE of the value.
ABSOLUTE: Mapping[str, float] = {
    "wer": 0.02,  # a few words of a small set are recognised otherwise by another build
    "cer": 0.02,
    "secs": 0.005,
    "spksim": 0.005,
    "csim": 0.005,
    "ssim": 0.002,
    "psnr": 0.1,
    "lmd": 0.1,
    "dnsmos": 0.03,
    "utmos": 0.03,
    "avsync": 0.02,
    "fd": 0.005,
    "duration": 0.01,
}
RELATIVE = 0.01
FLOOR = 1e-6

#: Families of metrics/seeded.py. Their rows say what the code does to fixed clips with fixed weights, so nothing but
#: rounding may move them: between instruction sets (AVX2, AVX-512) 1e-6 of the value, and no word. Values of untrained
#: networks lie close together (CSIM of two clips: 1e-3 apart), so that a wider margin would hide changes.
REGRESSION = frozenset({"seeded", "seeded-tracks"})
REGRESSION_RELATIVE = 1e-4

Status = Literal["ok", "moved", "counts", "missing", "new"]
FAILING: frozenset[Status] = frozenset({"moved", "counts", "missing"})


@dataclass(frozen=True)
class Finding:
    """One row of baseline or table. ``detail`` says what differs."""

    status: Status
    row: Mapping[str, Any]
    expected: float | None
    value: float | None
    tolerance: float | None
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """All findings, those of the baseline first."""

    findings: Sequence[Finding]

    @property
    def failed(self) -> bool:
        """Whether any row fails."""
        return any(finding.status in FAILING for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0: passed; 1: failed."""
        return int(self.failed)


def default_tolerance(protocol: str, value: float | None) -> float:
    """The tolerance of a new baseline's row."""
    family = protocol.split("/", 1)[0]
    relative = REGRESSION_RELATIVE if family in REGRESSION else RELATIVE
    return ABSOLUTE.get(family, max(FLOOR, relative * abs(value or 0.0)))


def gated(row: Mapping[str, Any], ungated: Iterable[str] = ()) -> bool:
    """Whether a tidy row is held against the baseline: measured, and of no cost protocol."""
    protocol = str(row["protocol"])
    return (
        row["source"] == MEASURED and protocol.split("/", 1)[0] not in UNGATED_FAMILIES and protocol not in set(ungated)
    )


def _ungated(table: Table) -> set[str]:
    return {protocol.id for protocol in table.protocols() if not protocol.gated}


def baseline_json(table: Table, tolerances: Mapping[str, float] | None = None) -> str:
    """A baseline of a table. ``tolerances`` by protocol id replace the defaults."""
    own = tolerances or {}
    rows = []
    for row in tidy_rows(table):
        if gated(row, _ungated(table)):
            protocol, value = str(row["protocol"]), row["value"]
            number = value if isinstance(value, float) else None
            rows.append({**row, "tolerance": own.get(protocol, default_tolerance(protocol, number))})
    if not rows:
        raise UsageError("the table has no row that can be gated", "score a run first.")
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_baseline(path: Path) -> list[dict[str, Any]]:
    """The rows of a baseline file.

    Raises:
        UsageError: no such file. DataError: not a baseline, or rows of it are wrong.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"--baseline {path}: {error.strerror or error}", "`bench gate --write` makes one from the present table."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{path}: not JSON: {error}", "restore it, or write it anew by `bench gate --write`."
        ) from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: not a list of rows", "a baseline is the leaderboard's JSON plus `tolerance`.")
    problems = [f"{path}: row {number}: {wrong}" for number, row in enumerate(rows, 1) if (wrong := _wrong(row))]
    if problems:
        raise DataError("\n  ".join(problems[:10]), f"each row has {', '.join(IDENTITY)}, value and tolerance.")
    return rows


def _wrong(row: object) -> str:
    if not isinstance(row, dict):
        return "not an object"
    lacking = [name for name in (*IDENTITY, "value", "tolerance") if name not in row]
    if lacking:
        return f"without {', '.join(lacking)}"
    unknown = sorted(set(row) - {*COLUMNS, "tolerance"})
    if unknown:
        return f"unknown keys {', '.join(unknown)}"
    tolerance, value = row["tolerance"], row["value"]
    if not _number(tolerance) or tolerance < 0:
        return f"tolerance {tolerance!r} is no number of 0 or more"
    return "" if value is None or _number(value) else f"value {value!r} is no number"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def gate(table: Table, baseline: Sequence[Mapping[str, Any]]) -> Verdict:
    """Hold a table against the rows of a baseline."""
    ungated = _ungated(table)
    now = {_identity(row): row for row in tidy_rows(table) if gated(row, ungated)}
    wanted = [row for row in baseline if gated({"source": MEASURED, **row}, ungated)]
    findings = [_held(row, now.get(_identity(row))) for row in wanted]
    known = {_identity(row) for row in wanted}
    new = [
        Finding("new", row, None, _value(row), None, "not in the baseline")
        for identity, row in now.items()
        if identity not in known
    ]
    return Verdict([*findings, *new])


def _identity(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name] or "") for name in IDENTITY)


def _value(row: Mapping[str, Any]) -> float | None:
    return None if row["value"] is None else float(row["value"])


def _held(expected: Mapping[str, Any], row: Tidy | None) -> Finding:
    wanted, tolerance = _value(expected), float(expected["tolerance"])
    if row is None:
        return Finding("missing", expected, wanted, None, tolerance, "not in the table")
    value = _value(row)
    if (wanted is None) != (value is None):
        return Finding("moved", row, wanted, value, tolerance, "has no value" if value is None else "had no value")
    counts = _fewer(expected, row)
    if wanted is not None and value is not None and abs(value - wanted) > tolerance:
        return Finding("moved", row, wanted, value, tolerance, f"{value - wanted:+.4g}")
    return Finding("counts" if counts else "ok", row, wanted, value, tolerance, counts)


def _fewer(expected: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What is worse in the counts of clips; more scored ones are no failure."""
    found = []
    if expected.get("n_scored") is not None and int(row["n_scored"]) < int(expected["n_scored"]):
        found.append(f"n_scored {expected['n_scored']} -> {row['n_scored']}")
    if expected.get("n_failed") is not None and int(row["n_failed"]) > int(expected["n_failed"]):
        found.append(f"n_failed {expected['n_failed']} -> {row['n_failed']}")
    return ", ".join(found)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """What moved, as a table, and one line with the counts."""
    shown = [finding for finding in verdict.findings if finding.status != "ok"]
    if shown:
        table = RichTable(title=Text("Rows that differ from the baseline", style="bold"), title_justify="left")
        for name in ("", "row", "metric", "baseline", "now", "tolerance", "what"):
            table.add_column(name, overflow="fold", vertical="top")
        for finding in shown:
            table.add_row(*[Text(text) for text in _texts(finding)])
        console.print(table)
    counts = {s: sum(f.status == s for f in verdict.findings) for s in ("ok", "moved", "counts", "missing", "new")}
    summary = ", ".join(f"{n} {status}" for status, n in counts.items())
    console.print(Text(f"gate {'FAILED' if verdict.failed else 'passed'}: {summary}", style="bold"))


def _texts(finding: Finding) -> list[str]:
    row = finding.row
    condition = " ".join(str(row[name]) for name in IDENTITY[:6] if row[name])
    numbers = ["–" if n is None else f"{n:.6g}" for n in (finding.expected, finding.value, finding.tolerance)]
    return [
        finding.status,
        f"{row['system']}\n{condition}",
        f"{row['metric']}\n{row['protocol']}",
        *numbers,
        finding.detail,
    ]


def to_text(verdict: Verdict, width: int = 100) -> str:
    """What :func:`print_verdict` shows, without colour."""
    buffer = io.StringIO()
    print_verdict(Console(file=buffer, width=width, no_color=True, highlight=False), verdict)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
