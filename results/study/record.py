"""Judgements as scores of the store, so that tables and reports show them beside other protocols.

A score's key has the hash of the panel (study and accepted answers) where others have their weights: reading
the same answers again changes nothing, reading more of them makes a new panel, and tables show the panel that
was read last.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from bench.metrics.study import PREFERENCE, QUESTIONS
from bench.results.study.answers import Answers
from bench.results.study.judge import Judged, Mark
from bench.results.study.key import Key
from bench.store import Store
from bench.store_records import ScoreRecord


class Recorded(NamedTuple):
    """What :func:`record` did: ``scores`` by protocol, ``absent``: judged outputs that the store has no more."""

    panel: str
    scores: Mapping[str, int]
    absent: int


def panel(key: Key, answers: Sequence[Answers]) -> str:
    """The hash of who judged what how: the study and the accepted answers, in any order."""
    lines = sorted(f"{person.participant} {person.checksum} {_content(person)}" for person in answers)
    return hashlib.sha256("\n".join([key.study, *lines]).encode()).hexdigest()


def _content(person: Answers) -> str:
    return hashlib.sha256(repr([(t.stimuli, sorted(t.ratings.items())) for t in person.trials]).encode()).hexdigest()


def scores(key: Key, judged: Judged, judges: str) -> list[ScoreRecord]:
    """One score per judged output and question; equal outputs of two runs are one."""
    grouped: defaultdict[tuple[str, str, str], list[Mark]] = defaultdict(list)
    for mark in judged.marks:
        stimulus = key.stimuli[mark.stimulus]
        grouped[mark.question, stimulus.output_sha256, stimulus.reference_sha256].append(mark)
    found = []
    for (question, output, reference), marks in sorted(grouped.items()):
        protocol = PREFERENCE.id if key.kind == "preference" else QUESTIONS[question].id
        values, parts = _opinion(marks) if key.kind == "mos" else _preference(marks)
        text = {"study": key.study}
        found.append(ScoreRecord(output, reference, protocol, judges, "ok", values, parts, text, created=_now()))
    return found


def _opinion(marks: Sequence[Mark]) -> tuple[dict[str, float], dict[str, float]]:
    total = sum(mark.value for mark in marks)
    return {"mos": total / len(marks)}, {"rating_sum": total, "ratings": float(len(marks))}


def _preference(marks: Sequence[Mark]) -> tuple[dict[str, float], dict[str, float]]:
    n, points = len(marks), sum(mark.value for mark in marks)
    wins = sum(mark.value == 1.0 for mark in marks)
    ties = sum(mark.value == 0.5 for mark in marks)
    values = {"preference": points / n, "win_rate": wins / n}
    return values, {"points": points, "wins": float(wins), "ties": float(ties), "comparisons": float(n)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def record(store: Store, key: Key, answers: Sequence[Answers], judged: Judged) -> Recorded:
    """Store what was judged. Outputs that the runs have no more keep their scores, but stand in no table."""
    judges = panel(key, answers)
    found = scores(key, judged, judges)
    store.add_scores(found)
    known = {run.id for run in store.runs()}
    held = {o.sha256 for run in key.runs if run.id in known for o in store.outputs(run.id).values()}
    counts: defaultdict[str, int] = defaultdict(int)
    for score in found:
        counts[score.protocol] += 1
    return Recorded(judges, dict(counts), len({score.output_sha256 for score in found} - held))
