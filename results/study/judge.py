"""From answers and key to what each system was given: opinions, comparisons, their summaries.

A *mark* is one number that one person gave to one stimulus: an opinion, or the points of a comparison (1 won,
½ tied, 0 lost), which both of its sides get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from bench.results.stats import Interval, Vector
from bench.results.study.answers import NEITHER, SECOND, Answers, Trial, is_check
from bench.results.study.key import Key
from bench.results.study.statistics import krippendorff_alpha, people_interval, t_interval, wilson_interval


class Mark(NamedTuple):
    """``against``: the stimulus on the other side, ``""`` for an opinion."""

    question: str
    person: str
    stimulus: str
    value: float
    against: str = ""


@dataclass(frozen=True)
class Summary:
    """One system under one question. ``interval``: t for opinions, Wilson's for shares; ``people``: bootstrap.

    ``against``: the other system of a comparison, ``""``: all of them. ``wins`` and ``ties`` are of comparisons.
    """

    question: str
    label: str
    mean: float
    deviation: float
    n: int
    n_people: int
    interval: Interval | None
    over_people: Interval | None
    against: str = ""
    wins: int = 0
    ties: int = 0


@dataclass(frozen=True)
class Judged:
    """All that the accepted answers say. ``agreement``: Krippendorff's alpha by question; ``unplayable``: trials."""

    marks: Sequence[Mark]
    summaries: Sequence[Summary]
    agreement: dict[str, float | None]
    unplayable: int


def judge(answers: Sequence[Answers], key: Key) -> Judged:
    """Marks, summaries by question and system (best first), and agreement; checks of attention do not count."""
    marks: list[Mark] = []
    unplayable = 0
    for person in answers:
        for trial in person.trials:
            if not is_check(trial.stimuli, key):
                marks += _marks(trial, person.participant)
                unplayable += not trial.ratings
    agreement = {question: _agreement(marks, question, key) for question in key.questions}
    return Judged(marks, _summaries(marks, key), agreement, unplayable)


def _marks(trial: Trial, person: str) -> list[Mark]:
    found = []
    for question, value in trial.ratings.items():
        if len(trial.stimuli) == 1:
            found.append(Mark(question, person, trial.stimuli[0], value))
            continue
        first, second = trial.stimuli
        points = 0.5 if value == NEITHER else 0.0 if value == SECOND else 1.0
        found += [Mark(question, person, first, points, second), Mark(question, person, second, 1 - points, first)]
    return found


def _summaries(marks: Sequence[Mark], key: Key) -> list[Summary]:
    found: list[Summary] = []
    for question in key.questions:
        asked = [mark for mark in marks if mark.question == question]
        of_run = {run.id: [mark for mark in asked if key.stimuli[mark.stimulus].run == run.id] for run in key.runs}
        overall = [_summary(question, key, run_id, own) for run_id, own in of_run.items() if own]
        found += sorted(overall, key=lambda one: (-one.mean, one.label))
        if key.kind == "preference":
            found += _pairs(question, key, of_run)
    return found


def _pairs(question: str, key: Key, of_run: dict[str, list[Mark]]) -> list[Summary]:
    """Each pair of systems that was compared, seen from the one that is named first in the study."""
    found = []
    for first, second in combinations([run.id for run in key.runs], 2):
        own = [mark for mark in of_run[first] if key.stimuli[mark.against].run == second]
        if own:
            found.append(_summary(question, key, first, own, key.label(second)))
    return found


def _summary(question: str, key: Key, run_id: str, marks: Sequence[Mark], against: str = "") -> Summary:
    values: Vector = np.array([mark.value for mark in marks], dtype=np.float64)
    people = [mark.person for mark in marks]
    opinions = key.kind == "mos"
    interval = t_interval(values) if opinions else wilson_interval(float(values.sum()), len(values))
    return Summary(
        question=question,
        label=key.label(run_id),
        mean=float(values.mean()),
        deviation=float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        n=len(values),
        n_people=len(set(people)),
        interval=interval,
        over_people=people_interval(values, people),
        against=against,
        wins=0 if opinions else int(np.sum(values == 1.0)),
        ties=0 if opinions else int(np.sum(values == 0.5)),
    )


def _agreement(marks: Sequence[Mark], question: str, key: Key) -> float | None:
    """Over stimuli that several people judged; a comparison counts once, from its smaller name."""
    own = [mark for mark in marks if mark.question == question and (not mark.against or mark.stimulus < mark.against)]
    units = [f"{mark.stimulus} {mark.against}" for mark in own]
    values = np.array([mark.value for mark in own], dtype=np.float64)
    return krippendorff_alpha(units, values, "interval" if key.kind == "mos" else "nominal")
