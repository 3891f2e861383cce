"""The local engine with real processes, really killed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.engines import get_engine
from bench.engines.local import LocalEngine
from bench.engines.worker import is_disk_error, is_out_of_memory
from bench.errors import DataError, EngineLostError, UsageError
from bench.records import Job, Outcome, Unit
from bench.schedule import run

JOB = Job("toy_job:hashes", None)


def make(n: int, special: dict[int, dict[str, Any]] | None = None, **common: Any) -> list[Unit]:
    special = special or {}
    return [Unit(f"u{i:03d}", {"key": f"u{i:03d}", **common, **special.get(i, {})}) for i in range(n)]


def expected(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def finish(engine: LocalEngine, work: list[Unit], job: Job = JOB, **options: Any) -> dict[str, Outcome]:
    found = list(run(engine, job, work, **options))
    assert len(found) == len(work)
    return {outcome.key: outcome for outcome in found}


def gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z" and Path(f"/proc/{pid}/stat").read_text().split()[3] != str(os.getpid()):
            return True  # dead; its new parent has not looked yet
        time.sleep(0.02)
    return False


@pytest.fixture
def two() -> Iterator[LocalEngine]:
    with LocalEngine(2) as engine:
        yield engine


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_any_number_of_workers_and_batch_size_gives_the_same(workers: int, batch_size: int, tmp_path: Path) -> None:
    found = finish(
        get_engine("local", workers=workers), make(40), Job("toy_job:hashes", str(tmp_path)), batch_size=batch_size
    )
    assert {key: outcome.record for key, outcome in found.items()} == {u.key: expected(u.key) for u in make(40)}
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().split()]
    assert Counter(lines) == Counter(u.key for u in make(40))  # each executed once


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_fails_its_unit_alone_and_says_where(workers: int) -> None:
    found = finish(LocalEngine(workers), make(20, {7: {"do": "raise"}, 9: {"do": "exit"}}), batch_size=5)
    bad = found["u007"]
    assert bad.status == "failed" and "ValueError: this clip is bad" in bad.detail and "toy_job.py" in bad.detail
    assert "SystemExit: 3" in found["u009"].detail
    assert sum(outcome.status == "ok" for outcome in found.values()) == 18


def test_poison_is_lost_after_three_attempts_and_the_others_are_intact(two: LocalEngine, tmp_path: Path) -> None:
    start = time.monotonic()
    found = finish(two, make(40, {3: {"do": "die"}}), Job("toy_job:hashes", str(tmp_path)), batch_size=4)
    assert (found["u003"].status, found["u003"].reason) == ("lost", "worker_lost")
    assert "signal 9 (SIGKILL)" in found["u003"].detail
    assert all(found[f"u{i:03d}"].record == expected(f"u{i:03d}") for i in range(40) if i != 3)
    lines = Counter(line for file in tmp_path.iterdir() for line in file.read_text().split())
    assert lines["u003"] == 3
    assert time.monotonic() - start < 10


def test_a_hang_ends_at_the_time_limit(two: LocalEngine) -> None:
    start = time.monotonic()
    found = finish(two, make(10, {0: {"do": "hang"}}), timeout_s=0.4, attempts=2)
    assert (found["u000"].status, found["u000"].reason) == ("lost", "timeout")
    assert sum(outcome.status == "ok" for outcome in found.values()) == 9
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("workers", [0, 1])
def test_out_of_memory_halves_the_batch(workers: int) -> None:
    found = finish(LocalEngine(workers), make(8, do="memory-in-batch", fits=2), batch_size=8)
    assert all(outcome.status == "ok" for outcome in found.values())


def test_out_of_memory_alone_is_lost_and_says_so(two: LocalEngine) -> None:
    found = finish(two, make(3, {1: {"do": "memory"}}))
    assert found["u001"].reason == "out_of_memory" and "MemoryError" in found["u001"].detail
    assert found["u000"].status == found["u002"].status == "ok"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_full_disk_in_a_worker_stops_the_run_and_blames_no_clip(workers: int) -> None:
    with pytest.raises(DataError, match=r"cannot (be )?writ"):
        finish(LocalEngine(workers), make(3, {1: {"do": "disk"}}))


def test_a_record_that_cannot_be_sent_and_a_wrong_number_of_records_fail() -> None:
    found = finish(LocalEngine(1), make(2, {0: {"do": "unpicklable"}}))
    assert found["u000"].status == "failed" and "cannot be sent" in found["u000"].detail
    assert found["u001"].status == "ok"
    few = finish(LocalEngine(1), make(1), Job("toy_job:too_few", None))
    assert "0 records for 1 payloads" in few["u000"].detail


def test_what_the_factory_raises_reaches_the_caller() -> None:
    with pytest.raises(UsageError, match="weights are missing"):
        finish(LocalEngine(2), make(1), Job("toy_job:refuses", None))
    with pytest.raises(DataError, match="could not get ready") as caught:
        finish(LocalEngine(2), make(1), Job("toy_job:breaks", None))
    assert "no such library" in caught.value.hint
    with pytest.raises(UsageError, match="names no callable"):
        finish(LocalEngine(1), make(1), Job("toy_job:nothing", None))


def test_workers_that_die_before_they_are_ready_end_the_run() -> None:
    with pytest.raises(EngineLostError, match="before they were ready") as caught:
        finish(LocalEngine(1), make(1), Job("toy_job:dies", None))
    assert "SIGSEGV" in caught.value.message and "segfault in the driver library" in caught.value.hint


def test_a_slot_that_cannot_start_is_given_up_while_others_work(caplog: pytest.LogCaptureFixture) -> None:
    engine = LocalEngine(2, gpus=["0", "1"])
    found = finish(engine, make(200, sleep=0.01), Job("toy_job:dies_on_device_1", None))
    assert {key: outcome.record for key, outcome in found.items()} == {u.key: expected(u.key) for u in make(200)}
    assert {outcome.worker for outcome in found.values()} == {0}
    assert "going on with 1 of 2 workers" in caplog.text


def test_a_factory_that_hangs_ends_the_run() -> None:
    with pytest.raises(EngineLostError, match="before they were ready"):
        finish(LocalEngine(1, start_timeout_s=0.3), make(1), Job("toy_job:starts_slowly", None))


def test_one_thread_per_worker_whatever_their_number() -> None:
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "EXTRA"]
    work = make(2, do="environment", names=names)
    for workers in (1, 2):
        engine = LocalEngine(workers, gpus=["5"], env={"EXTRA": "x"})
        for outcome in finish(engine, work).values():
            assert list(outcome.record.values()) == ["1", "1", "1", "5", "x"]
    assert finish(LocalEngine(1, threads=3), work)["u000"].record["OMP_NUM_THREADS"] == "3"


def test_workers_import_from_where_the_driver_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('the wrong json')")  # in the working folder: must not matter
    monkeypatch.chdir(tmp_path)
    import sys

    folder, pid, path = finish(LocalEngine(1), make(1, do="where"))["u000"].record
    assert folder == str(tmp_path) and pid != os.getpid() and path == sys.path


def test_plugin_files_are_loaded_in_workers(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from bench.api import Metric\n\n\nclass Mine(Metric):\n    name = 'mine-of-a-test'\n    protocols = ()\n"
        "    def score(self, protocol_ids, output, reference, truth):\n        return {}\n"
    )
    found = finish(LocalEngine(1, plugins=[plugin]), make(1, do="plugin"))
    assert "mine-of-a-test" in found["u000"].record
    with pytest.raises(UsageError, match="no such file"):
        finish(LocalEngine(1, plugins=[tmp_path / "absent.py"]), make(1))


def test_native_chatter_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    finish(LocalEngine(1, log_dir=tmp_path / "logs"), make(1, do="chatter"))
    assert "native" not in "".join(capfd.readouterr())
    assert (tmp_path / "logs" / "worker-0.log").read_text() == "native chatter\nnative warning\n"


def test_what_a_worker_started_ends_with_it(tmp_path: Path) -> None:
    """Left-over children after the engine is closed, and those of a worker killed at its time limit."""
    child = finish(LocalEngine(1), make(1, do="child"))["u000"].record
    assert gone(child)
    work = make(1, do="orphan-and-hang", file=str(tmp_path / "pid"))
    assert finish(LocalEngine(1), work, timeout_s=2.0, attempts=1)["u000"].reason == "timeout"
    assert gone(int((tmp_path / "pid").read_text()))


def test_closing_leaves_no_process_and_the_engine_starts_again(two: LocalEngine) -> None:
    for _ in range(2):
        two.start(JOB)
        pids = two.pids()
        assert len(pids) == 2
        two.poll(5.0)
        assert two.free() > 0
        two.close()
        assert all(gone(pid) for pid in pids)
        assert two.pids() == []


def test_a_worker_survives_ctrl_c(two: LocalEngine) -> None:
    outcomes = run(two, JOB, make(30, sleep=0.02))
    found = [next(outcomes)]
    pids = two.pids()
    for pid in pids:
        os.kill(pid, signal.SIGINT)
    found += list(outcomes)
    assert len(found) == 30 and all(outcome.status == "ok" for outcome in found)


def kill_at_random(seed: int, kills: int, n: int = 100) -> None:
    rng = random.Random(seed)
    engine = LocalEngine(2)
    folder_units = make(n, sleep=0.01)
    points = sorted(rng.sample(range(1, n - 10), kills))
    found: list[Outcome] = []
    for outcome in run(engine, JOB, folder_units):
        found.append(outcome)
        if points and len(found) >= points[0]:
            points.pop(0)
            time.sleep(rng.random() * 0.02)
            os.kill(rng.choice(engine.pids()), signal.SIGKILL)
    assert {o.key: o.record for o in found} == {u.key: expected(u.key) for u in folder_units}


@pytest.mark.parametrize("seed", range(3))
def test_a_worker_killed_at_a_random_time_takes_nothing_with_it(seed: int) -> None:
    kill_at_random(seed, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_workers_killed_at_many_random_times(seed: int) -> None:
    kill_at_random(1000 + seed, kills=5)


def test_a_killed_worker_is_replaced_within_three_seconds(two: LocalEngine) -> None:
    outcomes = run(two, JOB, make(200, sleep=0.01))
    next(outcomes)
    victim = two.pids()[0]
    os.kill(victim, signal.SIGKILL)
    start, seen = time.monotonic(), set()
    for outcome in outcomes:
        seen.add(outcome.worker)
        if len(two.pids()) == 2 and victim not in two.pids() and seen == {0, 1} and time.monotonic() - start > 0.3:
            break
    assert time.monotonic() - start < 3
    outcomes.close()


def test_dispatch_rate(two: LocalEngine, capsys: pytest.CaptureFixture[str]) -> None:
    work = [Unit(f"u{i}", None) for i in range(5000)]
    outcomes = run(two, Job("toy_job:noop", None), work)
    next(outcomes)  # workers are up
    start = time.monotonic()
    count = sum(1 for _ in outcomes)
    rate = count / (time.monotonic() - start)
    with capsys.disabled():
        print(f"\nlocal engine, 2 workers: {rate:,.0f} no-op units a second")
    assert rate > 500  # a tenth of what is asked of a quiet machine: this is no timed test


@pytest.mark.parametrize("options", [{"workers": -1}, {"workers": 100_000}, {"threads": 0}])
def test_numbers_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        get_engine("local", **options)


def test_an_unknown_engine_names_those_that_exist() -> None:
    with pytest.raises(UsageError, match="'locl'") as caught:
        get_engine("locl")
    assert "'local'" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        get_engine("slurm")
    assert "local" in caught.value.hint


def test_memory_and_disk_errors_are_told_apart() -> None:
    class OutOfMemoryError(RuntimeError): ...

    assert is_out_of_memory(MemoryError()) and is_out_of_memory(OutOfMemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"))
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not is_out_of_memory(ValueError("out of memory")) and not is_out_of_memory(RuntimeError("shape"))
    assert is_disk_error(OSError(28, "x")) and not is_disk_error(FileNotFoundError(2, "x"))


def test_a_worker_that_ran_out_of_memory_gets_no_further_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end may be seen late: what it was given in between would be lost as if the batch had killed it."""
    monkeypatch.setattr("bench.engines.local._Worker.kill", lambda worker: None)
    with LocalEngine(1) as engine:
        engine.start(JOB)
        while not engine.free():
            engine.poll(0.1)
        engine.submit(make(1, {0: {"do": "memory"}}))
        found: list[Outcome] = []
        while not found:
            found = engine.poll(0.1)
        assert found[0].reason == "out_of_memory"
        assert engine.free() == 0
        monkeypatch.undo()
