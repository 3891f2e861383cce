"""The scheduler against a fake engine with a virtual clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.contracts import Engine
from bench.errors import EngineLostError
from bench.records import Job, Outcome, Unit
from bench.schedule import run

JOB = Job("none:none", None)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Flight:
    batch: Sequence[Unit]
    end: float  # inf: never by itself
    fate: str
    cancelled: str = ""


@dataclass
class FakeEngine(Engine):
    """``fate(batch)``: ``ok``, ``failed``, ``worker_lost``, ``out_of_memory`` or ``hang``."""

    name: ClassVar[str] = "fake"
    clock: Clock
    workers: int
    fate: object
    seconds: object = lambda unit: unit.cost
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    duplicates: bool = False
    is_alive: bool = True
    deaf: bool = False  # ignores cancel
    flights: list[Flight] = field(default_factory=list)
    submitted: list[tuple[str, ...]] = field(default_factory=list)
    executions: Counter = field(default_factory=Counter)
    started: int = 0
    closed: int = 0

    def start(self, job: Job) -> None:
        self.started += 1

    def close(self) -> None:
        self.closed += 1
        self.flights.clear()

    def alive(self) -> bool:
        return self.is_alive

    def free(self) -> int:
        return self.workers - len(self.flights)

    def submit(self, batch: Sequence[Unit]) -> None:
        assert batch and self.free() > 0
        self.submitted.append(tuple(unit.key for unit in batch))
        self.executions.update(unit.key for unit in batch)
        fate = self.fate(batch)
        took = sum(self.seconds(unit) for unit in batch)
        end = float("inf") if fate == "hang" else self.clock.now + took
        self.flights.append(Flight(batch, end, fate))

    def poll(self, timeout: float) -> list[Outcome]:
        due = min((flight.end for flight in self.flights), default=float("inf"))
        self.clock.now = min(max(due, self.clock.now), self.clock.now + timeout)
        ready = [flight for flight in self.flights if flight.end <= self.clock.now]
        self.flights = [flight for flight in self.flights if flight.end > self.clock.now]
        outcomes = [outcome for flight in ready for outcome in self.outcomes_of(flight)]
        if self.duplicates and outcomes:
            outcomes.append(self.rng.choice(outcomes))
        self.rng.shuffle(outcomes)
        return outcomes

    def outcomes_of(self, flight: Flight) -> list[Outcome]:
        reason = flight.cancelled or flight.fate
        if reason == "ok":
            return [Outcome(unit.key, "ok", record=unit.key, seconds=unit.cost) for unit in flight.batch]
        if reason == "failed":
            return [Outcome(unit.key, "failed", detail="ValueError") for unit in flight.batch]
        return [Outcome(unit.key, "lost", reason=reason) for unit in flight.batch]

    def cancel(self, key: str, reason: str) -> None:
        for flight in self.flights:
            if not self.deaf and any(unit.key == key for unit in flight.batch):
                flight.cancelled, flight.end = reason, self.clock.now


def units(n: int, group: str = "", cost: float = 1.0) -> list[Unit]:
    return [Unit(f"u{i:03d}", None, cost, group) for i in range(n)]


def always_ok(batch: Sequence[Unit]) -> str:
    return "ok"


def finish(engine: FakeEngine, work: Sequence[Unit], **options: object) -> dict[str, Outcome]:
    found = list(run(engine, JOB, work, clock=engine.clock, **options))
    assert len(found) == len({outcome.key for outcome in found}), "a unit came out twice"
    return {outcome.key: outcome for outcome in found}


def test_every_unit_comes_out_once_and_the_engine_is_closed() -> None:
    engine = FakeEngine(Clock(), 2, always_ok)
    found = finish(engine, units(50), batch_size=4)
    assert found.keys() == {unit.key for unit in units(50)}
    assert (engine.started, engine.closed) == (1, 1)
    assert set(engine.executions.values()) == {1}


def test_no_units_leave_the_engine_untouched() -> None:
    engine = FakeEngine(Clock(), 2, always_ok)
    assert finish(engine, []) == {}
    assert engine.started == 0


def test_the_longest_goes_first_and_ties_go_by_key() -> None:
    work = [Unit("a", None, 1.0), Unit("c", None, 5.0), Unit("d", None, 3.0), Unit("b", None, 5.0)]
    engine = FakeEngine(Clock(), 1, always_ok)
    finish(engine, work)
    assert engine.submitted == [("b",), ("c",), ("d",), ("a",)]


def test_a_batch_has_one_group_and_at_most_its_size() -> None:
    work = [Unit(f"{group}{i}", None, 1.0 + i, group) for group in "xyz" for i in range(7)]
    engine = FakeEngine(Clock(), 1, always_ok)
    finish(engine, work, batch_size=3)
    assert all(len({key[0] for key in batch}) == 1 and len(batch) <= 3 for batch in engine.submitted)
    assert len(engine.submitted) == 9  # 3 + 3 + 1 for each group


def test_the_last_units_are_shared_out_among_idle_workers() -> None:
    engine = FakeEngine(Clock(), 4, always_ok)
    finish(engine, units(8), batch_size=8)
    assert [len(batch) for batch in engine.submitted] == [2, 2, 2, 2]


def test_a_lost_batch_is_tried_again_unit_by_unit_and_poison_is_given_up_after_three_losses() -> None:
    engine = FakeEngine(Clock(), 2, lambda batch: "worker_lost" if any(u.key == "u003" for u in batch) else "ok")
    found = finish(engine, units(20), batch_size=5)
    assert found["u003"].status == "lost" and found["u003"].reason == "worker_lost"
    assert all(found[key].status == "ok" for key in found if key != "u003")
    assert engine.executions["u003"] == 3
    assert max(engine.executions[key] for key in found if key != "u003") == 2


def test_the_number_of_attempts_is_kept_for_other_numbers_too() -> None:
    for attempts in (1, 2, 5):
        engine = FakeEngine(Clock(), 1, lambda batch: "worker_lost")
        assert finish(engine, units(1), attempts=attempts)["u000"].status == "lost"
        assert engine.executions["u000"] == attempts


def test_a_failure_is_final_and_a_failed_batch_is_taken_apart() -> None:
    engine = FakeEngine(Clock(), 1, lambda batch: "failed" if any(u.key == "u001" for u in batch) else "ok")
    found = finish(engine, units(4), batch_size=4)
    assert [found[key].status for key in sorted(found)] == ["ok", "failed", "ok", "ok"]
    assert engine.executions["u001"] == 2  # in the batch, then alone; never again
    alone = FakeEngine(Clock(), 1, lambda batch: "failed")
    finish(alone, units(1))
    assert alone.executions["u000"] == 1


def test_out_of_memory_halves_batches_from_then_on() -> None:
    engine = FakeEngine(Clock(), 1, lambda batch: "out_of_memory" if len(batch) > 2 else "ok")
    found = finish(engine, units(16), batch_size=8)
    assert all(outcome.status == "ok" for outcome in found.values())
    sizes = [len(batch) for batch in engine.submitted]
    assert sizes[:3] == [8, 4, 2] and max(sizes[2:]) == 2


def test_out_of_memory_alone_is_recorded() -> None:
    engine = FakeEngine(Clock(), 1, lambda batch: "out_of_memory" if any(u.key == "u002" for u in batch) else "ok")
    found = finish(engine, units(8), batch_size=8)
    assert found["u002"].reason == "out_of_memory"
    assert sum(outcome.status == "ok" for outcome in found.values()) == 7


def test_a_hanging_unit_is_cancelled_at_its_limit_while_others_keep_coming() -> None:
    clock = Clock()
    engine = FakeEngine(clock, 2, lambda batch: "hang" if batch[0].key == "u000" else "ok")
    found = finish(engine, units(100), timeout_s=10.0)
    assert found["u000"].status == "lost" and found["u000"].reason == "timeout"
    assert engine.executions["u000"] == 3
    assert clock.now < 100  # the hang was noticed while the other worker still delivered


def test_a_batch_has_the_time_of_all_its_units() -> None:
    clock = Clock()
    engine = FakeEngine(clock, 1, always_ok)
    found = finish(engine, units(4, cost=9.0), batch_size=4, timeout_s=10.0)
    assert all(outcome.status == "ok" for outcome in found.values()) and len(engine.submitted) == 1


def test_a_silent_dead_engine_is_noticed() -> None:
    clock = Clock()
    engine = FakeEngine(clock, 1, lambda batch: "hang", is_alive=False)
    with pytest.raises(EngineLostError, match="no result for"):
        finish(engine, units(3))
    assert 60 <= clock.now < 70 and engine.closed == 1


def test_a_living_engine_may_be_silent_for_longer() -> None:
    clock = Clock()
    found = finish(FakeEngine(clock, 1, always_ok), units(2, cost=300.0))
    assert len(found) == 2 and clock.now == 600


def test_the_watchdog_waits_ten_times_the_longest_usual_unit() -> None:
    clock = Clock()
    engine = FakeEngine(clock, 1, lambda batch: "hang" if batch[0].key == "u999" else "ok", is_alive=False)
    work = [*units(5, cost=20.0), Unit("u999", None, 0.0)]
    with pytest.raises(EngineLostError):
        finish(engine, work)
    assert 100 + 200 <= clock.now < 100 + 210


def test_an_engine_that_ignores_a_cancel_is_lost() -> None:
    with pytest.raises(EngineLostError, match="did not give u000 back"):
        finish(FakeEngine(Clock(), 1, lambda batch: "hang", deaf=True), units(1), timeout_s=5.0)


def test_stop_drains_what_is_in_flight_and_leaves_the_rest() -> None:
    engine = FakeEngine(Clock(), 2, always_ok)
    found: list[Outcome] = []
    for outcome in run(engine, JOB, units(50), clock=engine.clock, stop=lambda: len(found) >= 10):
        found.append(outcome)
    assert 10 <= len(found) <= 12 and engine.closed == 1
    assert len(found) == sum(engine.executions.values())


def test_leaving_the_loop_closes_the_engine() -> None:
    engine = FakeEngine(Clock(), 2, always_ok)
    outcomes = run(engine, JOB, units(50), clock=engine.clock)
    next(outcomes)
    outcomes.close()
    assert engine.closed == 1


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"attempts": 0}, {"timeout_s": 0.0}])
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        list(run(FakeEngine(Clock(), 1, always_ok), JOB, units(1), **options))


def test_equal_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="same key"):
        list(run(FakeEngine(Clock(), 1, always_ok), JOB, [*units(1), *units(1)]))


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 40),
    workers=st.integers(1, 4),
    batch_size=st.integers(1, 6),
    poison=st.sets(st.integers(0, 39), max_size=3),
    bad=st.sets(st.integers(0, 39), max_size=3),
    hanging=st.sets(st.integers(0, 39), max_size=2),
    kills=st.floats(0, 0.3),
    duplicates=st.booleans(),
)
def test_random_kills_delays_duplicates_and_orders(
    seed: int,
    n: int,
    workers: int,
    batch_size: int,
    poison: set[int],
    bad: set[int],
    hanging: set[int],
    kills: float,
    duplicates: bool,
) -> None:
    rng = random.Random(seed)
    deadly, wrong, slow = ({f"u{i:03d}" for i in chosen} for chosen in (poison, bad, hanging))
    losses: Counter[str] = Counter()

    def fate(batch: Sequence[Unit]) -> str:
        keys = {unit.key for unit in batch}
        if keys & deadly or rng.random() < kills:
            result = "worker_lost"
        elif keys & slow:
            result = "hang"
        else:
            result = "failed" if keys & wrong else "ok"
        if result in ("worker_lost", "hang"):
            losses.update(keys)
        return result

    work = [Unit(f"u{i:03d}", None, rng.random(), rng.choice("ab")) for i in range(n)]
    groups = {unit.key: unit.group for unit in work}
    engine = FakeEngine(
        Clock(), workers, fate, lambda unit: rng.random() * 3, random.Random(seed), duplicates=duplicates
    )
    found = finish(engine, work, batch_size=batch_size, timeout_s=30.0)

    assert found.keys() == groups.keys()
    for key, outcome in found.items():
        if outcome.status == "lost":
            assert losses[key] == 3
        else:
            assert losses[key] < 3 and key not in deadly | slow
            assert (outcome.status == "failed") == (key in wrong)
        assert engine.executions[key] <= 3 + 1  # three losses, or two and a result; a failed batch adds one
    assert all(len({groups[key] for key in batch}) == 1 for batch in engine.submitted)
    assert max(len(batch) for batch in engine.submitted) <= batch_size


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 30), workers=st.integers(1, 4), stops=st.integers(1, 5))
def test_restarted_again_and_again_it_ends_with_the_same_results(seed: int, n: int, workers: int, stops: int) -> None:
    """The driver is cut off at random points; what was yielded before is kept, as in the store."""
    rng = random.Random(seed)
    kept: dict[str, object] = {}
    executions: Counter[str] = Counter()
    for left in reversed(range(stops + 1)):
        engine = FakeEngine(Clock(), workers, always_ok, lambda unit: rng.random())
        outcomes = run(engine, JOB, [unit for unit in units(n) if unit.key not in kept], clock=engine.clock)
        limit = rng.randint(0, n) if left else n + 1
        for _, outcome in zip(range(limit), outcomes, strict=False):
            assert outcome.key not in kept
            kept[outcome.key] = outcome.record
        outcomes.close()
        executions.update(engine.executions)
    assert kept == {unit.key: unit.key for unit in units(n)}
    # Each cut costs at most what was in flight or had come without being taken.
    assert sum(executions.values()) <= n + stops * 2 * workers
