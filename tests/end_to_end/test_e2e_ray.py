"""``bench run --engine ray``: the local engine's tables, whatever is killed or taken away on the way."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_kit import MARK, SLOW, Driver, Results, assert_nobody_is_left, bench, marked, needs_proc, noted, results

from bench.store import Store

pytestmark = needs_proc

WORKERS, BATCH = 2, 2
SLEEP_S = 0.05
PATIENCE_S = 120.0  # a start of Ray takes 3 s on a quiet machine, and far longer on a busy one
GO_ON = "the same command goes on"
#: Only how long the command waits for a Ray that has gone is shortened.
IMPATIENT = """
import sys
from bench import cli
from bench.engines import ray_engine
ray_engine.PROBE_S, ray_engine.LOST_S = 0.5, 3.0
sys.exit(cli.invoke(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Undisturbed:
    """What the local engine gives in this process, and which units it executes."""

    results: Results
    units: frozenset[str]

    @property
    def n_generated(self) -> int:
        return sum(unit.startswith("generate ") for unit in self.units)


def command(talks: Path, store: Path, *more: object) -> list[object]:
    return [
        *("run", "--system", "slow-voice,slow-face", "--dataset", "folder", "--data-root", talks, "--out", store),
        *("--metrics", "slow-level,slow-light,duration,cost", "--plugin", SLOW, "--batch-size", BATCH, *more),
    ]


@pytest.fixture(scope="module")
def undisturbed(talks: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "notes").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(cache))
        patch.setenv("E2E_NOTES", str(folder / "notes"))
        bench(*command(talks, folder / "store", "--workers", 0))
        found = results(folder / "store")
    counts = noted(folder / "notes")
    assert set(counts.values()) == {1}
    assert ",failed," in found.export and ",ok," in found.export
    return Undisturbed(found, frozenset(counts))


@pytest.fixture(scope="module")
def ray_environment() -> Iterator[Mapping[str, str]]:
    """Ray's files in a folder of our own (short: Ray puts sockets there), and a token of our own."""
    folder = tempfile.mkdtemp(prefix="r")
    token = "a-token-of-the-tests-and-of-nobody-else"
    yield {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    shutil.rmtree(folder, ignore_errors=True)


Launch = Callable[..., Driver]


@pytest.fixture
def launch(talks: Path, cache: Path, tmp_path: Path, ray_environment: Mapping[str, str]) -> Launch:
    """Starts the command as a process, with two workers of Ray."""

    def start(*more: object, program: str = "") -> Driver:
        environment = {"BENCH_CACHE": str(cache), "E2E_SLEEP": str(SLEEP_S), "BENCH_PLUGIN": ""} | dict(ray_environment)
        words = command(talks, tmp_path / "store", "--engine", "ray", "--workers", WORKERS, *more)
        return Driver(words, tmp_path, environment, program)

    return start


def actors(driver: Driver) -> list[int]:
    """The processes of actors."""
    return [pid for pid, name in marked(driver.mark).items() if name.startswith("ray::Worker")]


def check(folder: Path, undisturbed: Undisturbed, twice_at_most: int) -> None:
    """After the last run: same results, only what was in flight done twice, nothing left lying about."""
    store = folder / "store"
    assert_nobody_is_left(str(folder), PATIENCE_S)
    assert not any((store / "tmp").iterdir())
    counts = noted(folder / "notes")
    assert set(counts) == undisturbed.units
    assert sum(counts.values()) - len(counts) <= twice_at_most
    with Store.open(store) as opened:
        report = opened.sweep(dry_run=True)
        assert (report.files, report.scores) == ((), 0)
        assert opened.conflicts() == []
    assert results(store) == undisturbed.results


def test_the_tables_are_those_of_the_local_engine(launch: Launch, tmp_path: Path, undisturbed: Undisturbed) -> None:
    code, out, err = launch().finish(PATIENCE_S)
    assert code == 0, err
    assert "slow-voice" in out and "ray" not in out.lower().replace("array", "")
    check(tmp_path, undisturbed, 0)
    assert sorted(file.name for file in (tmp_path / "store" / "logs").iterdir()) == ["worker-0.log", "worker-1.log"]


def test_actors_that_are_killed_take_nothing_with_them(
    launch: Launch, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    """One in a batch of the generating, one in a batch of the scoring."""
    rng = random.Random(3)
    driver = launch()
    cut = 0
    for point in (5, undisturbed.n_generated + 5):
        assert driver.wait_for(point, PATIENCE_S)
        time.sleep(rng.random() * SLEEP_S)
        os.kill(rng.choice(actors(driver)), signal.SIGKILL)
        cut += 1
    code, out, err = driver.finish(PATIENCE_S)
    assert code == 0, err
    assert "slow-voice" in out and "raylet" not in out
    check(tmp_path, undisturbed, cut * BATCH)


def test_a_driver_that_is_killed_goes_on(launch: Launch, tmp_path: Path, undisturbed: Undisturbed) -> None:
    """Once in the generating, once in the scoring: its cluster ends with it, and the same command does the rest."""
    for point in (7, undisturbed.n_generated + 7):
        driver = launch()
        assert driver.wait_for(point, PATIENCE_S)
        driver.process.kill()
        assert driver.finish(PATIENCE_S)[0] == -signal.SIGKILL
        assert_nobody_is_left(str(tmp_path), PATIENCE_S)
    code, _, err = launch().finish(PATIENCE_S)
    assert code == 0, err
    # a batch per worker, and what came in one poll and was not committed, as much again
    check(tmp_path, undisturbed, 2 * 2 * WORKERS * BATCH)


def test_sigterm_ends_in_an_orderly_way(launch: Launch, tmp_path: Path, undisturbed: Undisturbed) -> None:
    driver = launch()
    assert driver.wait_for(4, PATIENCE_S)
    driver.process.send_signal(signal.SIGTERM)
    code, _, err = driver.finish(PATIENCE_S)
    assert code == 130, err
    assert GO_ON in err and "Traceback" not in err, err
    assert_nobody_is_left(str(tmp_path), PATIENCE_S)
    assert sum(noted(tmp_path / "notes").values()) < len(undisturbed.units)
    assert not any((tmp_path / "store" / "tmp").iterdir())


@pytest.mark.parametrize("program", ["gcs_server", "raylet/raylet"])
def test_a_ray_that_is_gone_ends_the_run_and_the_same_command_goes_on(
    program: str, launch: Launch, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    """The head process or this machine's node manager is killed: exit code 4 in place of waiting for ever."""
    driver = launch(program=IMPATIENT)
    assert driver.wait_for(3, PATIENCE_S)
    for pid, name in marked(driver.mark).items():
        if program in name.split(" ")[0]:
            os.kill(pid, signal.SIGKILL)
    code, _, err = driver.finish(PATIENCE_S)
    assert code == 4, err
    assert "engine 'ray' is gone" in err and GO_ON in err and "Traceback" not in err, err
    assert_nobody_is_left(str(tmp_path), PATIENCE_S)
    code, _, err = launch().finish(PATIENCE_S)
    assert code == 0, err
    check(tmp_path, undisturbed, 2 * WORKERS * BATCH)


@pytest.fixture
def cluster(tmp_path: Path, ray_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A head without workers and two nodes for one worker each, all on this machine."""
    for name, value in {**ray_environment, MARK: str(tmp_path), "E2E_NOTES": str(tmp_path / "notes")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("E2E_SLEEP", str(SLEEP_S))
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
    finally:
        made.shutdown()


def test_a_node_that_is_removed_takes_nothing_with_it(
    cluster: object, launch: Launch, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    driver = launch("--ray-address", cluster.address)
    assert driver.wait_for(5, PATIENCE_S)
    cluster.remove_node(min(cluster.worker_nodes, key=lambda node: node.unique_id), allow_graceful=False)
    code, _, err = driver.finish(PATIENCE_S)
    assert code == 0, err
    cluster.shutdown()
    check(tmp_path, undisturbed, 2 * BATCH)
