"""The key of a study: which name stands for which system. It stays with the experimenter.

The public part (what the page holds) and the key are bound by ``study``, the hash of the public part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.api import UsageError

SCHEMA = 1
KINDS = ("mos", "preference")


class KeyRun(NamedTuple):
    """A run of the study."""

    id: str
    label: str
    system: str
    dataset: str
    split: str
    task: str


class Stimulus(NamedTuple):
    """One system's version of a clip, by content: what a score in the store is keyed by."""

    run: str
    clip: str
    output_sha256: str
    reference_sha256: str


@dataclass(frozen=True)
class Key:
    """Everything that reading the answers needs.

    ``stimuli``: by blinded name. ``checks``: blinded name of a spoilt clip -> its clip. ``sheets``: the trials of each
    participant's code, as names of stimuli.
    """

    study: str
    kind: str
    title: str
    seed: int
    questions: Sequence[str]
    runs: Sequence[KeyRun]
    stimuli: Mapping[str, Stimulus]
    checks: Mapping[str, str]
    sheets: Mapping[str, Sequence[Sequence[str]]]

    def label(self, run_id: str) -> str:
        """The name of a run in tables."""
        return next(run.label for run in self.runs if run.id == run_id)


def study_id(public: Mapping[str, Any]) -> str:
    """The hash of what the page holds (16 hex digits)."""
    text = json.dumps(public, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save(key: Key, path: Path) -> None:
    """Write the key as JSON; codes in the order in which sheets are balanced."""
    content = {"schema": SCHEMA, **asdict(key)}
    content["runs"] = [run._asdict() for run in key.runs]
    content["stimuli"] = {name: stimulus._asdict() for name, stimulus in key.stimuli.items()}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path) -> Key:
    """The key in a file.

    Raises:
        UsageError: no such file, or it is no key of a study.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"--study {path}: {error.strerror}", "`bench study make` writes it beside its folder."
        ) from error
    except ValueError as error:
        raise UsageError(f"--study {path}: not a JSON file ({error})", "give the key that was made.") from error
    hint = "give the .key.json that `bench study make` wrote beside its folder."
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise UsageError(f"--study {path}: no key of a study in schema {SCHEMA}", hint)
    try:
        content["runs"] = [KeyRun(**run) for run in content["runs"]]
        content["stimuli"] = {name: Stimulus(**stimulus) for name, stimulus in content["stimuli"].items()}
        content["sheets"] = {code: [tuple(trial) for trial in sheet] for code, sheet in content["sheets"].items()}
        return Key(**content)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--study {path}: an incomplete or altered key ({error})", hint) from error
