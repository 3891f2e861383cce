"""Build a study: runs of a store become a folder for participants, and a key that stays outside of it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.api import DataError, Unscorable, UsageError, did_you_mean
from bench.metrics.study import QUESTIONS
from bench.progress import Progress
from bench.results.labels import tell_apart
from bench.results.study import design, media, page, sources
from bench.results.study.key import KINDS, Key, KeyRun, Stimulus, save, study_id
from bench.results.table import Group
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord

_NAME_DIGITS = 16  # of the hash that names a stimulus


@dataclass(frozen=True)
class Plan:
    """What a study is made of. ``clips``: how many; ``participants``: how many codes and sheets."""

    kind: str = "mos"
    questions: Sequence[str] = ("naturalness", "sync")
    clips: int = 20
    participants: int = 24
    seed: int = 0
    title: str = "Listening and viewing study"


@dataclass(frozen=True)
class Made:
    """What :func:`make` wrote. ``trials``: of one participant, checks among them; ``licence``: of the media in it."""

    key: Key
    folder: Path
    key_file: Path
    trials: int
    checks: int
    balanced_every: int
    licence: str


def chosen(store: Store, names: Sequence[str]) -> list[RunRecord]:
    """The runs that ``names`` mean (ids, prefixes of ids, or systems with one run), in that order.

    Raises:
        UsageError: an unknown name, a system of several runs, a run named twice, runs of unlike groups.
    """
    runs: list[RunRecord] = []
    for name in names:
        of_system = store.runs(system=name)
        if len(of_system) > 1:
            ids = ", ".join(f"{run.id[:12]} ({_group(run).title})" for run in of_system[:8])
            raise UsageError(f"{name!r} has {len(of_system)} runs in this store: {ids}", "name the run's id.")
        run = of_system[0] if of_system else _by_id(store, name)
        if any(run.id == other.id for other in runs):
            raise UsageError(f"run {run.id[:12]} ({run.system}) is named twice", "name each run once.")
        runs.append(run)
    titles = {_group(run).title for run in runs}
    if len(titles) > 1:
        raise UsageError("one study has one data set, task and condition, not: " + "; ".join(sorted(titles)), "")
    return runs


def _by_id(store: Store, name: str) -> RunRecord:
    try:
        return store.run(name)
    except UsageError as error:
        systems = {run.system for run in store.runs()}
        hint = did_you_mean(name, systems, "bench runs list")
        raise UsageError(f"{name!r} is neither a run nor a system of this store", hint) from error


def _group(run: RunRecord) -> Group:
    return Group(run.dataset, run.split, run.task, run.pairing, run.audio, run.reference)


def make(
    store: Store, runs: Sequence[RunRecord], plan: Plan, folder: Path, key_file: Path, data_root: Path | None,
    progress: Progress,
) -> Made:  # fmt: skip
    """Write the study of ``runs`` into ``folder`` and its key into ``key_file``.

    Equal arguments and contents give equal bytes.

    Raises:
        UsageError: options that do not go together, a folder in use, a key inside of it.
        DataError: too few clips that every run has; media that are gone or cannot be decoded.
    """
    _check(plan, runs)
    _check_places(folder, key_file)
    clips = _clips(store, runs, plan)
    outputs = [store.outputs(run.id) for run in runs]
    names = _names(plan, runs, clips, outputs)
    references = [{clip.clip_id: clip.reference_sha256 for clip in store.run_clips(run.id)} for run in runs]
    key, data = _key(plan, runs, clips, outputs, references, names)
    found = sources.given(store, runs[0], [clip.clip_id for clip in clips], data_root, progress)
    partial = folder.with_name(folder.name + ".partial")  # nobody gets half a study
    shutil.rmtree(partial, ignore_errors=True)
    page.write_page(partial, data)
    _write_media(store, runs, key, outputs, found, partial / "media", progress)
    save(key, key_file)
    if folder.is_dir():
        folder.rmdir()
    partial.rename(folder)
    trials = len(next(iter(key.sheets.values())))
    period = design.period(plan.kind, len(runs))
    return Made(key, folder, key_file, trials, len(names.checks), period, found.licence)


def _check(plan: Plan, runs: Sequence[RunRecord]) -> None:
    if plan.kind not in KINDS:
        raise UsageError(f"--kind {plan.kind!r} is unknown", did_you_mean(plan.kind, KINDS))
    known = QUESTIONS if plan.kind == "mos" else ("preference",)
    for question in plan.questions:
        if question not in known:
            raise UsageError(
                f"--questions {question!r} is unknown for --kind {plan.kind}", did_you_mean(question, known)
            )
    if not plan.questions:
        raise UsageError("--questions is empty", f"known: {', '.join(known)}.")
    if plan.kind == "preference" and len(runs) < 2:
        raise UsageError("a preference needs at least two runs", "name more runs, or use --kind mos.")
    task = runs[0].task
    if task == "tts" and "sync" in plan.questions:
        raise UsageError("--questions sync: speech alone (task tts) has no lips", "--questions naturalness.")
    for name, number in (("--clips", plan.clips), ("--participants", plan.participants)):
        if number < 1:
            raise UsageError(f"{name} {number}: at least 1", "")


def _check_places(folder: Path, key_file: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"-o {folder} is there already", "people may be using it: name a new folder.")
    if key_file.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"--key {key_file} lies inside the folder for participants", "keep the key outside of it.")
    if key_file.exists():
        raise UsageError(f"--key {key_file} is there already", "without its key a study cannot be read: name another.")
    key_file.parent.mkdir(parents=True, exist_ok=True)


def _clips(store: Store, runs: Sequence[RunRecord], plan: Plan) -> list[RunClip]:
    """The clips of the study: of those that every run has an output for, a sample by the seed, even over speakers."""
    having = [{c for c, output in store.outputs(run.id).items() if output.status == "ok"} for run in runs]
    common = [clip for clip in store.run_clips(runs[0].id) if all(clip.clip_id in ids for ids in having)]
    if len(common) < plan.clips:
        raise DataError(
            f"--clips {plan.clips}: only {len(common)} clips have an output of every run",
            "ask for fewer, or generate what is missing.",
        )
    drawn = sorted(common, key=lambda c: hashlib.sha256(f"{plan.seed}:{c.clip_id}".encode()).digest())
    seen: dict[str | None, int] = {}
    turns = {}
    for clip in drawn:
        turns[clip.clip_id] = seen[clip.speaker] = seen.get(clip.speaker, 0) + 1
    return sorted(drawn, key=lambda c: turns[c.clip_id])[: plan.clips]


def _names(
    plan: Plan, runs: Sequence[RunRecord], clips: Sequence[RunClip], outputs: Sequence[dict[str, OutputRecord]]
) -> design.Names:
    """Blinded names. The secret in them is the content of the outputs, which participants do not have."""
    contents = [outputs[k][clip.clip_id].sha256 or "" for clip in clips for k in range(len(runs))]
    secret = hashlib.sha256("\n".join([str(plan.seed), plan.kind, *contents]).encode()).hexdigest()

    def name(*parts: str) -> str:
        return hashlib.sha256("\n".join([secret, *parts]).encode()).hexdigest()[:_NAME_DIGITS]

    stimuli = [[name(run.id, clip.clip_id) for run in runs] for clip in clips]
    n_checks = design.n_checks(plan.kind, len(clips), len(runs))
    checks: list[design.Trial] = []
    for number in range(n_checks):
        clip = number % len(clips)
        spoilt = name("check", str(number), clips[clip].clip_id)
        checks.append((spoilt,) if plan.kind == "mos" else (stimuli[clip][0], spoilt))
    return design.Names(stimuli, checks)


def _key(
    plan: Plan, runs: Sequence[RunRecord], clips: Sequence[RunClip], outputs: Sequence[dict[str, OutputRecord]],
    references: Sequence[dict[str, str]], names: design.Names,
) -> tuple[Key, dict[str, object]]:  # fmt: skip
    """The key, and what the page holds."""
    labels = tell_apart(runs)
    stimuli = {
        names.stimuli[c][k]: Stimulus(
            run.id, clip.clip_id, outputs[k][clip.clip_id].sha256 or "", references[k][clip.clip_id]
        )
        for c, clip in enumerate(clips)
        for k, run in enumerate(runs)
    }
    checks = {check[-1]: clips[number % len(clips)].clip_id for number, check in enumerate(names.checks)}
    order = sorted([*stimuli, *checks])
    place = {name: number for number, name in enumerate(order)}
    people = design.codes(plan.participants, plan.seed, "".join(order))
    sheets = {code: design.sheet(plan.kind, names, p, plan.seed) for p, code in enumerate(people)}
    shown = {code: [[place[name] for name in trial] for trial in sheet] for code, sheet in sheets.items()}
    data: dict[str, object] = page.public_data(plan.kind, plan.title, runs[0].task, plan.questions, order, shown)
    study = study_id(data)
    key_runs = [KeyRun(run.id, labels[run.id], run.system, run.dataset, run.split, run.task) for run in runs]
    key = Key(study, plan.kind, plan.title, plan.seed, list(plan.questions), key_runs, stimuli, checks, sheets)
    return key, {**data, "study": study}


def _write_media(
    store: Store, runs: Sequence[RunRecord], key: Key, outputs: Sequence[dict[str, OutputRecord]],
    found: sources.Given, folder: Path, progress: Progress,
) -> None:  # fmt: skip
    """All stimuli, in the order of their names, so that the times of the files say nothing either."""
    place = {run.id: k for k, run in enumerate(runs)}
    suffix = ".wav" if runs[0].task == "tts" else ".mp4"
    todo = sorted([*key.stimuli, *key.checks])
    with progress.stage("media", len(todo)) as bar:
        for name in todo:
            spoilt = name in key.checks
            k = 0 if spoilt else place[key.stimuli[name].run]
            clip = key.checks[name] if spoilt else key.stimuli[name].clip
            seen = sources.streams(store, runs[k], outputs[k][clip], found)
            try:
                media.write(folder / f"{name}{suffix}", seen.video, seen.audio, spoilt=spoilt, seed=int(name[:8], 16))
            except Unscorable as error:
                raise DataError(f"{runs[k].system}, clip {clip}: {error}", "leave that run or clip out.") from error
            bar.advance(True)
