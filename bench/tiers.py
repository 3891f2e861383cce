"""Which tier of a system runs: the one that is asked for, else the best whose files are here.

A system never falls back silently: the small checkpoint that is shipped runs where ``--set tier=embedded`` asks for it,
and on ``demo``, with a line that says so, where the official files are not here. On other data nothing runs then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench import registry, weights
from bench.contracts import System
from bench.errors import NotHereError, UsageError, blaming
from bench.records import Task, Tier
from bench.specs import SystemSpec

#: The data set on which shipped checkpoints run without being asked for.
FALLS_BACK_ON = "demo"


@dataclass(frozen=True)
class Variant:
    """A system at one tier, with the tasks that it is to do there."""

    spec: SystemSpec
    system: System
    tasks: tuple[Task, ...]


@dataclass
class Chosen:
    """What runs of a system.

    ``notices`` are for the user. ``missing`` keeps the command from running; ``other`` is a tier that could run.
    """

    variants: list[Variant] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    other: Tier | None = None


@dataclass(frozen=True)
class _Attempt:
    """One tier tried: its system, or why that cannot be made."""

    spec: SystemSpec
    system: System | None
    refused: str = ""

    def lacks(self, task: Task) -> list[str]:
        if self.system is None:
            return [self.refused]
        if task not in self.system.tasks:
            return [f"tier {self.system.tier} does not do {task}"]
        with blaming(f"system {self.spec.label!r} cannot say what it misses", UsageError):
            return self.system.missing_for(task)


def choose(spec: SystemSpec, dataset: str, wanted: Callable[[Task], bool], *, named: bool) -> Chosen:
    """The system of ``spec`` at the tier, or tiers, at which its tasks run on ``dataset``.

    ``wanted`` says which tasks the command means. Where they are ``named`` each of them must run; else one must.

    Raises:
        UsageError: settings of the system that do not go together.
    """
    cls: type[System] = registry.get("systems", spec.plugin)
    free = cls.tiers if "tier" not in spec.settings else ()
    specs = [replace(spec, settings={**spec.settings, "tier": tier}) for tier in free] or [spec]
    falls_back = dataset == FALLS_BACK_ON
    attempts: list[_Attempt] = []
    for one in specs if falls_back else specs[:1]:
        # what no tier takes is the user's mistake; what one takes is a reason to run that one
        last_chance = one is specs[-1] and all(attempt.system is None for attempt in attempts)
        attempts.append(_attempt(one, optional=falls_back and not last_chance))
    made = [(attempt.spec, attempt.system) for attempt in attempts if attempt.system is not None]
    tasks = [task for task in dict.fromkeys(task for _, system in made for task in system.tasks) if wanted(task)]
    if not tasks:  # nothing is missing: the caller says that there is nothing to do
        return Chosen([Variant(*made[-1], ())])
    lacking = {task: [attempt.lacks(task) for attempt in attempts] for task in tasks}
    places = {task: _first_empty(lines) for task, lines in lacking.items()}
    chosen = Chosen()
    for place, attempt in enumerate(attempts):
        here = tuple(task for task in tasks if places[task] == place)
        if here and attempt.system is not None:
            chosen.variants.append(Variant(attempt.spec, attempt.system, here))
            chosen.notices += [_fallen_back(spec.label, attempt.system, here, attempts[0], lacking)] if place else []
    without = {task: lacking[task][0] for task in tasks if places[task] is None}
    if without and (named or not chosen.variants):
        chosen.missing = [f"{spec.label}: {line}" for line in _by_line(without, len(tasks))]
        chosen.other = _other(specs[len(attempts) :], list(without))
    else:
        chosen.notices += [f"{spec.label}: {task} is left out: {'; '.join(lines)}" for task, lines in without.items()]
    return chosen


def refuse_missing(chosen: Sequence[Chosen], data: Sequence[str] = ()) -> None:
    """Refuse to begin where a system lacks anything; ``data``: what the data set lacks, to be said with it.

    Raises:
        UsageError: with everything that is missing, and where it goes.
    """
    lines = [line for one in chosen for line in one.missing]
    if not lines:
        return
    tiers = dict.fromkeys(one.other for one in chosen if one.other is not None)
    hint = "".join(f"`--set tier={tier}` runs the small checkpoint that is shipped. " for tier in tiers)
    hint += f"`bench weights add` puts files into {weights.folder()}; `bench doctor` says what this machine has."
    raise NotHereError("missing for these systems:\n  " + "\n  ".join([*lines, *data]), hint)


def _attempt(spec: SystemSpec, *, optional: bool) -> _Attempt:
    """``optional``: settings that the tier refuses are a reason to try the next one."""
    try:
        return _Attempt(spec, spec.build())
    except UsageError as error:
        if not optional:
            raise
        return _Attempt(spec, None, error.message)


def _first_empty(found: Sequence[Sequence[str]]) -> int | None:
    return next((place for place, lines in enumerate(found) if not lines), None)


def _fallen_back(
    label: str, system: System, tasks: Sequence[Task], best: _Attempt, lacking: Mapping[Task, Sequence[Sequence[str]]]
) -> str:
    """One line; the list of what is missing is that of ``bench doctor``."""
    lines = list(dict.fromkeys(line for task in tasks for line in lacking[task][0]))
    why = (
        f"{lines[0]}"
        if len(lines) == 1
        else f"{len(lines)} files or packages of tier {best.spec.settings['tier']} are not here"
    )
    return f"{label}: {', '.join(tasks)} in tier {system.tier} (the small checkpoint that is shipped): {why}"


def _by_line(lacking: Mapping[Task, Sequence[str]], n_tasks: int) -> list[str]:
    """What is missing, each line once, with the tasks that it concerns where these are not all."""
    users: dict[str, list[Task]] = {}
    for task, lines in lacking.items():
        for line in lines:
            users.setdefault(line, []).append(task)
    return [line if len(tasks) == n_tasks else f"{', '.join(tasks)}: {line}" for line, tasks in users.items()]


def _other(specs: Sequence[SystemSpec], tasks: Sequence[Task]) -> Tier | None:
    """The first of further tiers at which ``tasks`` would run."""
    for spec in specs:
        attempt = _attempt(spec, optional=True)
        if attempt.system is not None and not any(attempt.lacks(task) for task in tasks):
            return attempt.system.tier
    return None
