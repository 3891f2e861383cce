"""The ray engine with a real Ray on this machine: what every engine must do, and faults that are really made."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import toy_run
from test_local_engine import expected, gone, make

from bench.engines import get_engine
from bench.engines.ray_engine import RayEngine
from bench.errors import DataError, EngineLostError, UsageError
from bench.records import Job, Outcome, Unit
from bench.schedule import run

pytestmark = pytest.mark.usefixtures("ray_here")
JOB = Job("toy_job:hashes", None)


def finish(engine: RayEngine, work: list[Unit], job: Job = JOB, **options: Any) -> dict[str, Outcome]:
    found = [outcome for outcome in run(engine, job, work, **options) if not outcome.again]
    assert len(found) == len(work)
    return {outcome.key: outcome for outcome in found}


def executions(notes: Path) -> Counter[str]:
    return Counter(line for file in notes.iterdir() for line in file.read_text().splitlines())


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a store that was filled in this process."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "notes").mkdir()
    return toy_run.main(folder / "store", 60, 0, folder / "notes")


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_store_is_that_of_the_local_engine_and_everything_is_done_once(
    batch_size: int, tmp_path: Path, clean: str
) -> None:
    (tmp_path / "notes").mkdir()
    digest = toy_run.main(tmp_path / "store", 60, 2, tmp_path / "notes", batch_size, engine=RayEngine)
    assert digest == clean
    assert set(executions(tmp_path / "notes").values()) == {1}


def kill_at_random(rng: random.Random, engine: RayEngine, outcomes: Any, points: list[int]) -> list[Outcome]:
    found: list[Outcome] = []
    for outcome in outcomes:
        found.append(outcome)
        if points and len(found) >= points[0]:
            points.pop(0)
            time.sleep(rng.random() * 0.02)
            os.kill(rng.choice(engine.pids()), signal.SIGKILL)
    return found


@pytest.mark.parametrize("seed", range(2))
def test_an_actor_killed_in_a_batch_takes_nothing_with_it(seed: int, tmp_path: Path) -> None:
    rng, engine, work = random.Random(seed), RayEngine(2), make(120, sleep=0.03)
    start = time.monotonic()
    outcomes = run(engine, Job("toy_job:hashes", str(tmp_path)), work, batch_size=3)
    found = kill_at_random(rng, engine, outcomes, sorted(rng.sample(range(1, 60), 2)))
    assert {o.key: o.record for o in found} == {unit.key: expected(unit.key) for unit in work}
    assert len(found) == len(work)
    counts = executions(tmp_path)
    assert set(counts) == {unit.key for unit in work}
    assert sum(counts.values()) - len(counts) <= 2 * 3  # the batches that were cut off
    assert time.monotonic() - start < 300  # seconds on a quiet machine


def test_poison_is_lost_after_three_attempts_and_the_others_are_intact(tmp_path: Path) -> None:
    job = Job("toy_job:hashes", str(tmp_path))
    found = finish(RayEngine(2), make(20, {3: {"do": "die"}}), job, batch_size=4)
    assert (found["u003"].status, found["u003"].reason) == ("lost", "worker_lost")
    assert "the actor died" in found["u003"].detail and "pid" not in found["u003"].detail
    assert all(found[f"u{i:03d}"].record == expected(f"u{i:03d}") for i in range(20) if i != 3)
    assert executions(tmp_path)["u003"] == 3


def test_an_exception_fails_its_unit_alone_and_says_where() -> None:
    found = finish(RayEngine(2), make(20, {7: {"do": "raise"}, 9: {"do": "exit"}}), batch_size=5)
    bad = found["u007"]
    assert bad.status == "failed" and "ValueError: this clip is bad" in bad.detail and "toy_job.py" in bad.detail
    assert "SystemExit: 3" in found["u009"].detail
    assert sum(outcome.status == "ok" for outcome in found.values()) == 18


def test_a_hang_ends_at_the_time_limit_and_so_do_its_children(tmp_path: Path) -> None:
    work = make(6, {0: {"do": "orphan-and-hang", "file": str(tmp_path / "pid")}})
    found = finish(RayEngine(2), work, timeout_s=1.0, attempts=2)
    assert (found["u000"].status, found["u000"].reason) == ("lost", "timeout")
    assert sum(outcome.status == "ok" for outcome in found.values()) == 5
    assert gone(int((tmp_path / "pid").read_text()))


def test_an_actor_that_runs_out_of_memory_gets_half_the_batch(tmp_path: Path) -> None:
    """Really: its address space is limited, and one unit alone fits."""
    job = Job("toy_job:hashes", str(tmp_path))
    work = make(4, {i: {"do": "fill-memory", "mib": 400, "limit_mib": 700} for i in range(4)})
    found = finish(RayEngine(1), work, job, batch_size=2)
    assert {key: outcome.record for key, outcome in found.items()} == {u.key: expected(u.key) for u in work}
    alone = finish(RayEngine(1), make(2, {1: {"do": "fill-memory", "mib": 900, "limit_mib": 700}}), attempts=2)
    assert alone["u001"].reason == "out_of_memory" and "MemoryError" in alone["u001"].detail
    assert alone["u000"].status == "ok"


def test_what_stops_a_run_reaches_the_caller() -> None:
    with pytest.raises(DataError, match="cannot write"):
        finish(RayEngine(1), make(3, {1: {"do": "disk"}}))
    with pytest.raises(UsageError, match="weights are missing"):
        finish(RayEngine(2), make(1), Job("toy_job:refuses", None))
    with pytest.raises(DataError, match="could not get ready") as caught:
        finish(RayEngine(1), make(1), Job("toy_job:breaks", None))
    assert "no such library" in caught.value.hint
    with pytest.raises(UsageError, match="has room for"):
        finish(RayEngine(1, gpus_per_worker=1000.0), make(1))


def test_records_that_cannot_be_sent_and_a_wrong_number_of_records_fail() -> None:
    found = finish(RayEngine(1), make(2, {0: {"do": "lock"}}), batch_size=2)
    assert found["u000"].status == "failed" and "cannot be sent" in found["u000"].detail
    assert found["u001"].status == "ok"
    few = finish(RayEngine(1), make(1), Job("toy_job:too_few", None))
    assert "0 records for 1 payloads" in few["u000"].detail


def test_actors_that_die_or_hang_before_they_are_ready_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineLostError, match="before they were ready") as caught:
        finish(RayEngine(1, log_dir=tmp_path), make(1), Job("toy_job:dies", None))
    assert str(tmp_path) in caught.value.hint
    assert "segfault in the driver library" in (tmp_path / "worker-0.log").read_text()
    monkeypatch.setattr("bench.engines.ray_engine.BAD_STARTS", 1)
    with pytest.raises(EngineLostError, match="before they were ready"):
        finish(RayEngine(1, start_timeout_s=0.5), make(1), Job("toy_job:starts_slowly", None))


def test_a_cluster_without_room_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another engine has all CPUs."""
    cpus = max(2, os.cpu_count() or 1)
    with RayEngine(cpus) as other:
        other.start(JOB)
        while other.free() < cpus:
            other.poll(1.0)
        monkeypatch.setattr("bench.engines.ray_engine.ROOM_S", 1.0)
        with pytest.raises(EngineLostError, match="no room"):
            finish(RayEngine(1), make(1))


def test_a_worker_has_the_driver_s_environment_and_writes_to_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_OF_A_TEST", "goes along")
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from bench.api import Metric\n\n\nclass Mine(Metric):\n    name = 'mine-of-a-ray-test'\n    protocols = ()\n"
        "    def score(self, protocol_ids, output, reference, truth):\n        return {}\n"
    )
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "BENCH_OF_A_TEST", "EXTRA"]
    work = make(
        4, {0: {"do": "environment", "names": names}, 1: {"do": "where"}, 2: {"do": "chatter"}, 3: {"do": "plugin"}}
    )
    engine = RayEngine(1, plugins=[plugin], env={"EXTRA": "x"}, log_dir=tmp_path / "logs")
    found = finish(engine, work)
    assert list(found["u000"].record.values()) == ["1", "1", "0", "goes along", "x"]
    folder, pid, path = found["u001"].record
    assert folder == str(tmp_path) and pid != os.getpid() and path[: len(sys.path)] == sys.path
    assert "mine-of-a-ray-test" in found["u003"].record
    assert "native" not in "".join(capfd.readouterr())
    assert (tmp_path / "logs" / "worker-0.log").read_text() == "native chatter\nnative warning\n"
    assert [file.name for file in (tmp_path / "logs").iterdir()] == ["worker-0.log"]


def test_a_node_that_does_not_see_the_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's mark is taken away before the actor looks for it."""
    monkeypatch.setattr("bench.engines.ray_engine.Path.touch", lambda path: None)
    with pytest.raises(UsageError, match="does not see") as caught:
        finish(RayEngine(1, log_dir=tmp_path), make(1))
    assert os.uname().nodename in caught.value.message and "share" in caught.value.hint


def test_a_process_has_one_group_where_the_job_renews(tmp_path: Path) -> None:
    work = [
        Unit(f"{g}{i}", {"key": f"{g}{i}", "sleep": 0.01}, -float(r), g) for r, g in enumerate("ab") for i in range(5)
    ]
    found = finish(RayEngine(2), work, Job("toy_job:hashes", str(tmp_path), renews=True), batch_size=2)
    assert {key: outcome.record for key, outcome in found.items()} == {u.key: expected(u.key) for u in work}
    groups = defaultdict(set)
    for file in tmp_path.iterdir():
        groups[file.stem] |= {key[0] for key in file.read_text().split()}
    assert all(len(had) == 1 for had in groups.values())


def test_a_slow_actor_is_overtaken_by_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unit takes far longer than usual there: a second worker does it, and nobody waits for the first."""
    monkeypatch.setattr("bench.schedule.LATE_S", 1.0)
    job = Job("toy_job:hashes", str(tmp_path), repeatable=True)
    work = make(16, {0: {"do": "slow-once", "file": str(tmp_path / "slow.mark"), "seconds": 60.0}}, sleep=0.05)
    start = time.monotonic()
    found = finish(RayEngine(2), work, job)
    assert time.monotonic() - start < 40
    assert {key: outcome.record for key, outcome in found.items()} == {u.key: expected(u.key) for u in work}
    (tmp_path / "slow.mark").unlink()
    assert executions(tmp_path) == Counter([*(u.key for u in work), "u000"])


def test_a_result_that_is_delivered_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to have a unit answers after the second one, while another unit still runs."""
    monkeypatch.setattr("bench.schedule.LATE_S", 1.0)
    (tmp_path / "notes").mkdir()
    twice = {"do": "wait-for-the-second", "file": str(tmp_path / "twice")}
    end = tmp_path / "both are there"
    work = make(10, {0: twice, 1: {"do": "wait-for", "file": str(end)}})
    job = Job("toy_job:hashes", str(tmp_path / "notes"), repeatable=True)
    first, second = [], []
    for outcome in run(RayEngine(3), job, work, timeout_s=100.0):
        (second if outcome.again else first).append(outcome)
        if second:
            end.touch()
    assert sorted(outcome.key for outcome in first) == [unit.key for unit in work]
    assert [(o.key, o.record) for o in second if o.key == "u000"] == [("u000", expected("u000"))]
    assert executions(tmp_path / "notes")["u000"] == 2


def test_closing_leaves_no_process_and_the_engine_starts_again() -> None:
    engine = RayEngine(2)
    for _ in range(2):
        engine.start(JOB)
        while engine.free() < 2:
            engine.poll(1.0)
        pids = engine.pids()
        assert len(set(pids)) == 2
        engine.close()
        assert all(gone(pid) for pid in pids) and engine.free() == 0


def test_dispatch_rate(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = run(RayEngine(2), Job("toy_job:noop", None), [Unit(f"u{i}", None) for i in range(1500)])
    next(outcomes)  # workers are up
    start = time.monotonic()
    rate = sum(1 for _ in outcomes) / (time.monotonic() - start)
    with capsys.disabled():
        print(f"\nray engine, 2 workers: {rate:,.0f} no-op units a second")
    assert rate > 50  # a tenth of what is asked of a quiet machine: this is no timed test


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 100_000}, {"threads": 0}, {"gpus_per_worker": -1.0}])
def test_numbers_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        get_engine("ray", **options)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed") as caught:
        finish(RayEngine(1), make(1))
    assert "bench-avgen[ray]" in caught.value.hint


@pytest.mark.parametrize("address", ["nowhere", "ray://127.0.0.1:10001", "127.0.0.1:1"])
def test_an_address_where_nothing_is_is_refused_at_once(address: str) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError, match="--ray-address"):
        finish(RayEngine(1, address=address), make(1))
    assert time.monotonic() - start < 20
