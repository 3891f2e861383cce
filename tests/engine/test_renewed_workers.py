"""Jobs that renew: a process has units of one group alone, whatever dies on the way."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest
from test_local_engine import expected, gone

from bench.engines.local import LocalEngine
from bench.records import Job, Outcome, Unit
from bench.schedule import run

GROUPS = "abc"


def job(renews: bool = True, notes: Path | None = None) -> Job:
    return Job("toy_job:hashes", str(notes) if notes else None, renews)


def make(per_group: int, **common: object) -> list[Unit]:
    """Units of three groups, one group after the other."""
    keys = [(rank, group, f"{group}{i:02d}") for rank, group in enumerate(GROUPS) for i in range(per_group)]
    return [Unit(key, {"key": key, **common}, -float(rank), group) for rank, group, key in keys]


def processes(notes: Path) -> dict[str, set[str]]:
    """By process: the groups of the units that it had."""
    found = defaultdict(set)
    for file in notes.iterdir():
        found[file.stem] |= {key[0] for key in file.read_text().split()}
    return found


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_process_has_one_group_where_the_job_renews(workers: int, batch_size: int, tmp_path: Path) -> None:
    for renews in (True, False):
        notes = tmp_path / str(renews)
        notes.mkdir()
        work = make(7, sleep=0.01)
        found = {o.key: o.record for o in run(LocalEngine(workers), job(renews, notes), work, batch_size=batch_size)}
        assert found == {unit.key: expected(unit.key) for unit in work}
        groups = processes(notes)
        if renews:
            assert all(len(had) == 1 for had in groups.values())
            assert len(groups) <= workers * len(GROUPS)
        else:
            assert len(groups) <= workers


def test_one_group_never_ends_a_worker(tmp_path: Path) -> None:
    work = [unit for unit in make(20) if unit.group == "a"]
    assert len(list(run(LocalEngine(1), job(notes=tmp_path), work))) == 20
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_worker_killed_while_others_are_renewed_takes_nothing_with_it(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    engine, work = LocalEngine(2), make(12, sleep=0.01)
    points = sorted(rng.sample(range(1, 30), 3))
    found: list[Outcome] = []
    for outcome in run(engine, job(notes=tmp_path), work, attempts=5):
        found.append(outcome)
        if points and len(found) >= points[0]:
            points.pop(0)
            time.sleep(rng.random() * 0.02)
            os.kill(rng.choice(engine.pids()), signal.SIGKILL)
    assert {o.key: o.record for o in found} == {unit.key: expected(unit.key) for unit in work}
    assert all(len(had) == 1 for had in processes(tmp_path).values())


def test_what_a_group_started_ends_with_it_and_the_rest_of_the_run_goes_on() -> None:
    work = [Unit("a", {"do": "child"}, 2.0, "a"), Unit("b", {"key": "b"}, 1.0, "b")]
    outcomes = run(LocalEngine(1), job(), work)
    child = next(outcomes).record
    assert next(outcomes).status == "ok"
    assert gone(child, within_s=1.0)
    outcomes.close()


def test_a_process_that_does_not_end_is_killed() -> None:
    work = [Unit("a", {"do": "linger"}, 2.0, "a"), Unit("b", {"key": "b"}, 1.0, "b")]
    start = time.monotonic()
    found = {outcome.key: outcome for outcome in run(LocalEngine(1), job(), work, attempts=1)}
    assert found["b"].record == expected("b")
    assert time.monotonic() - start < 12
    # its time limit is shorter than the patience with the old process
    found = {outcome.key: outcome for outcome in run(LocalEngine(1), job(), work, attempts=1, timeout_s=0.5)}
    assert (found["b"].status, found["b"].reason) == ("lost", "timeout")


def test_a_worker_that_died_idle_is_no_loss_for_the_next_group() -> None:
    with LocalEngine(1) as engine:
        engine.start(job())
        found: list[Outcome] = []
        for group in "ab":
            while not engine.free():
                engine.poll(0.1)
            if group == "b":
                os.kill(engine.pids()[0], signal.SIGKILL)
                time.sleep(0.1)
            engine.submit([Unit(group, {"key": group}, 1.0, group)])
            count = len(found)
            while len(found) == count:
                found += engine.poll(0.1)
        assert [(o.key, o.status, o.record) for o in found] == [(g, "ok", expected(g)) for g in "ab"]


def test_closing_while_a_worker_is_renewed_leaves_no_process() -> None:
    engine = LocalEngine(1)
    engine.start(job())
    for group in "ab":
        while not engine.free():
            engine.poll(0.1)
        engine.submit([Unit(group, {"do": "linger"}, 1.0, group)])
        if group == "a":
            while not engine.poll(0.1):
                pass
    pids = engine.pids()
    engine.close()
    assert pids and all(gone(pid) for pid in pids)
