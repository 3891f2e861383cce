"""What a study says, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.results.stats import Interval
from bench.results.study.answers import Answers, Refused
from bench.results.study.judge import Judged, Summary
from bench.results.study.key import Key

Rows = list[dict[str, str]]


def opinion_rows(summaries: Sequence[Summary]) -> Rows:
    """A table of mean opinion scores."""
    return [
        {
            "question": one.question,
            "system": one.label,
            "MOS": f"{one.mean:.2f}",
            "deviation": f"{one.deviation:.2f}",
            "95 % (t)": _interval(one.interval, 1.0, 2),
            "95 % (people)": _interval(one.over_people, 1.0, 2),
            "ratings": str(one.n),
            "people": str(one.n_people),
        }
        for one in summaries
    ]


def preference_rows(summaries: Sequence[Summary]) -> Rows:
    """A table of shares, per cent."""
    return [
        {
            "system": one.label,
            "against": one.against or "all others",
            "preference %": f"{100 * one.mean:.1f}",
            "95 % (Wilson)": _interval(one.interval, 100.0, 1),
            "95 % (people)": _interval(one.over_people, 100.0, 1),
            "won %": f"{100 * one.wins / one.n:.1f}",
            "tied %": f"{100 * one.ties / one.n:.1f}",
            "lost %": f"{100 * (one.n - one.wins - one.ties) / one.n:.1f}",
            "comparisons": str(one.n),
            "people": str(one.n_people),
        }
        for one in summaries
    ]


def _interval(interval: Interval | None, scale: float, digits: int) -> str:
    if interval is None:
        return "–"
    return f"[{interval.low * scale:.{digits}f}, {interval.high * scale:.{digits}f}]"


def lines(judged: Judged) -> list[str]:
    """What stands below the table."""
    found = [
        f"agreement on {question}: Krippendorff's alpha "
        + ("cannot be told (nothing was judged twice, or all alike)" if alpha is None else f"{alpha:.2f}")
        for question, alpha in judged.agreement.items()
    ]
    if judged.unplayable:
        found.append(f"{judged.unplayable} trials did not play and were not rated")
    return found


def refusals(refused: Sequence[Refused]) -> list[str]:
    """One line per file that does not count."""
    return [f"{one.file}: {one.reason}: {one.detail}" for one in refused]


def as_json(key: Key, accepted: Sequence[Answers], refused: Sequence[Refused], judged: Judged) -> dict[str, Any]:
    """Everything, unrounded."""
    return {
        "study": key.study,
        "kind": key.kind,
        "title": key.title,
        "participants": [person.participant for person in accepted],
        "refused": [asdict(one) for one in refused],
        "results": [asdict(one) for one in judged.summaries],
        "agreement": judged.agreement,
        "unplayable": judged.unplayable,
    }
