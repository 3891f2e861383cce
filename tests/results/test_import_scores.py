"""Scores of others: what a column means, which lines are refused, and how the rows stand beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from results_lab import TOY, Lab

from bench import cli
from bench.api import BenchError, DataError, UsageError
from bench.errors import ConflictError
from bench.results.compare import compare
from bench.results.import_scores import Done, Import, import_scores
from bench.results.leaderboard import build
from bench.results.render import FORMATS, render
from bench.results.table import Key

WER = ("wer/toy@1:parts.edits", "wer/toy@1:parts.ref_words")


@pytest.fixture
def ours(lab: Lab) -> Lab:
    """Two systems of ours over twelve clips."""
    lab.fill(lab.run("hicodit-of-ours", n=12), 0.6, seed=3)
    lab.fill(lab.run("talker-of-ours", n=12), 0.3, seed=2)
    return lab


def sims(n: int = 12, value: float = 0.99) -> list[tuple[str, str]]:
    return [(f"clip{i:03}", str(value)) for i in range(n)]


def table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
    return path


def bring(lab: Lab, path: Path, *maps: str, system: str = "theirs", force: bool = False, **fields) -> Done:
    given = {"dataset": "demo", "split": "test", "task": "vts", **fields}
    return import_scores(lab.store, Import(path, system, maps=maps, **given), force=force)


def row_of(lab: Lab, label: str):
    [row] = [row for section in build(lab.store).sections for row in section.rows if row.label == label]
    return row


def test_imported_numbers_are_in_the_table_marked_and_not_ranked(ours: Lab, tmp_path: Path) -> None:
    before = {row.label: row.cells for row in build(ours.store).sections[0].rows}
    done = bring(ours, table(tmp_path / "a.csv", ["clip", "S"], sims()), "S=sim/toy@1")
    assert (done.new, done.known, done.notes) == (12, 0, [])
    row = row_of(ours, "theirs")
    cell = row.cells[Key("sim/toy@1", "sim")]
    assert cell.value == pytest.approx(0.99)
    assert (cell.rank, cell.best, cell.tied, cell.complete) == (None, False, False, True)
    assert (row.run.tier, row.marks, row.other_clips) == ("external", "¶", False)
    others = build(ours.store).sections[0].rows
    assert {row.label: row.cells for row in others if row.label != "theirs"} == before
    for kind in FORMATS:
        assert "theirs" in render(build(ours.store), kind)
    assert "imported from somebody's file" in render(build(ours.store), "md")


def test_importing_again_changes_nothing(ours: Lab, tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", ["clip", "S"], sims())
    bring(ours, file, "S=sim/toy@1")
    digest = ours.store.digest()
    again = bring(ours, file, "S=sim/toy@1")
    assert (again.new, again.known) == (0, 12)
    assert ours.store.digest() == digest


def test_other_numbers_under_the_same_name_are_a_conflict_unless_forced(ours: Lab, tmp_path: Path) -> None:
    bring(ours, table(tmp_path / "a.csv", ["clip", "S"], sims()), "S=sim/toy@1")
    changed = table(tmp_path / "b.csv", ["clip", "S"], [("clip000", "0.5"), *sims()[1:]])
    digest = ours.store.digest()
    with pytest.raises(ConflictError, match="1 results differ") as caught:
        bring(ours, changed, "S=sim/toy@1")
    assert (ours.store.digest(), ours.store.conflicts()) == (digest, [])
    assert "a.csv" in row_of(ours, "theirs").run.note
    assert (caught.value.exit_code, "line 2: clip 'clip000'" in str(caught.value)) == (3, True)
    bring(ours, changed, "S=sim/toy@1", force=True)
    assert "b.csv" in row_of(ours, "theirs").run.note
    assert row_of(ours, "theirs").cells[Key("sim/toy@1", "sim")].value == pytest.approx((11 * 0.99 + 0.5) / 12)


def test_units_are_converted(ours: Lab, tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", ["id", "S"], sims(value=72))
    bring(ours, file, "S=sim/toy@1::percent")
    assert row_of(ours, "theirs").cells[Key("sim/toy@1", "sim")].value == pytest.approx(0.72)


def test_a_ratio_needs_its_parts_and_is_pooled(ours: Lab, tmp_path: Path) -> None:
    rows = [(f"clip{i:03}", str(i), str(4 + i)) for i in range(12)]
    file = table(tmp_path / "a.csv", ["clip_id", *WER], rows)
    bring(ours, file)
    row = row_of(ours, "theirs")
    assert row.cells[Key("wer/toy@1", "wer")].value == pytest.approx(sum(range(12)) / sum(range(4, 16)))
    assert Key("wer/toy@1", "macro") not in row.cells
    with pytest.raises(UsageError, match="ratio of sums over clips") as caught:
        bring(ours, table(tmp_path / "b.csv", ["clip_id", "W"], [("clip000", "0.5")]), "W=wer/toy@1")
    assert "parts.edits" in str(caught.value)
    assert "wer/toy@1:macro" in str(caught.value)


def test_failures_and_empty_cells_are_kept_apart(ours: Lab, tmp_path: Path) -> None:
    rows = [("clip000", "no_face"), ("clip001", ""), *sims()[2:10]]
    done = bring(ours, table(tmp_path / "a.csv", ["clip", "S"], rows), "S=sim/toy@1")
    assert done.notes == ["2 of 12 clips are not in the file"]
    cell = row_of(ours, "theirs").cells[Key("sim/toy@1", "sim")]
    assert (cell.n_scored, cell.n_failed, cell.n_pending, dict(cell.failures)) == (8, 1, 3, {"no_face": 1})
    assert "†" in row_of(ours, "theirs").marks


def test_a_comparison_leaves_imported_scores_out_and_says_so(ours: Lab, tmp_path: Path) -> None:
    done = bring(ours, table(tmp_path / "a.csv", ["clip", "S"], sims()), "S=sim/toy@1")
    [other] = ours.store.runs(system="talker-of-ours")
    report = compare(ours.store, done.run, other)
    assert report.comparisons == []
    assert "sim/toy@1: left out: the scores of one run are imported" in report.notes


def test_clips_that_the_store_does_not_know_are_other_clips(lab: Lab, tmp_path: Path) -> None:
    done = bring(lab, table(tmp_path / "a.csv", ["clip", "S"], sims()), "S=sim/toy@1")
    assert "not checked" in done.notes[0]
    assert row_of(lab, "theirs").cells[Key("sim/toy@1", "sim")].n_scored == 12
    lab.fill(lab.run("talker-of-ours", n=12), seed=2)
    assert "§" in row_of(lab, "theirs").marks
    bring(lab, tmp_path / "a.csv", "S=sim/toy@1")
    assert row_of(lab, "theirs").marks == "¶"


def test_several_conditions_must_be_told_apart(ours: Lab, tmp_path: Path) -> None:
    ours.fill(ours.run("talker-of-ours", n=12, reference="same"))
    file = table(tmp_path / "a.csv", ["clip", "S"], sims())
    with pytest.raises(UsageError, match="several conditions"):
        bring(ours, file, "S=sim/toy@1")
    done = import_scores(
        ours.store, Import(file, "theirs", "demo", "test", "vts", ["S=sim/toy@1"], condition={"reference": "same"})
    )
    assert done.run.reference == "same"


FAULTS = {
    "a word": ("clip001,oops", "line 3: 'S': 'oops' is neither a number"),
    "infinite": ("clip001,inf", "line 3: 'S': inf is not finite"),
    "out of range": ("clip001,1.5", r"line 3: 'S': 1.5 is outside the protocol's range \[-1, 1\]"),
    "unknown clip": ("clip0O1,0.5", "line 3: unknown clip 'clip0O1': did you mean"),
    "twice": ("clip000,0.5", "line 3: clip 'clip000' is on line 2 too"),
    "too few cells": ("clip001", "line 3: not as many cells"),
    "too many cells": ("clip001,0.5,0.5", "line 3: not as many cells"),
    "no id": (",0.5", "line 3: no clip id"),
}


@pytest.mark.parametrize(("line", "message"), FAULTS.values(), ids=list(FAULTS))
def test_faulty_lines_are_named_and_nothing_is_imported(ours: Lab, tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"clip,S\nclip000,0.5\n{line}\nclip002,bad\n", encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        bring(ours, file, "S=sim/toy@1")
    assert "2 faulty lines" in str(caught.value)
    assert "line 4: 'S': 'bad'" in str(caught.value)
    assert ours.store.runs(tier="external") == []


PARTS_FAULTS = {
    "no words": ("0,0", "must be above 0"),
    "half": ("1,", "empty, others not"),
    "mixed": ("1,no_face", "beside other cells"),
}


@pytest.mark.parametrize(("cells", "message"), PARTS_FAULTS.values(), ids=list(PARTS_FAULTS))
def test_parts_must_go_together(ours: Lab, tmp_path: Path, cells: str, message: str) -> None:
    file = table(tmp_path / "a.csv", ["clip_id", *WER], [("clip000", *cells.split(","))])
    with pytest.raises(DataError, match=message):
        bring(ours, file)


def test_a_given_ratio_must_be_that_of_its_parts(ours: Lab, tmp_path: Path) -> None:
    header = ["clip_id", *WER, "wer/toy@1:wer"]
    with pytest.raises(DataError, match=r"its parts give 0\.25"):
        bring(ours, table(tmp_path / "a.csv", header, [("clip000", "1", "4", "0.5")]))
    bring(ours, table(tmp_path / "a.csv", header, [("clip000", "1", "4", "0.25")]))


COLUMNS = {
    "no such protocol": (["S=sim/toi@1"], {}, "did you mean 'sim/toy@1'"),
    "a family": (["S=sim"], {}, "which recipe of sim"),
    "no such column": (["T=sim/toy@1"], {}, "the file has no such column"),
    "no such value": (["S=sim/toy@1:sym"], {}, "did you mean 'sim'"),
    "no such part": (["S=wer/toy@1:parts.edit"], {}, "did you mean 'parts.edits'"),
    "no such unit": (["S=offset/toy@1::percent"], {}, "'frames' cannot be given in 'percent'"),
    "a unit of parts": (["S=wer/toy@1:parts.edits:percent"], {}, "parts have no unit"),
    "a set value": (["S=set/toy@1"], {}, "a value of a whole set"),
    "a cost": (["S=cost/toy@1"], {}, "costs are of the machine here"),
    "another task": (["S=sim/toy@1"], {"task": "a2v"}, "does not judge outputs of a2v"),
    "not a mapping": (["S"], {}, "is no COLUMN=PROTOCOL"),
    "mapped twice": (["S=sim/toy@1", "S=offset/toy@1"], {}, "maps one column several times"),
    "one value twice": (["S=sim/toy@1", "clip=sim/toy@1"], {}, "are both sim/toy@1:sim"),
    "nothing mapped": ([], {}, "no column is mapped"),
    "clip column": (["S=sim/toy@1"], {"clip_column": "clop"}, "did you mean 'clip'"),
    "an installed name": (["S=sim/toy@1"], {"system": "hicodit"}, "is installed here"),
}


@pytest.mark.parametrize(("maps", "fields", "message"), COLUMNS.values(), ids=list(COLUMNS))
def test_wrong_columns_are_refused(ours: Lab, tmp_path: Path, maps: list[str], fields: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        bring(ours, table(tmp_path / "a.csv", ["clip", "S"], sims()), *maps, **fields)
    assert message in str(caught.value)
    assert ours.store.runs(tier="external") == []


BROKEN = {
    "absent": None,
    "empty": b"",
    "header alone": b"clip,sim/toy@1\n",
    "not UTF-8": b"clip,sim/toy@1\nclip000,\xff\n",
    "an open quote": b'clip,sim/toy@1\n"clip000,0.5\n',
    "two equal columns": b"clip,sim/toy@1,sim/toy@1\nclip000,0.5,0.5\n",
    "no clip column": b"name,sim/toy@1\nclip000,0.5\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
def test_broken_files_are_refused_in_words(ours: Lab, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BenchError):
        bring(ours, file)
    assert ours.store.runs(tier="external") == []


def test_a_byte_order_mark_and_spaces_do_not_matter(ours: Lab, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbfclip,sim/toy@1\r\nclip000, 0.5 \r\n")
    assert bring(ours, file).new == 1


def test_the_command_line(ours: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = table(tmp_path / "a.csv", ["clip", "S", "X"], [(*row, "1") for row in sims()])
    root = ours.store.root
    ours.store.close()
    base = ["import", str(file), "--system", "theirs", "--out", str(root), "--plugin", str(TOY)]
    assert cli.invoke([*base, "--task", "vts", "--map", "S=sim/toy@1"]) == 0
    printed = capsys.readouterr().out
    assert "12 new results, 0 known ones" in printed
    assert "columns left out: X" in printed
    assert cli.invoke([*base, "--task", "vtx"]) == 2
    assert "did you mean 'vts'" in capsys.readouterr().err
