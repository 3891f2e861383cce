"""Stores that are damaged, taken, in the wrong place or tampered with, and caches that are: what was stored stays."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from bad_kit import PLUGINS, Bench, leftovers
from bad_media import clip, faces

DURATION = "duration/abs@1"
RUN = ("-s", "ground-truth", "--task", "vts", "--metrics", DURATION)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def foreign(store: Path) -> None:
    (store / "store.sqlite").unlink()
    with closing(sqlite3.connect(store / "store.sqlite")) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")


def newer(store: Path) -> None:
    with closing(sqlite3.connect(store / "store.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")


def folder(store: Path) -> None:
    (store / "store.sqlite").unlink()
    (store / "store.sqlite").mkdir()


#: name: (what is done to the store, exit code, what stderr must hold)
DAMAGES: dict[str, tuple[Callable[[Path], object], int, list[str]]] = {
    "header of the database": (lambda s: overwrite(s / "store.sqlite", 0, b"\0" * 100), 1, ["store.sqlite is damaged"]),
    "pages of the database": (
        lambda s: overwrite(s / "store.sqlite", 4096, os.urandom(60_000)),
        1,
        ["store.sqlite is damaged", "backup"],
    ),
    "truncated database": (lambda s: os.truncate(s / "store.sqlite", 5000), 1, ["store.sqlite is damaged"]),
    "text for a database": (lambda s: (s / "store.sqlite").write_text("hello " * 999), 1, ["store.sqlite is damaged"]),
    "database of another program": (foreign, 2, ["is no store of bench", "--out"]),
    "newer schema": (newer, 2, ["schema version 99", "a newer one"]),
    "folder for a database": (folder, 1, ["store"]),
    "file for a store": (lambda s: (shutil.rmtree(s), s.write_text("notes")), 2, ["is a file", "give a folder"]),
}


@pytest.mark.parametrize("verb", ["run", "leaderboard"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_store_that_cannot_be_used(name: str, verb: str, bench: Bench, good: Path) -> None:
    damage, code, expected = DAMAGES[name]
    damage(bench.store)
    before = contents(bench.store)
    told = bench.run(*RUN, "--data-root", good) if verb == "run" else bench("leaderboard")
    assert told.code == code, told
    assert told.err.startswith("bench: ") and "\n  " in told.err and str(bench.store) in told.err
    assert not [part for part in expected if part not in told.err], told.err
    assert contents(bench.store) == before, "nothing is written over what may still be rescued"


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but the lock, and SQLite's side files."""
    if store.is_file():
        return {"": store.read_bytes()}
    files = [path for path in store.rglob("*") if path.is_file()]
    passing = {"store.lock", "store.sqlite-wal", "store.sqlite-shm"}
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files if path.name not in passing}


def test_a_store_below_a_file(bench: Bench, good: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    told = bench("run", "-q", "-d", "folder", *RUN, "--data-root", good, out=tmp_path / "notes/store")
    assert told.code == 1 and "notes/store" in told.err and "\n  " in told.err


@pytest.mark.parametrize("verb", ["leaderboard", "export rows.csv", "compare a b", "score", "run --dry-run"])
def test_an_absent_store_is_not_made_by_those_who_only_read(
    verb: str, bench: Bench, good: Path, tmp_path: Path
) -> None:
    words = verb.split()
    more = (*RUN, "-d", "folder", "--data-root", good) if words[0] in {"score", "run"} else ()
    told = bench(words[0], *more, *words[1:], out=tmp_path / "absent")
    if words[0] == "run":
        assert told.code == 0 and "to do" in told.out
    else:
        assert told.code == 1 and "no store at" in told.err and "\n  " in told.err, told
    assert not (tmp_path / "absent").exists()


def test_two_runs_at_once_on_one_store(bench: Bench, tree: Path, cache: Path) -> None:
    clip(tree / "zed/bad.mp4", 2, film=None)
    arguments = ["-d", "folder", "--data-root", str(tree), "--task", "vts", "--out", str(bench.store), "-q"]
    busy = ["--plugin", str(PLUGINS / "bad_systems.py"), "-s", "hangs-always", "--workers", "1"]
    old = bench.run_ids()
    before = bench.kept(old)
    first = subprocess.Popen(
        [sys.executable, "-m", "bench", "generate", *arguments, *busy], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: len(bench.run_ids()) == 2)
        told = bench.run(*RUN, "--data-root", tree)
        assert told.code == 2
        assert f"is being written by process {first.pid} on " in told.err and "generate -d folder" in told.err
        assert "wait until it has ended, or give another --out" in told.err
        assert bench("leaderboard").code == 0, "reading goes on"
        assert bench.kept(old) == before
    finally:
        first.send_signal(signal.SIGTERM)
        _, err = first.communicate(timeout=30)
    assert first.returncode == 130 and "the same command goes on" in err and "Traceback" not in err
    assert bench.run(*RUN, "--data-root", tree).code == 0
    assert bench.kept(old) == before and leftovers(bench.store) == []


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


#: name: what is done to the stored sound of bob/two
TAMPERING: dict[str, Callable[[Path], object]] = {
    "gone": lambda p: p.unlink(),
    "empty": lambda p: p.write_bytes(b""),
    "truncated": lambda p: os.truncate(p, 500),
    "another sound": lambda p: overwrite(p, 2000, bytes(500)),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_a_stored_file_that_was_tampered_with_gets_no_new_number(name: str, bench: Bench, good: Path) -> None:
    path = bench.store / str(bench.outputs("ground-truth")["bob/two"].audio)
    TAMPERING[name](path)
    arguments = ("-s", "ground-truth", "--task", "vts", "--data-root", good, "-d", "folder", "--workers", "0")
    assert bench("score", "-q", *arguments, "--metrics", "wer/pocketsphinx-grid@1").code == 0
    found = bench.result(bench.run_id("ground-truth", "vts"), ["wer/pocketsphinx-grid@1", DURATION])
    row = found["bob/two"]["wer/pocketsphinx-grid@1"]
    assert row.kind == "missing_output" and "bench generate --force --clips 'bob/two'" in row.detail
    assert found["bob/two"][DURATION].kind == "ok", "what was scored before stays"
    if path.is_dir():
        path.rmdir()
    assert bench("generate", "-q", *arguments, "--force", "--clips", "bob/two").code == 0
    assert bench("score", "-q", *arguments, "--metrics", "wer/pocketsphinx-grid@1", "--strict").code == 0


#: name: what is done to the folder of caches (indexes and hashes)
CACHES: dict[str, tuple[Callable[[Path], object], int]] = {
    "a file": (lambda c: (shutil.rmtree(c), c.write_text("x")), 1),
    "damaged files": (lambda c: [path.write_bytes(b"\xff\0garbage") for path in c.rglob("*") if path.is_file()], 0),
    "empty files": (lambda c: [path.write_bytes(b"") for path in c.rglob("*") if path.is_file()], 0),
    "folders for files": (
        lambda c: [(path.unlink(), path.mkdir()) for path in list(c.rglob("*")) if path.is_file()],
        1,
    ),
}


@pytest.mark.parametrize("name", CACHES)
def test_damaged_caches_change_no_result(
    name: str, bench: Bench, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    arguments = (*RUN, "--data-root", good)
    before = bench.state()
    assert bench.run(*arguments).code == 0
    assert bench.state() == before, "the same run"
    damage, code = CACHES[name]
    damage(tmp_path / "cache")
    told = bench.run(*arguments)
    assert told.code == code, told.err
    assert code == 0 or ("cannot be written" in told.err and "BENCH_CACHE" in told.err)
    assert bench.state() == before


def test_damaged_features_are_computed_again(bench: Bench, tree: Path) -> None:
    clip(tree / "zed/face.mp4", film=faces(1))
    protocol = "lmd/mouth20-iod@1"
    arguments = ("-s", "ground-truth", "--task", "a2v", "--data-root", tree, "--clips", "zed/*", "--metrics", protocol)
    assert bench.run(*arguments).code == 0
    first = bench.state()
    kept = list((bench.store / "features").rglob("*.safetensors"))
    assert kept
    for path in kept:
        path.write_bytes(b"\xff" * 40)
    assert bench.run(*arguments, "--force").code == 0
    assert bench.state() == first


def test_a_clip_that_changes_is_noticed(bench: Bench, tree: Path) -> None:
    arguments = (*RUN, "--data-root", tree)
    assert bench.run(*arguments).code == 0
    old = bench.run_ids()
    before = bench.kept(old)
    clip(tree / "bob/one.mp4", 3)
    assert bench.run(*arguments).code == 0
    assert len(bench.run_ids()) == len(old) + 1, "other content, another run"
    assert bench.kept(old) == before
