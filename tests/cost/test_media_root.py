"""Outputs in a media root: by content, each once, shared by stores; the store's names are links."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bench.errors import DataError
from bench.store import Store
from bench.store_records import OutputRecord, RunRecord


def new_run(store: Store, system: str = "x") -> RunRecord:
    run = RunRecord(
        id=f"run-of-{system}", system=system, version="1", tier="control", dataset="d", split="s", task="vts"
    )
    store.add_run(run)
    return run


def add(store: Store, run: RunRecord, clip: str, content: bytes, replace: bool = False) -> Path:
    """One output with that content, by way of the stage as workers do it; its path in the store."""
    made = store.stage_dir() / "made.wav"
    made.write_bytes(content)
    sha = hashlib.sha256(content).hexdigest()
    store.add_output(OutputRecord(run.id, clip, "ok", sha, media_seconds=1.0), {"audio": made}, replace=replace)
    assert not made.exists()
    return store.root / str(store.outputs(run.id)[clip].audio)


def files(root: Path) -> dict[str, bytes]:
    """Finished files of a media root."""
    found = (path for path in root.rglob("*") if path.is_file() and "tmp" not in path.parts[len(root.parts) :])
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def test_equal_contents_are_kept_once_for_all_runs_and_stores(tmp_path: Path) -> None:
    common = tmp_path / "common"
    for name in ("a", "b"):
        with Store.open(tmp_path / name, media_root=common) as store:
            assert store.stage_dir().is_relative_to(common)
            for system in ("x", "y"):
                run = new_run(store, system)
                assert add(store, run, "one", b"same").read_bytes() == b"same"
                assert add(store, run, "two", system.encode()).read_bytes() == system.encode()
        assert not any((common / "tmp").rglob("stage-*"))
    contents = (b"same", b"x", b"y")
    shas = [hashlib.sha256(content).hexdigest() for content in contents]
    assert files(common) == {f"{sha[:2]}/{sha}.wav": content for sha, content in zip(shas, contents, strict=True)}


def test_readers_and_later_writers_need_not_know(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", media_root=tmp_path / "common") as store:
        run = new_run(store)
        first = add(store, run, "one", b"1")
    with Store.open(tmp_path / "store") as store:
        second = add(store, run, "two", b"2")
        assert store.sweep().files == ()
    assert first.is_symlink() and not second.is_symlink()
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert first.parent == second.parent


def test_a_new_result_changes_the_name_not_the_old_file(tmp_path: Path) -> None:
    common = tmp_path / "common"
    with Store.open(tmp_path / "store", media_root=common) as store:
        run = new_run(store)
        old = add(store, run, "one", b"old")
        assert add(store, run, "one", b"new", replace=True) == old
        assert old.read_bytes() == b"new"
        add(store, run, "one", b"other")  # unequal: a conflict, kept beside
        assert old.read_bytes() == b"new"
        assert len(list(old.parent.iterdir())) == 2
        assert store.sweep().files == ()
    assert sorted(files(common).values()) == [b"new", b"old", b"other"]


def test_sweeping_and_removing_take_links_and_leave_common_files(tmp_path: Path) -> None:
    common = tmp_path / "common"
    with Store.open(tmp_path / "store", media_root=common) as store:
        run = new_run(store)
        name = add(store, run, "one", b"1")
        lost = name.with_name("lost.wav")
        lost.symlink_to(name.resolve())
        assert store.sweep().files == (lost.relative_to(store.root).as_posix(),)
        assert not lost.is_symlink() and name.read_bytes() == b"1"
        store.remove_run(run.id)
        assert not name.is_symlink()
    assert list(files(common).values()) == [b"1"]


def test_what_a_killed_run_left_in_the_root_is_removed_by_its_own_store_alone(tmp_path: Path) -> None:
    common = tmp_path / "common"
    left = {}
    for name in ("a", "b"):
        store = Store.open(tmp_path / name, media_root=common)
        left[name] = store.stage_dir() / "part.wav"
        left[name].write_bytes(b"unfinished")
        assert store._lock is not None
        store._lock.release()  # as if the process were gone
    with Store.open(tmp_path / "a", media_root=common):
        assert not left["a"].exists()
        assert left["b"].exists()


def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "common").write_text("a file")
    with pytest.raises(DataError, match="common"):
        Store.open(tmp_path / "store", media_root=tmp_path / "common")
    Store.open(tmp_path / "store").close()  # the lock was given up
