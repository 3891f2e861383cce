"""Systems as named on a command line: ``talker``, ``gateway:wav2lip``, ``outputs:DIR=NAME``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from bench import registry
from bench.contracts import System
from bench.errors import UsageError, blaming, did_you_mean
from bench.records import Tier

#: Keys of ``--set`` that the harness reads itself.
HARNESS_KEYS = frozenset({"tier", "tts_system", "tts_reference"})
TIERS: tuple[Tier, ...] = get_args(Tier)
#: Systems whose name goes on behind a colon.
_WITH_ARGUMENT = frozenset({"outputs", "gateway"})


@dataclass(frozen=True)
class SystemSpec:
    """A system with its settings (``tier`` among them where it was asked for or chosen).

    ``label`` is its name in tables; ``plugin`` its registered name.
    """

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
    speaker = _tts_system(settings)
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
    if "tts_system" in settings and speaker in registry.names("systems") and not problems:
        used |= _parse(speaker, _of_speaker(speaker, settings))[1]
    if "tier" in settings and not problems and not _any_has([*names, speaker], settings["tier"]):
        problems.append(f"--set tier={settings['tier']}: no named system has it. `bench list systems` shows the tiers")
    unknown = [key for key in settings if key not in used]
    if unknown and not problems:
        options = sorted({option for name in names for option in _options(name)} | HARNESS_KEYS)
        problems += [f"--set {key}: no named system has it. {did_you_mean(key, options)}" for key in unknown]
    if problems:
        raise UsageError("\n  ".join(dict.fromkeys(problems)), "`bench info SYSTEM` lists the settings of a system.")
    return specs


def tts_spec(settings: Mapping[str, Any]) -> SystemSpec:
    """The system that speaks for ``--audio tts``: ``tier`` and settings with its name before them concern it.

    Raises:
        UsageError: unknown, or it lacks that tier.
    """
    name = _tts_system(settings)
    return _parse(name, _of_speaker(name, settings))[0]


def _of_speaker(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key == "tier" or key.startswith(f"{name}.")}


def _tts_system(settings: Mapping[str, Any]) -> str:
    return str(settings.get("tts_system", "espeak"))


def tiers_of(cls: type[System]) -> tuple[Tier, ...]:
    """The tiers that a system has, the best first."""
    return cls.tiers or (cls.tier,)


def _any_has(names: Sequence[str], tier: object) -> bool:
    plugins = {_split(name)[0] for name in names} & set(registry.names("systems"))
    return any(tier in tiers_of(registry.get("systems", plugin)) for plugin in plugins)


def _asked_tier(cls: type[System], names: Sequence[str], settings: Mapping[str, Any]) -> tuple[Tier | None, str]:
    """The tier that ``NAME.tier``, or else ``tier``, asks of a system called one of ``names``; and the key of that.

    ``tier`` alone means checkpoints: baselines, gateways and finished outputs have none, and are not concerned.

    Raises:
        UsageError: no such tier, or the system lacks it.
    """
    keys = [key for key in [*(f"{name}.tier" for name in names), "tier"] if key in settings]
    if not keys:
        return None, ""
    key, value = keys[0], settings[keys[0]]
    if value not in TIERS:
        raise UsageError(f"--set {key}={value}: there is no such tier", did_you_mean(str(value), TIERS))
    has = tiers_of(cls)
    if value not in has and (key != "tier" or {"canonical", "embedded"} & set(has)):
        raise UsageError(f"--set {key}={value}: system {names[0]!r} lacks that tier", did_you_mean(value, has))
    return (cast(Tier, value) if value in cls.tiers else None), key


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
    tier, key = _asked_tier(cls, [label, plugin], settings)
    used.add(key)
    return SystemSpec(label, plugin, values | ({"tier": tier} if tier is not None else {})), used


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
