"""Files of answers: which of them count, and why the others do not.

A file is refused, each with its reason, when it is ``broken`` (no JSON of the page, values off the scale, a
checksum that does not fit), ``foreign`` (another study, an unknown participant), ``incomplete``,
``missed-attention``, ``duplicate`` (the same answers again) or ``contradicting`` (two different files of one
participant, neither of which can be told to be the right one).
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bench.metrics.study import SCALE
from bench.results.study.key import Key
from bench.results.study.page import scale_values

SCHEMA = 1
LARGEST_FILE = 4 * 2**20  # bytes; a long session has some hundred kB
Reason = Literal["broken", "foreign", "incomplete", "missed-attention", "duplicate", "contradicting"]
NEITHER, FIRST, SECOND = 0.0, 1.0, 2.0  # answers of a comparison


class Trial(NamedTuple):
    """What was shown and answered; ``ratings`` is empty where a clip did not play."""

    stimuli: tuple[str, ...]
    ratings: Mapping[str, float]


@dataclass(frozen=True)
class Answers:
    """One participant's file that counts."""

    file: str
    participant: str
    trials: Sequence[Trial]
    checksum: str


@dataclass(frozen=True)
class Refused:
    """A file that does not count."""

    file: str
    reason: Reason
    detail: str


class _Refusal(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_all(files: Sequence[Path], key: Key) -> tuple[list[Answers], list[Refused]]:
    """The files that count, by participant, and the others in the order given."""
    found: list[Answers] = []
    refused: dict[Path, Refused] = {}
    for file in files:
        try:
            found.append(_judged(_parsed(file, key), key))
        except _Refusal as refusal:
            refused[file] = Refused(str(file), refusal.reason, refusal.detail)
    kept, twice = _without_repeats(found)
    refused |= {Path(one.file): one for one in twice}
    return kept, [refused[file] for file in dict.fromkeys(files) if file in refused]


def _parsed(file: Path, key: Key) -> Answers:
    """The content of a file whose form is right and that belongs to the study."""
    content = _json(file)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content.get("trials"), list):
        raise _Refusal("broken", f"no answers of a study in schema {SCHEMA}")
    study, participant = str(content.get("study")), str(content.get("participant"))
    if study != key.study:
        raise _Refusal("foreign", f"answers of study {study[:40]!r}, not of {key.study}")
    if participant not in key.sheets:
        raise _Refusal("foreign", f"participant {participant[:40]!r} is none of this study")
    trials = [_trial(trial, number, key) for number, trial in enumerate(content["trials"], 1)]
    if content.get("checksum") != checksum(study, participant, trials):
        raise _Refusal("broken", "the checksum does not fit: the file was cut or altered")
    return Answers(str(file), participant, trials, str(content["checksum"]))


def _json(file: Path) -> Any:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise _Refusal("broken", f"larger than {LARGEST_FILE // 2**20} MiB: no file of answers")
        return json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=_no_number)
    except OSError as error:
        raise _Refusal("broken", f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _Refusal("broken", f"not a JSON file: {error}") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _trial(content: Any, number: int, key: Key) -> Trial:
    """One trial, its values on the scale of its question."""
    where = f"trial {number}"
    stimuli = content.get("stimuli") if isinstance(content, dict) else None
    ratings = content.get("ratings") if isinstance(content, dict) else None
    if (
        not isinstance(stimuli, list)
        or not all(isinstance(name, str) for name in stimuli)
        or not isinstance(ratings, dict)
    ):
        raise _Refusal("broken", f"{where}: not of the form of the page")
    if content.get("unplayable") is True:
        if ratings:
            raise _Refusal("broken", f"{where}: rated although it did not play")
        return Trial(tuple(stimuli), {})
    if set(ratings) != set(key.questions):
        raise _Refusal("broken", f"{where}: answers to {sorted(ratings)}, not to {sorted(key.questions)}")
    allowed = scale_values() if key.kind == "mos" else [NEITHER, FIRST, SECOND]
    for question, value in ratings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
            raise _Refusal("broken", f"{where}: {question} {value!r} is not on the scale")
    return Trial(tuple(stimuli), {name: float(value) for name, value in sorted(ratings.items())})


def checksum(study: str, participant: str, trials: Sequence[Trial]) -> str:
    """What the page writes under ``checksum``: CRC-32 of one line per trial."""
    lines = [study, participant]
    for trial in trials:
        ratings = ",".join(f"{name}={value:g}" for name, value in sorted(trial.ratings.items()))
        lines.append(f"{'+'.join(trial.stimuli)}:{ratings or 'unplayable'}")
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"


def _judged(answers: Answers, key: Key) -> Answers:
    """The same, if the sheet was answered whole, in its order, and attentively."""
    sheet = [tuple(trial) for trial in key.sheets[answers.participant]]
    given = [trial.stimuli for trial in answers.trials]
    if given != sheet[: len(given)]:
        raise _Refusal("broken", "not the trials of this participant's sheet")
    if len(given) < len(sheet):
        raise _Refusal("incomplete", f"{len(given)} of {len(sheet)} trials are answered")
    checks = [trial for trial in answers.trials if is_check(trial.stimuli, key)]
    missed = sum(not _attentive(trial, key) for trial in checks)
    if missed:
        raise _Refusal("missed-attention", f"{missed} of {len(checks)} checks of attention are missed")
    return answers


def is_check(stimuli: Sequence[str], key: Key) -> bool:
    """Whether a trial has a clip that was spoilt on purpose."""
    return any(name in key.checks for name in stimuli)


def _attentive(trial: Trial, key: Key) -> bool:
    """Whether a spoilt clip was noticed: every rating is low, or the other version was preferred."""
    if not trial.ratings:
        return False
    if key.kind == "mos":
        return all(value <= SCALE["attention_at_most"] for value in trial.ratings.values())
    good = FIRST if trial.stimuli[1] in key.checks else SECOND
    return all(value == good for value in trial.ratings.values())


def _without_repeats(found: Sequence[Answers]) -> tuple[list[Answers], list[Refused]]:
    """One file per participant: the first of equal ones; none where files disagree."""
    by_person: defaultdict[str, list[Answers]] = defaultdict(list)
    for answers in found:
        by_person[answers.participant].append(answers)
    kept: list[Answers] = []
    refused: list[Refused] = []
    for person in sorted(by_person):
        first, *others = by_person[person]
        if any(other.trials != first.trials for other in others):
            names = [one.file for one in by_person[person]]
            refused += [
                Refused(name, "contradicting", f"differs from {_other(names, name)}, of the same participant {person}")
                for name in names
            ]
            continue
        kept.append(first)
        refused += [Refused(other.file, "duplicate", f"the same answers as {first.file}") for other in others]
    return kept, refused


def _other(names: Sequence[str], name: str) -> str:
    return next((other for other in names if other != name), name)
