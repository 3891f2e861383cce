"""The real command is killed at random points of its work; the same command again ends with the same table."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_kit import SLOW, Driver, Results, assert_nobody_is_left, needs_proc, noted, results

from bench.store import Store

pytestmark = needs_proc

WORKERS, BATCH = 2, 2
SLEEP_S = 0.05
GO_ON = "the same command goes on"


def command(talks: Path, store: Path) -> list[object]:
    return [
        *("run", "--system", "slow-voice,slow-face", "--dataset", "folder", "--data-root", talks, "--out", store),
        *("--metrics", "slow-level,slow-light,duration,cost", "--plugin", SLOW),
        *("--workers", WORKERS, "--batch-size", BATCH),
    ]


@dataclass(frozen=True)
class Undisturbed:
    """What a run gives that nobody disturbs, and which units it executes."""

    results: Results
    units: frozenset[str]
    seconds: float

    @property
    def n_generated(self) -> int:
        return sum(unit.startswith("generate ") for unit in self.units)


@pytest.fixture(scope="module")
def undisturbed(talks: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    code, _, err = launch(talks, folder, cache).finish()
    seconds = time.monotonic() - start
    assert code == 0, err
    counts = noted(folder / "notes")
    assert set(counts.values()) == {1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(cache))
        found = results(folder / "store")
    assert ",failed," in found.export and ",ok," in found.export
    return Undisturbed(found, frozenset(counts), seconds)


def launch(talks: Path, folder: Path, cache: Path) -> Driver:
    environment = {"BENCH_CACHE": str(cache), "E2E_SLEEP": str(SLEEP_S), "BENCH_PLUGIN": ""}
    return Driver(command(talks, folder / "store"), folder, environment)


def check(folder: Path, undisturbed: Undisturbed, cut_driver: int, cut_worker: int) -> None:
    """After the last run: same results, only what was in flight done twice, nothing left lying about."""
    store = folder / "store"
    assert not any((store / "tmp").iterdir())
    assert_nobody_is_left(str(folder))
    counts = noted(folder / "notes")
    assert set(counts) == undisturbed.units
    # Of a killed driver: a batch per worker, and what came in one poll and was not committed, as much again.
    twice = sum(counts.values()) - len(counts)
    assert twice <= cut_driver * 2 * WORKERS * BATCH + cut_worker * BATCH
    with Store.open(store) as opened:
        report = opened.sweep(dry_run=True)
        assert (report.files, report.scores) == ((), 0)
        assert opened.conflicts() == []
    assert results(store) == undisturbed.results


def assert_sound(store: Path) -> None:
    """What a killed writer leaves is a whole database (if it got so far)."""
    if (store / "store.sqlite").exists():
        with sqlite3.connect(store / "store.sqlite") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


def kill_drivers(
    talks: Path, folder: Path, cache: Path, undisturbed: Undisturbed, points: list[int], rng: random.Random
) -> None:
    """SIGKILL when so many executions are noted, again and again; then let it finish."""
    cut = 0
    for point in points:
        driver = launch(talks, folder, cache)
        driver.wait_for(point)
        time.sleep(rng.random() * SLEEP_S)
        driver.process.kill()
        code, _, _ = driver.finish()
        cut += code == -signal.SIGKILL
        if rng.random() < 0.5:  # often the next one begins while the workers of the last one are just dying
            assert_nobody_is_left(str(folder))
        assert_sound(folder / "store")
    assert cut > 0
    code, _, err = launch(talks, folder, cache).finish()
    assert code == 0, err
    check(folder, undisturbed, cut, 0)


def some_points(undisturbed: Undisturbed, rng: random.Random, kills: int) -> list[int]:
    """Numbers of executions, one of them in the generating, one in the scoring, in rising order."""
    total, generated = len(undisturbed.units), undisturbed.n_generated
    points = [rng.randint(1, generated - 1), rng.randint(generated + 1, total - 1)]
    points += [rng.randint(0, total - 1) for _ in range(kills - 2)]
    return sorted(points)


@pytest.mark.parametrize("seed", range(2))
def test_a_driver_that_is_killed_goes_on(
    seed: int, talks: Path, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    rng = random.Random(seed)
    kill_drivers(talks, tmp_path, cache, undisturbed, some_points(undisturbed, rng, 2), rng)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_driver_that_is_killed_again_and_again_goes_on(
    seed: int, talks: Path, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    rng = random.Random(100 + seed)
    kill_drivers(talks, tmp_path, cache, undisturbed, some_points(undisturbed, rng, 4), rng)


def kill_after(seconds: list[float], talks: Path, folder: Path, undisturbed: Undisturbed) -> None:
    """SIGKILL so long after the start, whatever goes on then: imports, the index, a commit, the table."""
    cache = folder / "cache"
    cut = 0
    for wait in seconds:
        driver = launch(talks, folder, cache)
        time.sleep(wait)
        driver.process.kill()
        cut += driver.finish()[0] == -signal.SIGKILL
        assert_sound(folder / "store")
    code, _, err = launch(talks, folder, cache).finish()
    assert code == 0, err
    check(folder, undisturbed, cut, 0)


def test_a_driver_that_is_killed_at_any_time_goes_on(talks: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    rng = random.Random(7)
    kill_after([rng.random() * undisturbed.seconds * 0.5, undisturbed.seconds * 0.8], talks, tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_driver_that_is_killed_at_many_times_goes_on(
    seed: int, talks: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    rng = random.Random(200 + seed)
    kill_after([rng.random() * undisturbed.seconds * 1.1 for _ in range(4)], talks, tmp_path, undisturbed)


def kill_workers(
    talks: Path, folder: Path, cache: Path, undisturbed: Undisturbed, points: list[int], seed: int
) -> None:
    """SIGKILL for a worker when so many executions are noted; the driver goes on without being told."""
    rng = random.Random(seed)
    driver = launch(talks, folder, cache)
    cut = 0
    for point in points:
        driver.wait_for(point)
        time.sleep(rng.random() * SLEEP_S)
        victims = driver.workers()
        if victims:
            try:
                os.kill(rng.choice(victims), signal.SIGKILL)
                cut += 1
            except ProcessLookupError:
                pass
    code, _, err = driver.finish()
    assert code == 0, err
    assert cut > 0
    check(folder, undisturbed, 0, cut)


def test_workers_that_are_killed_take_nothing_with_them(
    talks: Path, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    points = some_points(undisturbed, random.Random(11), 2)
    kill_workers(talks, tmp_path, cache, undisturbed, points, 11)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_many_workers_that_are_killed_take_nothing_with_them(
    seed: int, talks: Path, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    # at most two in one stage: a unit that loses its worker three times is given up
    rng = random.Random(300 + seed)
    total, generated = len(undisturbed.units), undisturbed.n_generated
    points = [rng.randint(0, generated - 1) for _ in range(2)] + [rng.randint(generated, total - 1) for _ in range(2)]
    kill_workers(talks, tmp_path, cache, undisturbed, sorted(points), seed)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_go_on(
    how: signal.Signals, talks: Path, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    """In the generating and again in the scoring: exit code 130, what is finished is kept."""
    stopped_at = []
    for point in (4, undisturbed.n_generated + 5):
        driver = launch(talks, tmp_path, cache)
        assert driver.wait_for(point)
        driver.process.send_signal(how)
        code, _, err = driver.finish(20)
        assert code == 130, err
        assert GO_ON in err and "Traceback" not in err, err
        assert_nobody_is_left(str(tmp_path))
        assert not any((tmp_path / "store" / "tmp").iterdir())
        stopped_at.append(sum(noted(tmp_path / "notes").values()))
    assert stopped_at[0] < undisturbed.n_generated < stopped_at[1] < len(undisturbed.units)
    code, _, err = launch(talks, tmp_path, cache).finish()
    assert code == 0, err
    check(tmp_path, undisturbed, 2, 0)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_any_work_is_told_in_the_same_way(how: signal.Signals, talks: Path, tmp_path: Path) -> None:
    driver = launch(talks, tmp_path, tmp_path / "cache")
    end = time.monotonic() + 20
    while not (tmp_path / "store").exists() and time.monotonic() < end:
        time.sleep(0.002)
    driver.process.send_signal(how)
    code, out, err = driver.finish(20)
    assert (code, out) == (130, "") and GO_ON in err and "Traceback" not in err, err
    assert_nobody_is_left(str(tmp_path))
    assert not noted(tmp_path / "notes")
