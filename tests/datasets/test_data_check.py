"""``bench data check``: no false alarm on clean trees, exactly the right codes on spoilt ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import trees

from bench.api import CheckReport, Issue, UsageError
from bench.datasets.check import exit_status
from bench.datasets.check_render import render_json, render_text
from bench.datasets.cinepile import CinePile
from bench.datasets.layout import TreeDataset
from bench.datasets.lrs2 import Lrs2
from bench.datasets.lrs3 import Lrs3

KINDS: dict[str, type[TreeDataset]] = {"lrs3": Lrs3, "lrs2": Lrs2, "cinepile": CinePile}
TARGET = "test/under_score/00001"
HEADER_CODES = {"empty", "undecodable", "no-audio", "fps", "size", "sample-rate", "missing-video", "missing-text"}
TEXT_CODES = {"text-head", "text-charset", "text-case", "words-mismatch"}


def codes(report: CheckReport) -> set[str]:
    return {issue.code for issue in report.issues}


def fresh(tree: tuple[Path, dict[str, trees.Placed]], tmp_path: Path) -> Path:
    return trees.copy_tree(tree[0], tmp_path / "data")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fast", [False, True])
def test_clean_trees_are_usable(kind: str, fast: bool, request: pytest.FixtureRequest, cache: Path) -> None:
    root, placed = request.getfixturevalue(kind)
    report = KINDS[kind](root, cache).check(None, fast=fast)
    assert report.issues == ()
    assert "verdict: usable (0 errors, 0 warnings)" in render_text(report)
    assert sum(sums["ok"] or 0 for sums in report.splits.values()) == len(placed) + (3 if kind == "cinepile" else 0)
    assert (report.content_sha256 is None) == fast
    assert exit_status(report, strict=True) == 0


@pytest.mark.parametrize("defect", trees.DEFECTS)
def test_each_defect_gives_exactly_its_codes(defect: str, lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = fresh(lrs3, tmp_path)
    expected = trees.DEFECTS[defect][1]
    trees.spoil(root, lrs3[1][TARGET], defect)
    report = Lrs3(root, cache).check("test")
    assert codes(report) == expected
    assert {issue.where for issue in report.issues} == {TARGET}
    assert all(issue.detail for issue in report.issues)
    worst = "bad" if report.count("error") else "warn" if report.count("warn") else "ok"
    assert report.splits["test"][worst] == (6 if worst == "ok" else 1)
    fast = Lrs3(root, cache).check("test", fast=True)
    assert codes(fast) >= expected & (HEADER_CODES | TEXT_CODES)
    assert codes(fast) <= expected | {"undecodable"}


def test_the_tree_is_never_changed(lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = fresh(lrs3, tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")}
    Lrs3(root, cache).check(None)
    Lrs3(root, cache).check(None, fast=True)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")} == before


def test_gap_between_sound_and_video_is_warning_then_error(lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for defect, severity in (("sound 4 frames short", "warn"), ("sound 8 frames short", "error")):
        root = trees.copy_tree(lrs3[0], tmp_path / severity)
        trees.spoil(root, lrs3[1][TARGET], defect)
        report = Lrs3(root, cache).check("test")
        assert [issue.severity for issue in report.issues] == [severity]


def test_duplicate_file(lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = fresh(lrs3, tmp_path)
    for suffix in (".mp4", ".txt"):
        shutil.copy(root / f"test/under_score/00001{suffix}", root / f"test/under_score/00002{suffix}")
    report = Lrs3(root, cache).check(None)
    assert report.issues == (
        Issue("duplicate", "warn", "test/under_score/00002", "same file as test/under_score/00001"),
    )


def test_names_that_are_no_clips(lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = fresh(lrs3, tmp_path)
    for name in (
        "test/tooshort/00001.mp4",
        "test/under_score/1.mp4",
        "test/under_score/00001 (copy).mp4",
        "test/u\nder_score/00001.mp4",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / "test/under_score/00001.mp4", root / name)
    (root / "test/under_score/.hidden.mp4").write_bytes(b"")
    (root / "test/under_score/notes.pdf").write_bytes(b"")
    report = Lrs3(root, cache).check("test")
    assert codes(report) == {"name"} and report.count("error") == 4
    assert "u\nder" not in render_text(report)
    assert len(Lrs3(root, cache).clips("test")) == 6


def test_counts_of_the_official_release_without_an_expected_file(lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = fresh(lrs3, tmp_path)
    (root / "expected.json").unlink()
    report = Lrs3(root, cache).check("test")
    assert [(issue.code, issue.severity) for issue in report.issues] == [("count", "warn")]
    assert "expected 1321 clips, found 6" in report.issues[0].detail
    assert (exit_status(report), exit_status(report, strict=True)) == (0, 1)
    (root / "expected.json").write_text("[1")
    assert codes(Lrs3(root, cache).check("test")) == {"count"}


def test_lrs2_lists(lrs2, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = fresh(lrs2, tmp_path)
    with (root / "test.txt").open("a") as file:
        file.write("6187701173201682297/00099 NF\n")
    report = Lrs2(root, cache).check(None)
    assert codes(report) == {"missing-video", "missing-text"}
    assert {issue.where for issue in report.issues} == {"main/6187701173201682297/00099"}

    (root / "test.txt").write_text("6187701173201682297/00001 NF\nnot a clip\n../../etc/00001\n")
    report = Lrs2(root, cache).check(None)
    assert codes(report) == {"name", "orphan", "count"}
    assert {issue.where for issue in report.issues if issue.code == "orphan"} == {
        "main/6187701173201682297/00002", "main/6187701173201682297/00003",
    }  # fmt: skip

    (root / "val.txt").unlink()
    report = Lrs2(root, cache).check(None)
    assert "list-missing" in codes(report) and "orphan" not in codes(report)
    (missing,) = [issue for issue in report.issues if issue.code == "list-missing"]
    assert "val.txt" in missing.detail and "mvlrs_v1/val.txt" in missing.detail


def test_a_wrong_layout_is_a_finding_and_a_missing_root_wrong_use(cache: Path, tmp_path: Path) -> None:
    for dataset in KINDS.values():
        report = dataset(tmp_path, cache).check(None)
        assert [(issue.code, issue.severity) for issue in report.issues] == [("root-layout", "error")]
        assert exit_status(report) == 1
        assert str(tmp_path) not in render_text(report) + render_json(report)
        with pytest.raises(UsageError, match="does not exist"):
            dataset(tmp_path / "absent", cache).check(None)
        with pytest.raises(UsageError) as caught:
            dataset(None, cache).check(None)
        assert "BENCH_DATA" in caught.value.hint and "--data-root" in caught.value.hint


def test_pattern_and_unknown_split(lrs3, cache: Path) -> None:  # type: ignore[no-untyped-def]
    report = Lrs3(lrs3[0], cache).check("test", "test/under_score/*")
    assert report.splits["test"]["checked"] == 2 and report.splits["test"]["found"] == 6
    assert report.content_sha256 is None and report.issues == ()
    with pytest.raises(UsageError, match="matches none"):
        Lrs3(lrs3[0], cache).check("test", "test/nobody/*")
    with pytest.raises(UsageError) as caught:
        Lrs3(lrs3[0], cache).check("tset")
    assert "'test'" in caught.value.hint


def test_report_as_json(lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = fresh(lrs3, tmp_path)
    trees.spoil(root, lrs3[1][TARGET], "no sound")
    report = Lrs3(root, cache).check(None)
    value = json.loads(render_json(report))
    assert value["schema"] == "bench-datacheck-1"
    assert value["codes"] == {"no-audio": 1} and value["errors"] == 1 and value["warnings"] == 0
    assert value["issues"][0]["where"] == TARGET
    assert value["splits"]["test"]["bad"] == 1
    text = render_text(report)
    assert f"  no-audio (error): {TARGET}" in text
    assert "verdict: not usable as it is (1 error, 0 warnings)" in text


def test_content_of_one_split_is_that_of_its_index(lrs3, cache: Path) -> None:  # type: ignore[no-untyped-def]
    dataset = Lrs3(lrs3[0], cache)
    assert dataset.check("test").content_sha256 == dataset.content_sha256("test")


def test_works_without_a_writable_cache(lrs3, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "cache").write_text("a file in the way")
    assert Lrs3(lrs3[0], tmp_path / "cache").check("test").issues == ()


def test_root_alias_names_no_machine_path(lrs3, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("BENCH_DATA", str(lrs3[0].parent))
    assert Lrs3(lrs3[0].parent, cache).check("test", fast=True).root == "$BENCH_DATA/lrs3"
    monkeypatch.delenv("BENCH_DATA")
    assert Lrs3(lrs3[0], cache).check("test", fast=True).root == ".../lrs3"
