"""The formulas of the cost model: lines through measurements, sums over clips, wall time."""

from __future__ import annotations

import pytest

from bench.cost_model import Amount, Cost, Line, Rate, Stage, cost, fit


def test_lengths_that_differ_tell_fixed_seconds_from_those_per_second() -> None:
    lengths = [1.0, 2.0, 3.0, 4.0] * 3
    found = fit([(length, 0.5 + 0.25 * length) for length in lengths])
    assert found is not None
    assert found == pytest.approx((0.5, 0.25))


def test_lengths_that_are_alike_or_few_give_the_ratio() -> None:
    assert fit([(3.0, 1.5)] * 20) == Line(0.0, 0.5)
    assert fit([(1.0, 2.0), (4.0, 3.0)]) == Line(0.0, 1.0)
    assert fit([]) is None
    assert fit([(0.0, 2.0)]) is None


@pytest.mark.parametrize(("slope", "fixed"), [(-0.2, 2.0), (2.0, -0.5)])
def test_neither_part_is_below_0_and_the_sum_is_kept(slope: float, fixed: float) -> None:
    samples = [(1.0 + i % 4, max(0.0, fixed + slope * (1.0 + i % 4))) for i in range(16)]
    found = fit(samples)
    assert found is not None
    assert min(found) >= 0.0
    amount = Amount.of([length for length, _ in samples])
    assert found.of(amount) == pytest.approx(sum(seconds for _, seconds in samples))


def test_a_set_is_two_numbers_and_its_longest_clip() -> None:
    amount = Amount.of([1.0, 2.0, 4.5])
    assert amount == (3, 7.5, 4.5)
    line = Line(2.0, 0.5)
    assert line.of(amount) == 2.0 * 3 + 0.5 * 7.5
    assert line.longest(amount) == 2.0 + 0.5 * 4.5
    assert Amount.of([]) == (0, 0.0, 0.0)


def test_a_truth_is_paid_for_once() -> None:
    rate = Rate(own=Line(0.0, 0.5), once=Line(0.0, 2.0), samples=10)
    clips = Amount.of([3.0] * 4)
    first, second = cost(rate, clips, clips), cost(rate, clips)
    assert first == Cost(4 * 3.0 * 2.5, 0.0, 7.5)
    assert second == Cost(4 * 3.0 * 0.5, 0.0, 1.5)
    assert first.plus(second) == Cost(36.0, 0.0, 7.5)  # other units: the longest of them
    assert first.within(second) == Cost(36.0, 0.0, 9.0)  # the same units do more


def test_what_rests_on_guesses_is_counted() -> None:
    clips = Amount.of([2.0])
    assert cost(Rate(Line(0.0, 1.0)), clips).guessed_s == 2.0
    assert cost(Rate(Line(0.0, 1.0), samples=1), clips).guessed_s == 0.0
    assert Rate(Line()).basis == "guess"
    assert Rate(Line(), samples=7).basis == "measured on 7"


def test_wall_time_by_the_formula() -> None:
    stage = Stage(start_s=3.0, load_s=5.0, busy=0.8)
    assert stage.wall(800.0, 10, units=100, longest_s=2.0) == pytest.approx(3 + 5 + 800 / 8 + 2.0 * 0.9)
    assert stage.wall(800.0, 1, units=100, longest_s=2.0, models=3) == pytest.approx(3 + 15 + 1000)
    assert stage.wall(0.0, 4, units=0, longest_s=0.0) == 0.0


def test_the_driver_bounds_many_workers_on_small_units() -> None:
    stage = Stage(0.0, 0.0, 1.0)
    walls = [stage.wall(10_000.0, workers, units=1e6, longest_s=0.0) for workers in (1, 10, 1000, 10_000)]
    assert walls == pytest.approx([10_000.0, 1000.0, 200.0, 200.0])


def test_what_a_truth_takes_is_what_the_first_score_took_longer() -> None:
    assert Line(0.0, 2.0).without(Line(0.0, 0.5), 3.0) == Line(0.0, 1.5)
    assert Line(0.0, 0.4).without(Line(0.0, 0.5), 3.0) == Line(0.0, 0.0)
    assert Line(3.0, 1.0).without(Line(0.0, 1.0), 2.0) == Line(0.0, 1.5)
