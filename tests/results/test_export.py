"""Per-clip rows as CSV and Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from results_lab import Lab

from bench.api import UsageError
from bench.results import export


@pytest.fixture
def mixed(lab: Lab) -> Lab:
    lab.fill(lab.run("talker", n=6), 0.3, failing={1: "no_face"}, missing=[2], pending=[3])
    return lab


def rows(lab: Lab, **options) -> list[dict]:
    return list(export.records(lab.store, lab.store.runs(), **options))


def test_every_requested_clip_has_its_rows(mixed: Lab) -> None:
    found = rows(mixed)
    assert all(tuple(row) == tuple(export.COLUMNS) for row in found)
    for protocol in ("wer/toy@1", "sim/toy@1", "set/toy@1", "cost/toy@1"):
        of = [row for row in found if row["protocol"] == protocol]
        assert {row["clip_id"] for row in of} == {f"clip{i:03}" for i in range(6)}, protocol
        state = {row["clip_id"]: (row["status"], row["failure"]) for row in of}
        assert state["clip000"] == ("ok", "")
        assert state["clip001"] == ("failed", "no_face")
        assert state["clip002"] == ("failed", "missing_output")
        assert state["clip003"] == ("pending", "")


def test_values_parts_and_details_are_there(mixed: Lab) -> None:
    found = {(r["clip_id"], r["protocol"], r["value_name"]): r for r in rows(mixed)}
    run = mixed.store.runs()[0]
    column = mixed.store.scores(run.id, "wer/toy@1")
    row = found["clip000", "wer/toy@1", "wer"]
    assert row["value"] == column.values["wer"][0]
    assert row["unit"] == "fraction"
    assert found["clip000", "wer/toy@1", "parts.edits"]["value"] == column.parts["edits"][0]
    assert (row["speaker"], row["duration_s"], row["generate_seconds"], row["score_seconds"]) == ("s0", 3.0, 1.5, 0.25)
    assert (row["device"], row["attempts"]) == ("cpu", 1)
    assert found["clip001", "sim/toy@1", "sim"]["detail"] == "invented"
    assert found["clip002", "sim/toy@1", "sim"]["detail"] == "model_error: boom"
    assert found["clip001", "sim/toy@1", "sim"]["value"] is None


def test_metrics_choose_rows(mixed: Lab) -> None:
    assert {row["protocol"] for row in rows(mixed, metrics="sim")} == {"sim/toy@1"}


def test_csv_and_parquet_hold_the_same_rows(mixed: Lab, tmp_path: Path) -> None:
    expected = rows(mixed)
    assert export.write(iter(expected), tmp_path / "a.csv") == len(expected)
    assert export.write(iter(expected), tmp_path / "a.parquet") == len(expected)
    with (tmp_path / "a.csv").open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == list(export.COLUMNS)
    assert table.to_pylist() == expected
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in expected] == from_csv


def test_formulas_in_csv_are_neutralised(lab: Lab, tmp_path: Path) -> None:
    lab.fill(lab.run("=1+1", n=1))
    export.write(export.records(lab.store, lab.store.runs()), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        assert {row["system"] for row in csv.DictReader(file)} == {"'=1+1"}


def test_large_exports_are_written_in_blocks(mixed: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 7)
    expected = rows(mixed)
    export.write(iter(expected), tmp_path / "a.parquet")
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == -(-len(expected) // 7)
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == expected


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path) -> None:
    def broken():
        yield dict.fromkeys(export.COLUMNS)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        export.write(broken(), tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_bad_targets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format 'xlsx' is unknown"):
        export.write(iter(()), tmp_path / "a.xlsx")
    with pytest.raises(UsageError, match="No such file"):
        export.write(iter(()), tmp_path / "none" / "a.csv")
