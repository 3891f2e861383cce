"""From the settings of a command to the runs that it means: data sets, clips, conditions, systems."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bench
from bench import conditions, engines, pairs, registry, selection, tiers
from bench.config import Effective, RunSettings
from bench.contracts import Dataset, System
from bench.errors import BenchError, DataError, UsageError, blaming, did_you_mean
from bench.generate import stored_outputs
from bench.plan import Inputs, RunPlan, gather_inputs, make_run
from bench.progress import Progress
from bench.records import TASKS, Clip, Condition, Source, Task
from bench.specs import SystemSpec, parse_systems, tts_spec
from bench.store import Store
from bench.tiers import Variant


@dataclass
class Work:
    """The plans of one command. ``before`` are runs whose outputs others need (``--audio tts``).

    ``absent`` names what was to be scored and was never generated.
    """

    plans: list[RunPlan] = field(default_factory=list)
    before: list[RunPlan] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def cache_folder() -> Path:
    """Where indices and the demo corpus are kept: ``$BENCH_CACHE``, else ``bench`` under the user's cache."""
    chosen = os.environ.get("BENCH_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bench"


def open_dataset(name: str, data_root: Path | None) -> Dataset:
    """The dataset of that name over ``data_root``, else over ``$BENCH_DATA``.

    The variable says where the user's data lie, so a data set that is made here does not look there.

    Raises:
        UsageError: unknown, or its root is absent.
    """
    cls: type[Dataset] = registry.get("datasets", name)
    variable = os.environ.get("BENCH_DATA")
    if data_root is None and variable and not cls.made_here:
        data_root = Path(variable)
    return cls(data_root, cache_folder())


def named_systems(settings: RunSettings) -> list[SystemSpec]:
    """The systems of the settings; all names are known.

    Raises:
        UsageError: no system, or an unknown system, data set, engine or setting of a system.
    """
    if not settings.system:
        raise UsageError("no system is named", "--system NAME, for example --system ground-truth.")
    engines.check(settings)  # an unknown engine is refused before any work
    for name in settings.dataset:
        registry.get("datasets", name)
    return parse_systems(settings.system, settings.set)


Listed = dict[tuple[str, str], tuple[list[Clip], str]]


def plan(effective: Effective, store: Store | None, progress: Progress, listed: Listed | None = None) -> Work:
    """All runs that the settings name.

    ``store`` is needed with ``--audio tts`` alone, whose audio are outputs. ``listed`` keeps the clips of data sets
    for further calls.

    Raises:
        UsageError, DataError: before any work, and with what is missing.
    """
    settings = effective.settings
    specs = named_systems(settings)
    work = Work()
    for name in dict.fromkeys(settings.dataset):
        dataset = open_dataset(name, settings.data_root)
        if dataset.notice:
            work.notices.append(dataset.notice)
        _plan_dataset(dataset, specs, effective, store, progress, work, {} if listed is None else listed)
    if not work.plans:
        raise UsageError(
            "nothing to do: no named system shares a task with the data sets under these options",
            "`bench list systems` shows the tasks of each.",
        )
    return work


def _plan_dataset(
    dataset: Dataset,
    specs: Sequence[SystemSpec],
    effective: Effective,
    store: Store | None,
    progress: Progress,
    work: Work,
    listed: Listed,
) -> None:
    settings = effective.settings
    name = _split_name(dataset, settings.split)
    # what can be refused at once is refused before the index, which may take long
    built = _variants(specs, dataset, settings, work)
    pairing, reference = _pairing_name(settings.pairing), _reference_name(settings.reference)
    wanted = {
        task: conditions.condition_for(task, pairing, settings.audio, reference)
        for task in _tasks(dataset, built, settings)
    }
    if (dataset.name, name) not in listed:
        listed[dataset.name, name] = list_clips(dataset, name, progress)
    split, sha = listed[dataset.name, name]
    chosen = selection.select(split, settings.clips, settings.limit)
    for variant in built:
        told = variant.system.preflight([clip.id for clip in chosen])
        work.notices += [f"{variant.spec.label}: {line}" for line in told]
    for task, condition in wanted.items():
        inputs = _inputs(split, condition, settings)
        if condition.audio == "tts":
            condition, inputs = _with_tts(dataset, split, chosen, condition, inputs, effective, sha, store, work)
        for variant in built:
            if task in variant.tasks:
                made = make_run(
                    variant.spec,
                    variant.system,
                    split,
                    chosen,
                    task,
                    condition,
                    inputs,
                    dataset_sha256=sha,
                    **_common(variant.system, task, effective),
                )
                work.plans.append(made)
                work.notices += [note for note in made.notes if note not in work.notices]


def _variants(specs: Sequence[SystemSpec], dataset: Dataset, settings: RunSettings, work: Work) -> list[Variant]:
    """Every system at the tier at which it runs on the data set.

    Raises:
        UsageError: with all that is missing.
    """

    def wanted(task: Task) -> bool:
        if settings.task:
            return task in settings.task
        return task in dataset.tasks and conditions.supports(task, settings.pairing, settings.audio)

    chosen = [tiers.choose(spec, dataset.name, wanted, named=bool(settings.task)) for spec in specs]
    tiers.refuse_missing(chosen, _no_data(dataset))
    work.notices += [notice for one in chosen for notice in one.notices]
    return [variant for one in chosen for variant in one.variants]


def _no_data(dataset: Dataset) -> list[str]:
    """What the data set lacks, a line with its remedy."""
    if dataset.made_here:
        return []
    try:
        dataset.locate()
    except BenchError as error:
        return [f"data set {dataset.name}: {error.message}: {error.hint}"]
    return []


def list_clips(dataset: Dataset, split: str, progress: Progress) -> tuple[list[Clip], str]:
    """All clips of a split, and the hash of their index.

    Raises:
        DataError: none, two with one id, or whatever a plug-in raised.
    """
    with blaming(f"data set {dataset.name!r}: its clips cannot be listed"):
        with progress.callback(f"index {dataset.name}") as report:
            clips = dataset.clips(split, report)
        if not isinstance(clips, list) or not all(isinstance(clip, Clip) for clip in clips):
            raise TypeError(f"clips() returned {type(clips).__name__}, not a list of bench.api.Clip")
        sha = dataset.content_sha256(split) if clips else ""
    if not clips:
        raise DataError(f"{dataset.name}/{split} has no clip", f"`bench data check {dataset.name}` says why.")
    twice = [clip_id for clip_id, count in Counter(clip.id for clip in clips).items() if count > 1]
    if twice:
        shown = ", ".join(repr(clip_id) for clip_id in twice[:5])
        raise DataError(f"{dataset.name}/{split}: {len(twice)} clip ids stand twice: {shown}", "ids must be unique.")
    return clips, sha


def _common(system: System, task: Task, effective: Effective) -> dict[str, Any]:
    from bench import weights

    hashes = {w.name: w.sha256 or weights.source_sha256(w) for w in system.weights_for(task)}
    return {
        "seed": effective.settings.seed,
        "dtype": effective.settings.dtype,
        "weights": hashes,
        "config": effective.record(),
        "environment": environment(),
    }


def environment() -> dict[str, str]:
    """What the numbers were made with; recorded with a run, never hashed."""
    packages = ("av", "numpy", "scipy", "torch", "opencv-python-headless", "dlib-bin", "scikit-image")
    found = {"bench": bench.__version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _split_name(dataset: Dataset, asked: str | None) -> str:
    if asked is None:
        return dataset.default_split
    if asked not in dataset.splits and not dataset.any_split:
        raise UsageError(f"{dataset.name} has no split {asked!r}", did_you_mean(asked, dataset.splits))
    return asked


def _pairing_name(pairing: str) -> str:
    if pairing in {"matched", "cross"}:
        return pairing
    if not Path(pairing).is_file():
        raise UsageError(
            f"--pairing {pairing!r} is neither a pairing nor a file", did_you_mean(pairing, ["matched", "cross"])
        )
    return "file"


def _reference_name(reference: str | None) -> str | None:
    """A path means ``external``."""
    if reference is None or reference in conditions.REFERENCES:
        return reference
    if Path(reference).is_file():
        return "external"
    raise UsageError(
        f"--reference {reference!r} is neither a condition nor a file", did_you_mean(reference, conditions.REFERENCES)
    )


def _tasks(dataset: Dataset, built: Sequence[Variant], settings: RunSettings) -> list[Task]:
    done = {task for variant in built for task in variant.tasks}
    shared = [task for task in TASKS if task in dataset.tasks and task in done]
    if not settings.task:
        finished = [variant.spec.label for variant in built if variant.system.tier == "external"]
        if finished:
            raise UsageError(
                f"{finished[0]}: say which task these files answer", f"--task, one of {', '.join(shared)}."
            )
        return shared
    for variant in built:
        if not set(settings.task) & set(variant.system.tasks):
            raise UsageError(
                f"system {variant.spec.label!r} does none of {', '.join(settings.task)}",
                f"its tasks: {', '.join(variant.system.tasks)}.",
            )
    return [task for task in settings.task if task in shared]


def _inputs(split: Sequence[Clip], condition: Condition, settings: RunSettings) -> Inputs:
    external: Mapping[str, Source] | None = None
    if condition.reference == "external":
        if settings.reference in {None, "external"}:
            raise UsageError("--reference external needs a file", "give --reference FILE: `clip id<TAB>path` lines.")
        external = pairs.read_references(Path(str(settings.reference)), [clip.id for clip in split])
    pairing = settings.pairing if condition.pairing == "file" else condition.pairing
    return gather_inputs(split, pairing, condition.reference, external)


def _with_tts(
    dataset: Dataset,
    split: Sequence[Clip],
    chosen: Sequence[Clip],
    condition: Condition,
    inputs: Inputs,
    effective: Effective,
    sha: str,
    store: Store | None,
    work: Work,
) -> tuple[Condition, Inputs]:
    """Driving audio from a named system's ``tts`` outputs, generated once as a run of its own."""
    variant = _speaker(dataset, effective.settings, work)
    spec, system = variant.spec, variant.system
    # what is spoken is the partner's text, so the run covers the partners of the chosen clips
    spoken = sorted({inputs.partner[clip.id].id for clip in chosen if clip.id in inputs.partner})
    by_id = {clip.id: clip for clip in split}
    voice = effective.settings.set.get("tts_reference")
    tts_condition = conditions.condition_for("tts", "matched", "real", None if voice is None else str(voice))
    if tts_condition.reference == "external":
        raise UsageError("--set tts_reference=external: a file has no place there", "give none, same or other.")
    tts_inputs = gather_inputs(split, "matched", tts_condition.reference, None)
    run = make_run(
        spec,
        system,
        split,
        [by_id[clip_id] for clip_id in spoken],
        "tts",
        tts_condition,
        tts_inputs,
        dataset_sha256=sha,
        **_common(system, "tts", effective),
    )
    if run.record.id not in {p.record.id for p in work.before}:
        work.before.append(run)
    outputs = stored_outputs(store, run.record.id)
    audio = {
        clip.id: Source((store.root / str(outputs[partner.id].audio)).resolve())
        for clip in chosen
        if store is not None
        and (partner := inputs.partner.get(clip.id)) is not None
        and partner.id in outputs
        and outputs[partner.id].status == "ok"
    }
    name = spec.label if system.tier != "embedded" else f"{spec.label}@{system.tier}"
    name += f" ({tts_condition.reference} voice)" if voice is not None else ""
    named = Condition(condition.pairing, f"tts:{name}", condition.reference)
    return named, replace(inputs, tts_audio=audio, tts_run=run.record.id)


def _speaker(dataset: Dataset, settings: RunSettings, work: Work) -> Variant:
    """The system that speaks for ``--audio tts``, at its tier."""
    spec = tts_spec(settings.set)
    chosen = tiers.choose(spec, dataset.name, lambda task: task == "tts", named=True)
    tiers.refuse_missing([chosen])
    work.notices += [notice for notice in chosen.notices if notice not in work.notices]
    variant = chosen.variants[0]
    if "tts" not in variant.tasks:
        raise UsageError(
            f"--set tts_system={spec.label}: it does not do tts", f"its tasks: {', '.join(variant.system.tasks)}."
        )
    return variant
