"""A driver that writes a store through schedule and local engine is killed by SIGKILL and started again."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import toy_run

from bench.store import Store

N = 60
SCRIPT = Path(toy_run.__file__)


def start(root: Path, notes: Path, workers: int = 2, n: int = N) -> subprocess.Popen[str]:
    notes.mkdir(exist_ok=True)
    env = {**os.environ, "TOY_RUN": str(root)}
    command = [sys.executable, str(SCRIPT), str(root), str(n), str(workers), str(notes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def left_over(root: Path) -> list[int]:
    """Live processes that carry the run's mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"TOY_RUN={root}".encode() in environment:
                found.append(int(folder.name))
    return found


def wait_until_none_is_left(root: Path) -> None:
    end = time.monotonic() + 8
    while time.monotonic() < end and left_over(root):
        time.sleep(0.02)
    assert left_over(root) == []


def executions(notes: Path) -> Counter[str]:
    return Counter(line for file in notes.iterdir() for line in file.read_text().splitlines())


def wait_for_executions(driver: subprocess.Popen[str], notes: Path, n: int) -> None:
    end = time.monotonic() + 30
    while driver.poll() is None and sum(executions(notes).values()) < n and time.monotonic() < end:
        time.sleep(0.001)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("clean")
    return toy_run.main(folder / "store", N, 0, make(folder / "notes"))


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (2, 1), (2, 7)])
def test_any_number_of_workers_gives_the_same_store(workers: int, batch_size: int, tmp_path: Path, clean: str) -> None:
    assert toy_run.main(tmp_path / "store", N, workers, make(tmp_path / "notes"), batch_size) == clean
    assert set(executions(tmp_path / "notes").values()) == {1}


def kill_and_resume(tmp_path: Path, clean: str, seed: int, kills: int) -> None:
    """Kill ``kills`` times at random, then let it finish: same store, little done twice, nobody left over."""
    rng = random.Random(seed)
    root, notes = tmp_path / "store", tmp_path / "notes"
    cut = 0
    for _ in range(kills):
        driver = start(root, notes)
        done = sum(executions(notes).values())
        wait_for_executions(driver, notes, rng.randint(min(done, 2 * N - 1), 2 * N - 1))
        time.sleep(rng.random() * 0.01)
        driver.send_signal(signal.SIGKILL)
        cut += driver.wait() == -signal.SIGKILL
        driver.communicate()
        wait_until_none_is_left(root)
        if (root / "store.sqlite").exists():
            with sqlite3.connect(root / "store.sqlite") as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            database.close()
    assert cut > 0
    driver = start(root, notes)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, err
    assert out.strip() == clean
    twice = sum(executions(notes).values()) - 2 * N
    # In flight: one batch per worker, and what the driver had taken and not committed, in one poll as many.
    assert twice <= cut * 2 * 2
    with Store.open(root) as store:
        assert store.sweep().files == () and len(store.outputs(toy_run.RUN)) == N
        assert not any((root / "tmp").iterdir())


@pytest.mark.parametrize("seed", range(3))
def test_a_driver_killed_at_a_random_point_goes_on(seed: int, tmp_path: Path, clean: str) -> None:
    kill_and_resume(tmp_path, clean, seed, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_driver_killed_at_many_random_points_goes_on(seed: int, tmp_path: Path, clean: str) -> None:
    kill_and_resume(tmp_path, clean, 100 + seed, kills=3)


def test_two_drivers_at_once(tmp_path: Path) -> None:
    root, notes = tmp_path / "store", tmp_path / "notes"
    first = start(root, notes, n=400)
    end = time.monotonic() + 20
    while not (root / "store.sqlite").exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)
    second = start(root, notes)
    _, err = second.communicate(timeout=30)
    assert second.returncode != 0
    assert f"is being written by process {first.pid} on " in err and "toy_run.py" in err
    first.kill()
    first.communicate()
    wait_until_none_is_left(root)
    third = start(root, notes)  # the lock of the dead process is no obstacle
    _, err = third.communicate(timeout=60)
    assert third.returncode == 0, err


HANGING = """
import sys
from pathlib import Path
from bench.engines.local import LocalEngine
from bench.records import Job, Unit
from bench.schedule import run
units = [Unit(do, {"do": do, "file": str(Path(sys.argv[1]) / do)}) for do in sys.argv[2:]]
for outcome in run(LocalEngine(2), Job("toy_job:hashes", None), units):
    print(outcome)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_the_driver(how: signal.Signals, tmp_path: Path) -> None:
    """Neither workers, one of them stuck in native code, nor the programs that they started."""
    work = ["orphan-and-hang", "hang-and-hold-the-interpreter"]
    logs = tmp_path / "temporary"
    logs.mkdir()
    env = {**os.environ, "TOY_RUN": str(tmp_path), "PYTHONPATH": str(SCRIPT.parent), "TMPDIR": str(logs)}
    command = [sys.executable, "-c", HANGING, str(tmp_path), *work]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    end = time.monotonic() + 20
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in work):
        assert time.monotonic() < end and driver.poll() is None
        time.sleep(0.01)
    assert len(left_over(tmp_path)) >= 5  # the driver, two workers, what each of them started
    driver.send_signal(how)
    driver.wait(20)
    wait_until_none_is_left(tmp_path)
    assert not any(logs.iterdir())
