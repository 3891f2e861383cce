"""Systems as named on a command line: ``talker``, ``gateway:wav2lip``, ``outputs:DIR=NAME``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import registry
from bench.contracts import System
from bench.errors import UsageError, blaming, did_you_mean

#: Keys of ``--set`` that the harness reads itself.
HARNESS_KEYS = frozenset({"tier", "tts_system"})
#: Systems whose name goes on behind a colon.
_WITH_ARGUMENT = frozenset({"outputs", "gateway"})


@dataclass(frozen=True)
class SystemSpec:
    """A system with its settings. ``label`` is its name in tables; ``plugin`` its registered name."""

    label: str
    plugin: str
    settings: Mapping[str, Any]

    def build(self) -> System:
        """A new instance (nothing is loaded)."""
        cls = registry.get("systems", self.plugin)
        with blaming(f"system {self.label!r} cannot be made", UsageError):
            made: System = cls(self.settings)
        return made


def parse_systems(names: Sequence[str], settings: Mapping[str, Any]) -> list[SystemSpec]:
    """One spec per name, with the settings of ``--set`` that concern it, validated.

    ``key=value`` goes to every named system that has the option; ``system.key=value`` to one.

    Raises:
        UsageError: unknown systems or settings, values out of range; all of them at once.
    """
    problems: list[str] = []
    specs: list[SystemSpec] = []
    used: set[str] = set(HARNESS_KEYS)
    for name in names:
        try:
            spec, keys = _parse(name, settings)
        except UsageError as error:
            problems.append(f"{error.message}. {error.hint}")
            continue
        other = next((known for known in specs if known.label == spec.label), None)
        if other is not None and other.settings != spec.settings:
            problems.append(f"two systems would be called {spec.label!r}. Give one of them another name")
        if other is None:
            specs.append(spec)
        used |= keys
    unknown = [key for key in settings if key not in used]
    if unknown and not problems:
        options = sorted({option for name in names for option in _options(name)} | HARNESS_KEYS)
        problems += [f"--set {key}: no named system has it. {did_you_mean(key, options)}" for key in unknown]
    if problems:
        raise UsageError("\n  ".join(problems), "`bench info SYSTEM` lists the settings of a system.")
    return specs


def _split(name: str) -> tuple[str, str]:
    plugin, _, argument = name.partition(":")
    return plugin, argument


def _options(name: str) -> list[str]:
    model = registry.get("systems", _split(name)[0]).options()
    return list(model.model_fields) if model is not None else []


def _parse(name: str, settings: Mapping[str, Any]) -> tuple[SystemSpec, set[str]]:
    plugin, argument = _split(name)
    cls: type[System] = registry.get("systems", plugin)
    if argument and plugin not in _WITH_ARGUMENT:
        raise UsageError(
            f"system {name!r}: {plugin} takes no argument after a colon", f"write {plugin!r}; settings go to --set."
        )
    label, values = name, _argument(plugin, argument)
    if plugin == "outputs" and "name" in values:
        label = f"outputs:{values['name']}"
    if plugin == "gateway" and argument.endswith((".yaml", ".yml")):
        label = f"gateway:{Path(argument).stem}"
    model = cls.options()
    used: set[str] = set()
    if model is not None:
        for key, value in settings.items():
            owner, dot, option = key.rpartition(".")
            if option in model.model_fields and (not dot or owner in {plugin, label}):
                values[option] = value
                used.add(key)
        values = _validated(name, model, values)
    return SystemSpec(label, plugin, values), used


def _argument(plugin: str, argument: str) -> dict[str, Any]:
    """What stands after the colon, as settings: the folder of ``outputs``, the adapter of ``gateway``."""
    if plugin == "outputs":
        folder, _, name = argument.rpartition("=") if "=" in argument else (argument, "", "")
        if not folder:
            raise UsageError("system 'outputs' needs a folder", "write outputs:DIR or outputs:DIR=NAME.")
        return {"dir": folder, "name": name or folder.rstrip("/").rsplit("/", 1)[-1]}
    if plugin == "gateway":
        if not argument:
            raise UsageError("system 'gateway' needs an adapter", "write gateway:wav2lip or gateway:FILE.yaml.")
        return {"adapter": argument}
    return {}


def _validated(name: str, model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        return dict(model(**values).model_dump(mode="json"))
    except ValidationError as error:
        lines = [
            f"--set {'.'.join(str(p) for p in e['loc'])} = {e.get('input')!r} for {name}: {e['msg']}"
            for e in error.errors()
        ]
        raise UsageError("\n  ".join(lines), f"`bench info {name}` shows the ranges") from error
