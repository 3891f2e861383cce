"""Finds plug-ins: entry points of installed distributions, and ``--plugin FILE.py`` for trials."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from bench.contracts import Control, Dataset, Metric, System
from bench.errors import UsageError, did_you_mean

Group = Literal["systems", "metrics", "datasets"]
_BASES: dict[Group, type] = {"systems": System, "metrics": Metric, "datasets": Dataset}
_trial: dict[Group, dict[str, type]] = {"systems": {}, "metrics": {}, "datasets": {}}


@cache
def _entry_points(group: Group) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"bench.{group}"):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise UsageError(
                f"two plug-ins are registered as {point.name!r} in bench.{group}: {other.value} and {point.value}",
                "uninstall one of the two distributions.",
            )
        found[point.name] = point
    return found


def names(group: Group) -> list[str]:
    """All registered names of a group, sorted."""
    return sorted({*_entry_points(group), *_trial[group]})


def get(group: Group, name: str) -> Any:
    """The plug-in class of that name.

    Raises:
        UsageError: no such name (with the nearest ones), or the plug-in cannot be imported.
    """
    if name in _trial[group]:
        return _trial[group][name]
    point = _entry_points(group).get(name)
    if point is None:
        raise UsageError(f"unknown {group[:-1]} {name!r}", did_you_mean(name, names(group), f"bench list {group}"))
    try:
        plugin = point.load()
    except (Exception, SystemExit) as error:
        dist = point.dist.name if point.dist else "unknown distribution"
        raise UsageError(
            f"{group[:-1]} {name!r} ({point.value}, from {dist}) cannot be imported: {type(error).__name__}: {error}",
            "install what it misses, or uninstall that distribution.",
        ) from error
    return _checked(group, name, plugin)


def _checked(group: Group, name: str, plugin: object) -> type:
    base = _BASES[group]
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise UsageError(
            f"{group[:-1]} {name!r} is {plugin!r}, which is no subclass of bench.api.{base.__name__}",
            "the entry point must name the class.",
        )
    tier = getattr(plugin, "tier", None)
    if issubclass(plugin, Control) and isinstance(tier, str) and tier not in {"control", "external"}:
        raise UsageError(
            f"system {name!r} looks at the truth (bench.api.Control) and claims tier {plugin.tier!r}",
            "a Control has tier 'control' or 'external'; what may be ranked is a System.",
        )
    return plugin


def _refuse_taken(path: Path, group: Group, name: str) -> None:
    """Results under an installed plug-in's name would be taken for its own."""
    point = _entry_points(group).get(name)
    if point is not None:
        raise UsageError(
            f"--plugin {path}: {group[:-1]} {name!r} is the name of an installed one ({point.value})",
            "give it another name.",
        )


def load_file(path: Path) -> list[str]:
    """Register every plug-in class that a Python file defines; returns ``group/name`` of each.

    The file must be importable again in worker processes, which load it by the same path.
    """
    if not path.is_file():
        wrong = "is a folder" if path.is_dir() else "no such file"
        raise UsageError(f"--plugin {path}: {wrong}", "give the path of a Python file.")
    module_name = f"bench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--plugin {path}: not a Python file", "its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise UsageError(f"--plugin {path}: {type(error).__name__}: {error}", "mend the file.") from error
    added = []
    for value in vars(module).values():
        for group, base in _BASES.items():
            own = isinstance(value, type) and issubclass(value, base) and value.__module__ == module_name
            if own and isinstance(getattr(value, "name", None), str):
                _refuse_taken(path, group, value.name)
                _trial[group][value.name] = _checked(group, value.name, value)
                added.append(f"{group}/{value.name}")
    if not added:
        raise UsageError(
            f"--plugin {path}: defines no System, Metric or Dataset with a name",
            "subclass one of bench.api and set `name`.",
        )
    return added
