"""What the store does when the disk is full, the folder read-only, the file damaged, another writer there."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import DataError, UsageError
from bench.store import Store
from bench.store_lock import LOCK
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord
from bench.store_schema import APPLICATION_ID, DATABASE, STEPS, VERSION, explain

RUN = RunRecord("d" * 64, "s", "1", "control", "demo", "test", "tts")


def score(i: int, size: int = 0) -> ScoreRecord:
    return ScoreRecord(f"o{i}", f"r{i}", "p@1", "", "ok", {"v": float(i)}, arrays=b"x" * size if size else None)


def add_clip(store: Store, i: int, size: int = 1000) -> None:
    store.add_run_clips(RUN.id, [RunClip(f"clip {i}", None, f"r{i}", 1.0)])
    path = store.stage_dir() / f"{i}.wav"
    path.write_bytes(bytes([i % 256]) * size)
    store.add_output(OutputRecord(RUN.id, f"clip {i}", "ok", sha256=f"o{i}"), {"audio": path})
    store.add_scores([score(i)])


def make_store(root: Path, n: int = 3) -> str:
    with Store.open(root) as store:
        store.add_run(RUN)
        for i in range(n):
            add_clip(store, i)
        return store.digest()


def integrity(root: Path) -> str:
    connection = sqlite3.connect(root / DATABASE)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


# one writer


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    with Store.open(tmp_path):
        with pytest.raises(UsageError) as caught:
            Store.open(tmp_path)
        assert f"being written by process {os.getpid()} on " in caught.value.message and "--out" in caught.value.hint
        Store.open(tmp_path, write=False).close()  # readers need no lock
    Store.open(tmp_path).close()


def test_the_lock_of_a_dead_process_is_no_obstacle(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from bench.store import Store; s = Store.open(Path(sys.argv[1]))"
    )
    code += "; print('open', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    with pytest.raises(UsageError, match=f"process {holder.pid} on .* since 20"):
        Store.open(tmp_path)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == holder.pid  # it is still written there
    Store.open(tmp_path).close()


def test_a_lock_file_with_nonsense_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("{nonsense")
    with Store.open(tmp_path):
        (tmp_path / LOCK).write_text("{nonsense")
        with pytest.raises(UsageError, match="by another process"):
            Store.open(tmp_path)


def test_a_reader_sees_what_is_committed_while_the_writer_works(tmp_path: Path) -> None:
    with Store.open(tmp_path) as writer:
        writer.add_run(RUN)
        with Store.open(tmp_path, write=False) as reader:
            assert reader.outputs(RUN.id) == {}
            add_clip(writer, 0)
            assert list(reader.outputs(RUN.id)) == ["clip 0"]
            assert reader.digest() == writer.digest()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    make_store(tmp_path)
    with Store.open(tmp_path, write=False) as reader:
        for change in (
            lambda: reader.add_run(RUN),
            lambda: reader.add_scores([score(1)]),
            lambda: reader.remove_run(RUN.id),
            reader.stage_dir,
            reader.sweep,
        ):
            with pytest.raises(UsageError, match="for reading only"):
                change()


def test_failing_to_open_gives_the_lock_back(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"this is no database at all" * 100)
    for _ in range(2):
        with pytest.raises(DataError, match="damaged"):
            Store.open(tmp_path)


# places


def test_places_where_no_store_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no store at"):
        Store.open(tmp_path / "absent", write=False)
    assert not (tmp_path / "absent").exists()
    file = tmp_path / "file"
    file.write_text("x")
    for write in (True, False):
        with pytest.raises(UsageError, match="is a file"):
            Store.open(file, write=write)
    with pytest.raises(DataError):
        Store.open(file / "below")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("CREATE TABLE photos (id)")
    connection.commit()
    connection.close()
    before = (tmp_path / DATABASE).read_bytes()
    for write in (True, False):
        with pytest.raises(UsageError, match="is no store of bench"):
            Store.open(tmp_path, write=write)
    assert (tmp_path / DATABASE).read_bytes() == before


def test_a_read_only_folder_is_read_and_not_written(tmp_path: Path, read_only: Callable[[Path], Path]) -> None:
    digest = make_store(tmp_path / "store")
    view = read_only(tmp_path / "store")
    with Store.open(view, write=False) as store:
        assert store.digest() == digest and len(store.outputs(RUN.id)) == 3
    with pytest.raises(DataError, match="cannot be written") as caught:
        Store.open(view)
    assert "--out" in caught.value.hint


def test_a_read_only_folder_of_a_killed_writer(tmp_path: Path, read_only: Callable[[Path], Path]) -> None:
    """What it had committed is still in SQLite's log, which cannot be folded in there: it is read all the same."""
    code = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store_safety import RUN, Store, add_clip
store = Store.open(Path(sys.argv[1]))
store.add_run(RUN)
add_clip(store, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = tmp_path / "store"
    subprocess.run([sys.executable, "-c", code, str(root), str(Path(__file__).parent)], check=False)
    assert (root / f"{DATABASE}-wal").stat().st_size > 0
    with Store.open(read_only(root), write=False) as store:
        assert list(store.outputs(RUN.id)) == ["clip 0"]


def test_a_folder_that_turns_read_only_under_the_writer(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("16m")
    store = Store.open(disk / "store")
    store.add_run(RUN)
    add_clip(store, 0)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False, capture_output=True)
    turned = not os.access(disk, os.W_OK)
    if not turned:  # files that are open for writing keep it writable: shut the rest out by its quota instead
        subprocess.run(["mount", "-o", f"remount,size={_used(disk)}", str(disk)], check=True)
    with pytest.raises((DataError, OSError)):
        for i in range(1, 200):
            add_clip(store, i, 100_000)
    subprocess.run(["mount", "-o", "remount,rw,size=16m", str(disk)], check=True)
    store.close()
    with Store.open(disk / "store") as again:
        assert "clip 0" in again.outputs(RUN.id)
    assert integrity(disk / "store") == "ok"


def _used(disk: Path) -> int:
    stat = os.statvfs(disk)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


# full disks


def test_a_disk_filled_by_media(small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    """The file does not fit: a clear error, no row, no half file; with space the same clip goes in."""
    disk = small_disk("6m")
    source = tmp_path / "big.wav"
    source.write_bytes(b"y" * 20_000_000)
    with Store.open(disk / "store") as store:
        store.add_run(RUN)
        add_clip(store, 0)
        digest = store.digest()
        record = OutputRecord(RUN.id, "clip 1", "ok", sha256="o1")
        with pytest.raises(DataError, match="no space left") as caught:
            store.add_output(record, {"audio": source})
        assert "What was stored before stays" in caught.value.hint
        assert store.digest() == digest and source.exists()
        assert store.sweep(dry_run=True).files == ()
        source.write_bytes(b"y" * 1000)
        assert store.add_output(record, {"audio": source}) == "new"
    assert integrity(disk / "store") == "ok"


def test_a_disk_filled_by_rows(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("4m")
    stored = 0
    with Store.open(disk / "store") as store:
        store.add_run(RUN)
        add_clip(store, 0)
        with pytest.raises(DataError, match="no space left"):
            for stored in range(1, 1000):
                store.add_scores([score(stored, 50_000)])
        keys = [score(i).key for i in range(stored + 1)]
        assert len(store.have_scores(keys)) == stored  # all but the last, which is not half there
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert store.add_scores([score(stored, 50_000)]) == ["new"]  # the same open store goes on
        assert len(store.have_scores(keys)) == stored + 1
    assert integrity(disk / "store") == "ok"
    with Store.open(disk / "store") as again:
        assert len(again.have_scores(keys)) == stored + 1


def test_a_disk_that_is_full_from_the_start(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("64k")
    with pytest.raises(DataError, match="no space left"):
        Store.open(disk / "store")


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    """A quota of the system: the write that goes beyond it fails; runs in a process of its own."""
    make_store(tmp_path)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    code = """
import sys
from pathlib import Path
from bench.errors import DataError
from bench.store import Store
from bench.store_records import ScoreRecord
with Store.open(Path(sys.argv[1])) as store:
    try:
        for i in range(100):
            store.add_scores([ScoreRecord(f"o{i}", "r", "q@1", "", "ok", {"v": 1.0}, arrays=b"x" * 50000)])
    except DataError as error:
        print(i, error.exit_code, error.message)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    stored, exit_code, message = result.stdout.split(" ", 2)
    assert int(stored) > 0 and exit_code == "1" and str(tmp_path) in message
    assert integrity(tmp_path) == "ok"
    with Store.open(tmp_path) as store:
        keys = [ScoreRecord(f"o{i}", "r", "q@1", "", "ok").key for i in range(100)]
        assert len(store.have_scores(keys)) == int(stored)


# damage


def test_damaged_bytes_are_named_and_nothing_is_overwritten(tmp_path: Path) -> None:
    make_store(tmp_path, 30)
    path = tmp_path / DATABASE
    content = bytearray(path.read_bytes())
    content[4096 : len(content)] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)
    for write in (True, False):
        with pytest.raises(DataError, match="damaged") as caught, Store.open(tmp_path, write=write) as store:
            store.digest()
        assert "media and other files are untouched" in caught.value.hint
    assert path.read_bytes() == bytes(content)
    assert len(list((tmp_path / "media").rglob("*.wav"))) == 30


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_truncated_or_blank_database(tmp_path: Path, content: bytes) -> None:
    make_store(tmp_path)
    (tmp_path / DATABASE).write_bytes(content)
    if content:
        with pytest.raises(DataError, match="damaged"):
            Store.open(tmp_path)
    else:  # an empty file is a new database: made anew, the media are orphans that a sweep reports
        with Store.open(tmp_path) as store:
            assert store.runs() == [] and len(store.sweep(dry_run=True).files) == 3


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "no space left"),
        (OSError(122, "Disk quota exceeded"), "no space left"),
        (OSError(30, "Read-only file system"), "cannot be written"),
        (OSError(116, "Stale file handle"), "file system reports an error"),
        (OSError(5, "Input/output error"), "file system reports an error"),
        (sqlite3.OperationalError("database or disk is full"), "no space left"),
        (sqlite3.OperationalError("disk I/O error"), "file system reports an error"),
        (sqlite3.OperationalError("database is locked"), "held by another program"),
        (sqlite3.DatabaseError("database disk image is malformed"), "damaged"),
        (sqlite3.OperationalError("something new"), "something new"),
    ],
)
def test_every_error_names_the_store_and_says_what_to_do(error: sqlite3.Error | OSError, text: str) -> None:
    told = explain(error, Path("/some/store"))
    assert text in told.message and "/some/store" in told.message and told.hint and told.exit_code == 1


# versions


def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    make_store(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.commit()
    connection.close()
    before = (tmp_path / DATABASE).read_bytes()
    for write in (True, False):
        with pytest.raises(UsageError, match=f"schema version {VERSION + 1}; this bench knows .* {VERSION}") as caught:
            Store.open(tmp_path, write=write)
        assert "newer" in caught.value.hint
    assert (tmp_path / DATABASE).read_bytes() == before


def make_version_1(root: Path) -> None:
    """A store as schema 1 was: the tables of its step, with rows."""
    root.mkdir(exist_ok=True)
    connection = sqlite3.connect(root / DATABASE)
    for statement in STEPS[1]:
        connection.execute(statement)
    record = {
        "id": RUN.id, "system": "s", "version": "1", "tier": "control", "dataset": "demo", "split": "test",
        "task": "tts", "created": "2024-01-01",
    }  # fmt: skip
    connection.execute("INSERT INTO runs (id, folder, record) VALUES (?, ?, ?)", (RUN.id, "d", json.dumps(record)))
    connection.execute("INSERT INTO contents (n, sha256) VALUES (1, 'r0')")
    connection.execute("INSERT INTO run_clips VALUES (1, 'clip 0', NULL, 1, 3.0)")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("write", [True, False])
def test_an_older_schema_is_migrated_and_its_copy_kept(tmp_path: Path, write: bool) -> None:
    make_version_1(tmp_path)
    with Store.open(tmp_path, write=write) as store:
        assert [clip.clip_id for clip in store.run_clips(RUN.id)] == ["clip 0"]
        assert store.get_cached("x") is None and store.put_cached("x", 1) is write
    assert version_of(tmp_path / DATABASE) == VERSION
    copy = tmp_path / "store.v1.backup.sqlite"
    assert version_of(copy) == 1
    copy.replace(tmp_path / DATABASE)  # the copy is a whole store of version 1
    (tmp_path / "store.v1.backup.sqlite").write_text("taken")
    with Store.open(tmp_path) as store:
        assert store.run(RUN.id).created == "2024-01-01"
    assert (tmp_path / "store.v1-1.backup.sqlite").exists()  # an earlier copy is not overwritten


def test_a_migration_without_room_for_the_copy_changes_nothing(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("1m")
    make_version_1(disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * (2**20 - _used(disk) - 40_960))
    with pytest.raises(DataError, match="no space left"):
        Store.open(disk)
    filler.unlink()
    assert version_of(disk / DATABASE) == 1
    assert not list(disk.glob("*.backup.sqlite"))
    with Store.open(disk) as store:
        assert store.run(RUN.id).id == RUN.id
    assert not list(disk.glob("*.part"))


def test_a_new_store_has_the_present_version(tmp_path: Path) -> None:
    make_store(tmp_path)
    assert version_of(tmp_path / DATABASE) == VERSION == max(STEPS)
    assert not list(tmp_path.glob("*.backup.sqlite"))


# torn writes

WRITER = """
import sys
from pathlib import Path
from bench.store import Store
from bench.store_records import ScoreRecord
with Store.open(Path(sys.argv[1])) as store:
    for i in range(int(sys.argv[2]), 1_000_000):
        keys = [(f"o{i}-{k}", f"r{i}", "p@1", "w") for k in range(20)]
        store.add_scores([ScoreRecord(*key, "ok", {"v": float(i)}, arrays=b"x" * 3000) for key in keys])
        print(i, flush=True)
"""


def tear(root: Path, kills: int, seed: int) -> None:
    """Kill a writer that commits without pause; every batch must be whole or absent, and none lost that was told."""
    rng = random.Random(seed)
    begun = 0
    for _ in range(kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), str(begun)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.random() * 0.05)
        writer.kill()
        told = [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
        assert integrity(root) == "ok"
        with Store.open(root, write=False) as store:
            last = max([begun, *told])
            for i in range(begun, last + 3):
                keys = [ScoreRecord(f"o{i}-{k}", f"r{i}", "p@1", "w", "ok").key for k in range(20)]
                n = len(store.have_scores(keys))
                assert n in (0, 20) and (n == 20 or i > last)
                arrays = store._session.connection.execute("SELECT count(*) FROM score_arrays").fetchone()[0]
                scores = store._session.connection.execute("SELECT count(*) FROM scores").fetchone()[0]
                assert arrays == scores
            begun = last + 3


def test_a_writer_killed_while_it_commits(tmp_path: Path) -> None:
    tear(tmp_path, kills=5, seed=0)


@pytest.mark.slow
def test_a_writer_killed_a_hundred_times_while_it_commits(tmp_path: Path) -> None:
    tear(tmp_path, kills=100, seed=1)


def test_a_writer_killed_between_the_file_and_its_row(tmp_path: Path) -> None:
    """The media are in place, the row is not: nothing counts it, and the clip goes in again."""
    code = """
import os, signal, sys
from pathlib import Path
from bench.store import Store
from bench.store_runs import OutputTable
sys.path.insert(0, sys.argv[2])
from test_store_safety import RUN, add_clip
store = Store.open(Path(sys.argv[1]))
store.add_run(RUN)
add_clip(store, 0)
OutputTable.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
add_clip(store, 1)
"""
    here = str(Path(__file__).parent)
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path), here], check=False, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    with Store.open(tmp_path) as store:
        assert list(store.outputs(RUN.id)) == ["clip 0"]
        assert len(store.sweep(dry_run=True).files) == 1
        add_clip(store, 1)
        assert list(store.outputs(RUN.id)) == ["clip 0", "clip 1"] and store.sweep().files == ()
