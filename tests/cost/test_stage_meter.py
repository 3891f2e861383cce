"""What a stage takes beside its results: told from the engine's times, with a clock of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.records import Outcome
from bench.stage_meter import KEPT, Spent, StageMeter, kept
from bench.store import Store

MEDIA_S = 2.0


class Clock:
    """Time that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def spent(outcome: Outcome) -> Spent:
    """Half a second of each unit is told by its result; the kind is the first letter of its key."""
    return Spent(outcome.key[0], MEDIA_S, 0.5)


def passing(clock: Clock, *arrivals: tuple[float, Outcome]) -> Iterator[Outcome]:
    for at, outcome in arrivals:
        clock.now = 100.0 + at
        yield outcome


def watch(*arrivals: tuple[float, Outcome]) -> StageMeter:
    clock = Clock()
    meter = StageMeter("generate", "cpu", clock)
    seen = list(meter.watch(passing(clock, *arrivals), spent, lambda outcome: outcome.key[0]))
    assert [outcome.key for outcome in seen] == [outcome.key for _, outcome in arrivals]
    return meter


def ok(key: str, seconds: float, worker: int = 0) -> Outcome:
    return Outcome(key, "ok", seconds=seconds, worker=worker)


def test_start_load_and_what_is_beside_are_told_apart() -> None:
    # two workers; the first batch of each (two units of 3 s) loads for 4 s, later units take 0.5 + 0.5 s
    stage = watch(
        *[(9.0, ok(f"a{i}", 3.0, worker=0)) for i in range(2)],
        *[(9.5, ok(f"a{i}", 3.1, worker=1)) for i in (2, 3)],
        *[(10.0 + i, ok(f"a{i + 4}", 1.0 + 0.001 * i, worker=i % 2)) for i in range(6)],
    ).result()
    assert stage is not None
    assert (stage.workers, stage.models, stage.units) == (2, 1, 10)
    assert stage.start_s == pytest.approx(9.0 - 2 * 3.0)
    assert stage.beside["a"] == pytest.approx(0.25, rel=0.02)  # half a second for two of media
    assert stage.load_s == pytest.approx((2 * 2.0 + 2 * 2.1) / 2, rel=0.02)
    assert stage.busy_s == pytest.approx(10 * 1.0, rel=0.02)
    assert stage.wall_s == 15.0
    assert stage.busy == pytest.approx(stage.busy_s / 2 / (15.0 - 3.0 - stage.load_s - stage.longest_s / 2))


def test_kinds_have_their_own_rates_and_each_its_model() -> None:
    stage = watch(
        (1.0, ok("a0", 1.0)), (2.0, ok("a1", 0.9)), (3.0, ok("v0", 2.0)), (4.0, ok("v1", 0.7)), (5.0, ok("v2", 0.7))
    ).result()
    assert stage is not None
    assert stage.models == 2
    assert stage.beside == pytest.approx({"a": 0.2, "v": 0.1})
    assert stage.load_s == pytest.approx((0.1 + 1.3) / 2)


def test_losses_and_failures_say_nothing() -> None:
    assert watch((1.0, Outcome("a0", "lost")), (2.0, Outcome("a1", "failed"))).result() is None
    assert watch().result() is None


def test_one_batch_alone_has_no_rate_beside() -> None:
    stage = watch((1.0, ok("a0", 1.0)), (1.0, ok("a1", 1.0))).result()
    assert stage is not None
    assert stage.beside == {}
    assert 0.05 <= stage.busy <= 1.0


def test_a_store_remembers_the_latest_stages_of_a_device_and_its_digest_does_not_know(tmp_path: Path) -> None:
    meter = watch((1.0, ok("a0", 1.0)), (2.0, ok("a1", 0.9)))
    with Store.open(tmp_path / "store") as store:
        before = store.digest()
        assert kept(store, "generate", "cpu") == []
        for _ in range(KEPT + 2):
            meter.keep(store)
        watch().keep(store)
        assert kept(store, "generate", "cpu") == [meter.result()] * KEPT
        assert kept(store, "generate", "cuda") == kept(store, "score", "cpu") == []
        assert store.digest() == before
