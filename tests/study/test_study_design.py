"""Who judges what: balance, order, determinism."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from bench.results.study import design
from bench.results.study.design import Names


def names(n_clips: int, n_systems: int, kind: str = "mos", n_checks: int = 2) -> Names:
    stimuli = [[f"{c}/{k}" for k in range(n_systems)] for c in range(n_clips)]
    checks = [(f"x{i}",) if kind == "mos" else (stimuli[0][0], f"x{i}") for i in range(n_checks)]
    return Names(stimuli, checks)


def judged(sheet: list[design.Trial]) -> list[design.Trial]:
    return [trial for trial in sheet if not any(name.startswith("x") for name in trial)]


@pytest.mark.parametrize(("n_clips", "n_systems"), [(40, 3), (12, 5), (60, 4), (7, 1)])
def test_every_version_is_heard_equally_often_after_a_period(n_clips: int, n_systems: int) -> None:
    made = names(n_clips, n_systems)
    sheets = [design.sheet("mos", made, p, 0) for p in range(design.period("mos", n_systems))]
    heard = Counter(trial for sheet in sheets for trial in judged(sheet))
    assert len(heard) == n_clips * n_systems
    assert set(heard.values()) == {design.rounds("mos", n_clips, n_systems)}


@pytest.mark.parametrize(("n_clips", "n_systems"), [(40, 3), (30, 4), (9, 2)])
def test_every_pair_stands_equally_often_at_either_side_after_a_period(n_clips: int, n_systems: int) -> None:
    made = names(n_clips, n_systems, "preference")
    sheets = [design.sheet("preference", made, p, 0) for p in range(design.period("preference", n_systems))]
    heard = Counter(trial for sheet in sheets for trial in judged(sheet))
    assert len(heard) == n_clips * n_systems * (n_systems - 1)  # ordered pairs
    assert len(set(heard.values())) == 1


def test_systems_are_spread_over_one_sheet() -> None:
    sheet = judged(design.sheet("mos", names(60, 4), 2, 0))
    assert len(sheet) == 60
    assert set(Counter(trial[0].split("/")[1] for trial in sheet).values()) == {15}


def test_a_session_stays_short_and_few_clips_are_heard_from_all_systems() -> None:
    assert design.rounds("mos", 20, 4) == 3
    assert design.rounds("mos", 8, 4) == 4
    assert design.rounds("mos", 200, 4) == 1
    assert design.rounds("preference", 10, 3) == 3


def test_one_clip_never_stands_twice_in_a_row() -> None:
    for person in range(40):
        sheet = judged(design.sheet("mos", names(4, 5), person, 1))
        clips = [trial[0].split("/")[0] for trial in sheet]
        assert all(first != second for first, second in pairwise(clips)), person


def test_orders_differ_between_people_and_seeds_and_are_the_same_again() -> None:
    made = names(10, 3)
    assert design.sheet("mos", made, 0, 0) == design.sheet("mos", made, 0, 0)
    assert design.sheet("mos", made, 0, 0) != design.sheet("mos", made, 3, 0)
    assert design.sheet("mos", made, 0, 0) != design.sheet("mos", made, 0, 1)


@pytest.mark.parametrize("n_clips", [1, 2, 5, 60])
def test_checks_are_all_there_and_never_first(n_clips: int) -> None:
    made = names(n_clips, 2, n_checks=design.n_checks("mos", n_clips, 2))
    for person in range(20):
        sheet = design.sheet("mos", made, person, 0)
        found = [trial for trial in sheet if trial[0].startswith("x")]
        assert sorted(found) == sorted(made.checks)
        assert not sheet[0][0].startswith("x")


def test_a_check_of_a_comparison_stands_at_both_sides_over_people() -> None:
    made = names(6, 2, "preference")
    sides = Counter(
        trial[0].startswith("x")
        for person in range(30)
        for trial in design.sheet("preference", made, person, 0)
        if any(name.startswith("x") for name in trial)
    )
    assert min(sides[True], sides[False]) > 10


def test_codes_are_different_stable_and_of_clear_characters() -> None:
    found = design.codes(500, 0, "study")
    assert len(set(found)) == 500
    assert found[:10] == design.codes(10, 0, "study")
    assert found[:10] != design.codes(10, 1, "study")
    assert set("".join(found)) <= set(design.ALPHABET)
    assert not set("01OIL") & set(design.ALPHABET)
