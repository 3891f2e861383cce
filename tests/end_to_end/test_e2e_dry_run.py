"""The cost model through the command line: guesses, then measured rates, other sets of clips, the kind of disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from e2e_kit import digest, export, table

from bench import cli, generate, network_fs
from bench.contracts import Engine
from bench.records import Job, Outcome, Unit
from bench.store import Store

METRICS = "psnr/rgb@1,duration,cost"


def words(talks: Path, out: Path, *more: object) -> list[str]:
    common = ["--system", "ground-truth,still-face", "--dataset", "folder", "--data-root", talks, "--task", "a2v",
              "--metrics", METRICS, "--workers", 0, "--batch-size", 2, "--out", out]  # fmt: skip
    return ["run", *map(str, [*common, *more])]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.invoke(list(arguments)) == 0
    return capsys.readouterr().out


def line(text: str, start: str, *parts: str) -> str:
    """The one line that begins so and has all parts."""
    (found,) = [one for one in text.splitlines() if one.startswith(start) and all(part in one for part in parts)]
    return found


def test_nothing_measured_is_said_to_be_guessed(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = shown(capsys, *words(talks, tmp_path / "store", "--dry-run"))
    assert line(plan, "generate (still-face, a2v)").endswith("guess")
    assert line(plan, "psnr/rgb@1 (still-face)").endswith("guess")
    assert "workers 85% busy (guess)" in plan
    assert "guesses (good to a factor of 3): generate (ground-truth, a2v)" in plan
    assert line(plan, "this plan", "100%")
    assert not (tmp_path / "store").exists()


def test_what_was_run_measures_what_is_left_and_what_others_take(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert cli.invoke(words(talks, store, "--limit", 6)) == 0
    plan = shown(capsys, *words(talks, store, "--dry-run"))
    assert line(plan, "generate (still-face, a2v)").endswith("measured on 6")
    assert line(plan, "psnr/rgb@1 (still-face)").endswith("measured on 12")
    assert "(measured on 12 units)" in line(plan, "generate: ")
    assert "(measured on 12 units)" in line(plan, "score: ")
    for scene, count in (("this plan", "8"), ("LRS3 test, 2.4 s each", "1,321"), ("CinePile, 4 s each", "160"),
                         ("1,000,000 clips, 5 s each", "1,000,000")):  # fmt: skip
        times, sizes = (one for one in plan.splitlines() if one.startswith(scene))
        assert times.removeprefix(scene).split()[0] == sizes.removeprefix(scene).split()[0] == count
        assert re.search(r"\b0%", times), times  # nothing is guessed any more
    assert re.search(r"\d h|\d d", line(plan, "1,000,000 clips", "%"))
    assert "GiB" in line(plan, "1,000,000 clips", "iB")


def test_all_done_leaves_nothing_of_the_plan(talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    assert cli.invoke(words(talks, store, "--limit", 2)) == 0
    plan = shown(capsys, *words(talks, store, "--limit", 2, "--dry-run"))
    left = [one.split() for one in plan.splitlines() if one.startswith("this plan")]
    assert left[0][2] == "0" and "0 s" in " ".join(left[0]) and " ".join(left[1]).count("0 B") == 4
    again = shown(capsys, *words(talks, store, "--limit", 2, "--force", "--dry-run"))
    assert next(one.split() for one in again.splitlines() if one.startswith("this plan"))[2] == "4"


def test_a_store_on_a_server_is_warned_about_before_and_at_the_run(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/disk / ext4 rw 0 0\nserver:/x {tmp_path / 'far'} nfs4 rw 0 0\n")
    monkeypatch.setattr(network_fs, "MOUNTS", mounts)
    (tmp_path / "far").mkdir()
    assert "nfs4" in shown(capsys, *words(talks, tmp_path / "far" / "store", "--dry-run"))
    assert "nfs4" not in shown(capsys, *words(talks, tmp_path / "near", "--dry-run"))
    assert not caplog.records
    assert cli.invoke(words(talks, tmp_path / "far" / "store", "--limit", 1)) == 0
    assert "is on a network file system (nfs4" in caplog.text


def test_a_media_root_changes_no_number(talks: Path, tmp_path: Path) -> None:
    common = tmp_path / "common"
    for out, more in (("plain", ()), ("apart", ("--media-root", common))):
        assert cli.invoke(words(talks, tmp_path / out, "--limit", 4, *more)) == 0
    plain, apart = tmp_path / "plain", tmp_path / "apart"
    assert digest(plain) == digest(apart)
    assert table(plain, None) == table(apart, None)
    assert export(plain, None) == export(apart, None)
    names = [path for path in (apart / "media").rglob("*") if not path.is_dir()]
    assert len(names) == 8 and all(name.is_symlink() and name.resolve().is_relative_to(common) for name in names)
    with Store.open(apart) as store:
        assert store.sweep(dry_run=True).files == ()
    assert cli.invoke(words(talks, apart, "--limit", 4, "--metrics", "psnr/gray@1")) == 0  # without the option


def test_workers_of_other_machines_are_told_of_the_media_root_alone(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may not see the store: of outputs and features they get paths that are not in it."""
    told: list[object] = []

    def schedule(engine: Engine, job: Job, units: Sequence[Unit], **settings: Any) -> Iterator[Outcome]:
        told.extend([job.setup, *(unit.payload for unit in units)])
        return original(engine, job, units, **settings)

    original = generate.schedule
    monkeypatch.setattr(generate, "schedule", schedule)
    store, common = tmp_path / "store", tmp_path / "common"
    assert cli.invoke(words(talks, store, "--limit", 2, "--media-root", common)) == 0
    assert len(told) == 2 * (1 + 4)  # two stages, each with its setup and a payload a clip
    assert str(common) in repr(told) and str(store) not in repr(told)
