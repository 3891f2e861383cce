"""Units that take far longer than usual are run a second time, under a virtual clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_schedule import Clock, FakeEngine, always_ok, units

from bench.records import Job, Outcome, Unit
from bench.schedule import LATE_FACTOR, run

JOB = Job("none:none", None, repeatable=True)
LATE_S = 1.0


@pytest.fixture(scope="module", autouse=True)
def _short_units() -> Iterator[None]:
    """Units take about a second here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.schedule.LATE_S", LATE_S)
        yield


@dataclass
class Uneven(FakeEngine):
    """What a unit takes, and how it ends, depends on how often it has been begun: ``plan(key, time) → (fate, s)``.

    Executions are counted by the unit's own name, whatever the key under which it was submitted.
    """

    plan: Callable[[str, int], tuple[str, float]] = field(default=lambda key, time: ("ok", 1.0))
    begun: Counter = field(default_factory=Counter)

    def submit(self, batch: Sequence[Unit]) -> None:
        plans = []
        for unit in batch:
            name = unit.key.partition("\0")[0]
            plans.append(self.plan(name, self.begun[name]))
            self.begun[name] += 1
        fates = [fate for fate, _ in plans if fate != "ok"]
        self.fate = lambda _: fates[0] if fates else "ok"
        seconds = iter([took for _, took in plans])
        self.seconds = lambda _: next(seconds)
        super().submit(batch)


def engine(workers: int, plan: Callable[[str, int], tuple[str, float]]) -> Uneven:
    return Uneven(Clock(), workers, always_ok, plan=plan)


def finish(fake: FakeEngine, work: Sequence[Unit], job: Job = JOB, **options: object) -> dict[str, Outcome]:
    """One outcome per unit; second records are left out, and are none without a first."""
    found = {}
    for outcome in run(fake, job, work, clock=fake.clock, **options):
        if outcome.again:
            assert found[outcome.key].status == outcome.status == "ok"
        else:
            assert outcome.key not in found, "a unit came out twice"
            found[outcome.key] = outcome
    assert found.keys() == {unit.key for unit in work}
    return found


def slow_first(seconds: float) -> Callable[[str, int], tuple[str, float]]:
    return lambda key, time: ("ok", seconds if key == "u000" and time == 0 else 1.0)


def test_a_slow_worker_is_overtaken() -> None:
    fake = engine(2, slow_first(1000.0))
    found = finish(fake, units(20))
    assert found["u000"].status == "ok"
    assert fake.begun["u000"] == 2 and max(fake.begun[key] for key in found if key != "u000") == 1
    assert fake.clock.now <= 19 + LATE_FACTOR + 1  # the other worker does the rest, and then the copy


def test_nothing_is_copied_while_units_wait_or_before_it_is_late() -> None:
    fake = engine(2, slow_first(2.9))
    finish(fake, units(3))
    assert set(fake.begun.values()) == {1}
    busy = engine(2, lambda key, time: ("ok", 10.0 if key == "u000" else 1.0))
    finish(busy, units(10))
    # late after 3 s, but the other worker had better things to do until all were begun
    assert [key.partition("\0")[0] for (key,) in busy.submitted] == [*(unit.key for unit in units(10)), "u000"]
    assert busy.clock.now == 10


@pytest.mark.parametrize("repeatable", [False, True])
def test_only_jobs_that_allow_it_are_copied(repeatable: bool) -> None:
    fake = engine(2, slow_first(50.0))
    finish(fake, units(4), Job("none:none", None, repeatable=repeatable))
    assert fake.begun["u000"] == 1 + repeatable
    assert (fake.clock.now == 50) == (not repeatable)


def test_a_copy_is_not_worth_it_for_very_short_units() -> None:
    fake = engine(2, lambda key, time: ("ok", LATE_S * 0.9 if key == "u000" else 0.01))
    finish(fake, units(10))
    assert set(fake.begun.values()) == {1}


def test_at_most_one_copy_whichever_comes_first_counts_and_the_other_is_told() -> None:
    """Both copies of the first unit come; the second unit keeps the run going until then."""
    takes = {"u000": [20.0, 5.0], "u001": [40.0, 45.0]}
    fake = engine(3, lambda key, time: ("ok", takes.get(key, [1.0])[time]))
    found = list(run(fake, JOB, units(8), clock=fake.clock))
    assert [(o.key, o.again) for o in found if o.key == "u000"] == [("u000", False), ("u000", True)]
    assert sorted(o.key for o in found if not o.again) == [unit.key for unit in units(8)]
    assert fake.begun["u000"] == fake.begun["u001"] == 2


def test_a_batch_that_is_late_is_shared_out_among_the_idle() -> None:
    """Its units were begun together; each of the two idle workers takes half of them."""
    fake = engine(3, lambda key, time: ("ok", 100.0 if key in {"u000", "u001"} and time == 0 else 1.0))
    work = [Unit(f"u{i:03d}", None, 9.0 - i, "slow" if i < 2 else str(i)) for i in range(6)]
    found = finish(fake, work, batch_size=2)
    assert found["u000"].status == found["u001"].status == "ok"
    assert fake.submitted[0] == ("u000", "u001")
    assert [len(batch) for batch in fake.submitted if "\0" in batch[0]] == [1, 1]


def test_a_lost_original_waits_for_its_copy_and_a_lost_copy_for_its_original() -> None:
    for fates in ([("worker_lost", 20.0), ("ok", 30.0)], [("ok", 30.0), ("worker_lost", 5.0)]):
        fake = engine(2, lambda key, time, fates=fates: fates[time] if key == "u000" else ("ok", 1.0))
        assert finish(fake, units(4))["u000"].status == "ok"
        assert fake.begun["u000"] == 2


def test_losses_of_copies_count_towards_the_attempts() -> None:
    fake = engine(2, lambda key, time: ("worker_lost", 20.0) if key == "u000" else ("ok", 1.0))
    assert finish(fake, units(4), attempts=3)["u000"].status == "lost"
    assert fake.begun["u000"] == 3


def test_a_hanging_unit_is_still_cancelled_when_its_copy_hangs_too() -> None:
    fake = engine(2, lambda key, time: ("hang", 0.0) if key == "u000" else ("ok", 1.0))
    assert finish(fake, units(4), timeout_s=10.0)["u000"].reason == "timeout"
    assert fake.begun["u000"] == 3


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 30),
    workers=st.integers(1, 5),
    batch_size=st.integers(1, 5),
    slow=st.floats(0, 0.5),
    kills=st.floats(0, 0.3),
    duplicates=st.booleans(),
)
def test_random_slowness_and_deaths(
    seed: int, n: int, workers: int, batch_size: int, slow: float, kills: float, duplicates: bool
) -> None:
    """Each unit comes out once, is begun at most once more than without copies, and copies never wait in vain."""
    rng = random.Random(seed)

    def plan(key: str, time: int) -> tuple[str, float]:
        fate = "worker_lost" if rng.random() < kills else "hang" if rng.random() < 0.02 else "ok"
        return fate, rng.random() * (100.0 if rng.random() < slow else 1.0)

    fake = Uneven(Clock(), workers, always_ok, rng=random.Random(seed), duplicates=duplicates, plan=plan)
    work = [Unit(f"u{i:03d}", None, rng.random(), rng.choice("ab")) for i in range(n)]
    found = finish(fake, work, batch_size=batch_size, timeout_s=60.0)
    for key, outcome in found.items():
        assert outcome.status in {"ok", "lost"}
        # three losses and what was in flight beside the last; a loss with others of a batch is one too
        assert fake.begun[key] <= 3 + 1, key
    copies = Counter(key for batch in fake.submitted for key in batch if "\0" in key)
    assert set(copies.values()) <= {1}
    assert fake.closed == 1
