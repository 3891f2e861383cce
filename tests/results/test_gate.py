"""The gate: passes, and fails for every reason that it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from results_lab import Lab

from bench.api import DataError, UsageError
from bench.results import gate, leaderboard, tidy
from bench.results.table import Table


@pytest.fixture
def table(filled: Lab) -> Table:
    return leaderboard.build(filled.store)


def baseline(table: Table, tmp_path: Path) -> list[dict]:
    path = tmp_path / "baseline.json"
    path.write_text(gate.baseline_json(table))
    return gate.read_baseline(path)


def find(verdict: gate.Verdict, status: str) -> list[gate.Finding]:
    return [finding for finding in verdict.findings if finding.status == status]


def test_a_table_passes_its_own_baseline(table: Table, tmp_path: Path) -> None:
    verdict = gate.gate(table, baseline(table, tmp_path))
    assert not verdict.failed
    assert verdict.exit_code == 0
    assert {finding.status for finding in verdict.findings} == {"ok"}
    assert "gate passed" in gate.to_text(verdict)


def test_a_baseline_is_the_leaderboards_json_plus_tolerance(table: Table, tmp_path: Path) -> None:
    rows = baseline(table, tmp_path)
    assert all(set(row) == {*tidy.COLUMNS, "tolerance"} for row in rows)
    expected = [row for row in tidy.tidy_rows(table) if not row["protocol"].startswith("cost/")]
    assert [{k: v for k, v in row.items() if k != "tolerance"} for row in rows] == expected


def test_costs_are_not_gated(table: Table, tmp_path: Path) -> None:
    rows = baseline(table, tmp_path)
    assert not any(row["protocol"].startswith("cost/") for row in rows)
    assert not any("cost" in finding.row["protocol"] for finding in gate.gate(table, rows).findings)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_moved_value_fails_in_either_direction(table: Table, tmp_path: Path, sign: int) -> None:
    rows = baseline(table, tmp_path)
    rows[3]["value"] += sign * 1.5 * rows[3]["tolerance"]
    verdict = gate.gate(table, rows)
    assert verdict.exit_code == 1
    (moved,) = find(verdict, "moved")
    assert moved.row["protocol"] == rows[3]["protocol"]
    text = gate.to_text(verdict)
    assert "gate FAILED" in text
    assert rows[3]["system"] in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_value_within_tolerance_passes(table: Table, tmp_path: Path) -> None:
    rows = baseline(table, tmp_path)
    rows[3]["value"] += 0.5 * rows[3]["tolerance"]
    assert not gate.gate(table, rows).failed


def test_a_missing_row_fails(table: Table, tmp_path: Path) -> None:
    rows = baseline(table, tmp_path)
    verdict = gate.gate(table, [*rows, {**rows[0], "system": "gone"}])
    (missing,) = find(verdict, "missing")
    assert missing.row["system"] == "gone"
    assert verdict.failed


def test_a_new_row_is_reported_and_passes(table: Table, tmp_path: Path) -> None:
    rows = baseline(table, tmp_path)
    verdict = gate.gate(table, rows[1:])
    assert [finding.row["system"] for finding in find(verdict, "new")] == [rows[0]["system"]]
    assert not verdict.failed


@pytest.mark.parametrize(("key", "by"), [("n_scored", 1), ("n_failed", -1)])
def test_worse_counts_fail(table: Table, tmp_path: Path, key: str, by: int) -> None:
    rows = baseline(table, tmp_path)
    rows[0][key] += by
    verdict = gate.gate(table, rows)
    (counts,) = find(verdict, "counts")
    assert key in counts.detail
    assert verdict.failed


def test_a_lost_value_fails(table: Table, lab: Lab, tmp_path: Path) -> None:
    lab.fill(lab.run("silent"), missing=range(20))
    rows = baseline(leaderboard.build(lab.store), tmp_path)
    row = next(row for row in rows if row["system"] == "silent")
    assert row["value"] is None
    row["value"] = 0.5
    verdict = gate.gate(leaderboard.build(lab.store), rows)
    assert find(verdict, "moved")[0].detail == "has no value"


@pytest.mark.parametrize(
    ("protocol", "value", "tolerance"),
    [
        ("wer/x@1", 0.1, 0.02),
        ("psnr/rgb@1", 30.0, 0.1),
        ("fid/x@1", 12.0, 0.12),
        ("new/x@1", None, 1e-6),
        ("seeded/fid-x@0", 12.0, 0.0012),
        ("seeded-tracks/lse-x@0", 5.0, 5e-4),
        ("seeded/wer-x@0", 0.0, 1e-6),
    ],
)
def test_default_tolerances(protocol: str, value: float | None, tolerance: float) -> None:
    assert gate.default_tolerance(protocol, value) == pytest.approx(tolerance)


def test_tolerances_can_be_given(table: Table) -> None:
    rows = json.loads(gate.baseline_json(table, {"wer/toy@1": 0.5}))
    assert {row["tolerance"] for row in rows if row["protocol"] == "wer/toy@1"} == {0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"), ("{}", "not a list of rows"), ("[]", "not a list of rows"), ("[1]", "row 1: not an object"),
        ('[{"value": 1}]', "row 1: without dataset"),
    ],
)  # fmt: skip
def test_a_broken_baseline_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        gate.read_baseline(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"tolerance": -1}, "tolerance -1"), ({"tolerance": True}, "tolerance True"), ({"value": "x"}, "value 'x'"),
     ({"extra": 1}, "unknown keys extra")],
)  # fmt: skip
def test_a_broken_row_is_named(table: Table, tmp_path: Path, change: dict, message: str) -> None:
    rows = json.loads(gate.baseline_json(table))
    rows[2] |= change
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=f"row 3: {message}"):
        gate.read_baseline(path)


def test_an_absent_baseline_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        gate.read_baseline(tmp_path / "none.json")
