"""Scores that others computed, as a run of tier ``external`` beside ours.

Nothing here can check how such numbers came about, so they stay apart: the run says that its scores are imported, its
rows are marked and not ranked, and its scores carry no weights of ours, so that none is taken for a score made here.
Importing the same file again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import registry
from bench.api import Task, UsageError
from bench.conditions import condition_for
from bench.errors import ConflictError
from bench.protocols import catalogue
from bench.results.import_columns import Columns, columns, summary
from bench.results.import_file import Line, header, lines
from bench.results.imported import IMPORTED, IMPORTED_WEIGHTS, SETTING
from bench.results.table import Group
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord
from bench.store_scores import same_result

SHOWN = 5  # conflicting results that are named


@dataclass(frozen=True)
class Import:
    """What is to be imported: a file, whose columns mean what, under which name, over which clips.

    ``condition``: pairing, audio and reference where they are given; the others are those of the store's runs, or the
    usual ones where there is none.
    """

    file: Path
    system: str
    dataset: str
    split: str
    task: Task
    maps: Sequence[str] = ()
    clip_column: str | None = None
    condition: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """What became of an import: its run, how many results are new or were there, and lines for the user."""

    run: RunRecord
    new: int
    known: int
    notes: Sequence[str]


@dataclass(frozen=True)
class _Place:
    """The group of the imported run, and the run of that group with most clips, if there is one."""

    group: Group
    beside: RunRecord | None
    clips: Sequence[RunClip]


def import_scores(store: Store, asked: Import, *, force: bool = False) -> Done:
    """Read the file whole, then add its run and results to a store that is open for writing.

    ``force``: results that differ from those of an earlier import replace them.

    Raises:
        UsageError: a name that an installed system has, several conditions in the store, unfit columns.
        DataError: a broken file or faulty lines; nothing is imported then.
        ConflictError: results differ from those of an earlier import; nothing is imported then.
    """
    if asked.system in registry.names("systems"):
        raise UsageError(
            f"--system {asked.system!r} is installed here, and its numbers are made here",
            f"give the imported ones another name, such as {asked.system}-by-others.",
        )
    place = _place(store, asked)
    meaning = columns(header(asked.file), asked.maps, asked.clip_column, asked.task, catalogue())
    found = lines(asked.file, meaning, [clip.clip_id for clip in place.clips])
    run = _run(asked, place, meaning, len(found))
    clips = place.clips or [_unknown_clip(place.group, line.clip_id) for line in found]
    scores = _scores(run, found, {clip.clip_id: clip.reference_sha256 for clip in clips})
    if not store.add_run(run):
        if not force:
            _refuse_other_results(store, run, scores)
        store.update_run(run.id, config=run.config, environment=run.environment, note=run.note)
    store.add_run_clips(run.id, clips)
    store.add_run_protocols(run.id, sorted({pid for line in found for pid in line.results}))
    for line in found:
        store.add_output(OutputRecord(run.id, line.clip_id, "ok", _output(run, line.clip_id)))
    added = store.add_scores([score for _, score in scores], replace=force)
    return Done(run, added.count("new"), added.count("duplicate"), _notes(meaning, place, found))


def _place(store: Store, asked: Import) -> _Place:
    """Where the run belongs: the group of the store's runs of that data set, split and task.

    Raises:
        UsageError: there are several such groups, and the condition does not say which; a part that the task lacks.
    """
    runs: dict[Group, list[RunRecord]] = {}
    for run in store.runs(dataset=asked.dataset, split=asked.split, task=asked.task):
        group = Group(run.dataset, run.split, run.task, run.pairing, run.audio, run.reference)
        if run.tier != "external" and all(getattr(run, name) == value for name, value in asked.condition.items()):
            runs.setdefault(group, []).append(run)
    if len(runs) > 1:
        listed = "\n  ".join(group.title for group in sorted(runs))
        raise UsageError(
            f"the store has several conditions:\n  {listed}", "say which: --pairing, --audio, --reference."
        )
    if not runs:
        told = asked.condition
        usual = condition_for(
            asked.task, told.get("pairing", "matched"), told.get("audio", "real"), told.get("reference")
        )
        group = Group(asked.dataset, asked.split, asked.task, usual.pairing, usual.audio, usual.reference)
        return _Place(group, None, [])
    [(group, beside)] = runs.items()
    clips = {run.id: store.run_clips(run.id) for run in beside}
    fullest = max(beside, key=lambda run: (len(clips[run.id]), run.id))
    return _Place(group, fullest, clips[fullest.id])


def _run(asked: Import, place: _Place, meaning: Columns, n_lines: int) -> RunRecord:
    identity = [IMPORTED, asked.system, *place.group]
    digest = hashlib.sha256(asked.file.read_bytes()).hexdigest()
    return RunRecord(
        id=_sha(*identity)[:16],
        system=asked.system,
        version="unknown",
        tier="external",
        **place.group._asdict(),
        dtype="unknown",
        settings={SETTING: IMPORTED},
        dataset_sha256=place.beside.dataset_sha256 if place.beside else "",
        config={"columns": dict(summary(meaning))},
        environment={"file": asked.file.name, "file_sha256": digest},
        n_split=place.beside.n_split if place.beside else n_lines,
        note=f"scores imported from {asked.file.name}, sha256 {digest[:12]}",
    )


def _unknown_clip(group: Group, clip_id: str) -> RunClip:
    """A clip that no run of the store has: its content is not known, so it is equal to no clip of ours."""
    return RunClip(clip_id, None, _sha("unknown reference", *group, clip_id), 0.0)


def _output(run: RunRecord, clip_id: str) -> str:
    """In place of the hash of an output that is not here."""
    return _sha("imported output", run.id, clip_id)


def _sha(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _scores(run: RunRecord, found: Sequence[Line], references: Mapping[str, str]) -> list[tuple[Line, ScoreRecord]]:
    """The line and the score of every result of the file."""
    return [
        (
            line,
            ScoreRecord(
                _output(run, line.clip_id),
                references[line.clip_id],
                pid,
                IMPORTED_WEIGHTS,
                "failed" if result.kind else "ok",
                result.values,
                result.parts,
                kind=result.kind,
            ),
        )
        for line in found
        for pid, result in line.results.items()
    ]


def _refuse_other_results(store: Store, run: RunRecord, scores: Sequence[tuple[Line, ScoreRecord]]) -> None:
    """Raise ``ConflictError`` where the store has other results of the run."""
    protocols = {score.protocol for _, score in scores}
    before = {pid: dict(store.score_rows(run.id, pid, weights_sha256=IMPORTED_WEIGHTS)) for pid in protocols}
    differing = [
        f"line {line.number}: clip {line.clip_id!r}, {score.protocol}"
        for line, score in scores
        if (there := before[score.protocol].get(line.clip_id)) is not None and not same_result(there, score)
    ]
    if differing:
        named = "\n  ".join(differing[:SHOWN])
        raise ConflictError(
            f"{len(differing)} results differ from those imported before; nothing is imported:\n  {named}",
            "`--force` puts the new ones in their place; another --system keeps both.",
        )


def _notes(meaning: Columns, place: _Place, found: Sequence[Line]) -> list[str]:
    notes = []
    empty = set(meaning.by_protocol()) - {pid for line in found for pid in line.results}
    if empty:
        notes.append(f"no line has a result of {', '.join(sorted(empty))}")
    if meaning.unused:
        notes.append(f"columns left out: {', '.join(meaning.unused)}")
    if place.beside is None:
        notes.append(
            "the store has no run of ours on these clips: ids, speakers and references are not checked; "
            "import again when there is one"
        )
    elif len(found) < len(place.clips):
        notes.append(f"{len(place.clips) - len(found)} of {len(place.clips)} clips are not in the file")
    return notes
