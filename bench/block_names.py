"""Whether the names in a block mean something: systems and their settings, metrics, data sets, papers' tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench import protocols, registry
from bench.blocks import (
    DEFAULT,
    Fault,
    Place,
    Printed,
    Row,
    TableBlock,
    Tables,
    concerns,
    condition_of,
    options_of,
    used_settings,
)
from bench.errors import NotHereError, UsageError, did_you_mean
from bench.specs import HARNESS_KEYS, parse_systems, tiers_of


def check(tables: Tables, shared: Mapping[str, Any]) -> list[str]:
    """Names that are unknown or stand twice, in all blocks; ``shared`` are the settings of ``--set``.

    Plug-ins must have been loaded.
    """
    problems = tier_faults(tables.blocks, shared)
    for index, block in enumerate(tables.blocks):
        found = [*faults(block, shared), *_twice(tables.blocks[:index], block)]
        problems += [f"{tables.origin(index, *fault.place)}: {block.name}: {fault.text}" for fault in found]
    unused = set(shared) - used_settings(tables.blocks, shared)
    known = [key for block in tables.blocks for row in block.systems for key in options_of(row.system)]
    problems += [f"set {key}: no system of the tables has it. {did_you_mean(key, known)}" for key in sorted(unused)]
    return problems


def _twice(before: Iterable[TableBlock], block: TableBlock) -> Iterator[Fault]:
    if any(other.name == block.name for other in before):
        yield Fault(("name",), f"two blocks are called {block.name!r}. Give one of them another name")
    for index, row in enumerate(block.systems):
        if any(other.label == row.label for other in block.systems[:index]):
            yield Fault(("systems", index), f"two rows are called {row.label!r}. Give one of them another `name`")


def faults(block: TableBlock, shared: Mapping[str, Any]) -> Iterator[Fault]:
    """Everything wrong with the names of a block; ``shared`` are settings from outside of it."""
    for key in block.set:
        if not any(concerns(key, row.system) for row in block.systems):
            known = {*HARNESS_KEYS, *(option for row in block.systems for option in options_of(row.system))}
            yield Fault(("set", key), f"set {key}: no system of the block has it. {did_you_mean(key, known)}")
    for index, row in enumerate(block.systems):
        yield from _row(block, row, index, shared)
    yield from _metrics(block)
    yield from _published(block)


def _row(block: TableBlock, row: Row, index: int, shared: Mapping[str, Any]) -> Iterator[Fault]:
    place = ("systems", index)
    try:
        cls = registry.get("systems", row.system.partition(":")[0])
    except UsageError as error:
        yield Fault((*place, "system"), f"{error.message}. {error.hint}")
        return
    task = row.task or block.task
    if task not in cls.tasks:
        yield Fault(place, f"system {row.system!r} does no {task}; its tasks: {', '.join(cls.tasks)}")
    wrong = condition_of(block, row)
    if wrong:
        yield Fault(place, wrong)
    datasets = registry.names("datasets")
    for dataset in row.set_on:
        if dataset not in datasets:
            text = f"settings on an unknown data set {dataset!r}. {did_you_mean(dataset, datasets)}"
            yield Fault((*place, "set_on", dataset), text)
    given: list[tuple[str, ...]] = [("set", key) for key in row.set]
    given += [("set_on", dataset, key) for dataset, some in row.set_on.items() for key in some]
    for *where, key in given:
        if not concerns(key, row.system):
            hint = did_you_mean(key, [*options_of(row.system), *HARNESS_KEYS])
            yield Fault((*place, *where, key), f"set {key}: system {row.system!r} has no such setting. {hint}")
    for dataset in ("", *row.set_on):
        yield from _values(place, row, settings_of(block, row, dataset, {}, shared))


def _values(place: Place, row: Row, settings: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with the values of a row's settings."""
    speaker, systems = str(settings.get("tts_system", "espeak")), registry.names("systems")
    if speaker not in systems:
        yield Fault((*place, "set"), f"tts_system {speaker!r} is unknown. {did_you_mean(speaker, systems)}")
    try:
        for spec in parse_systems([row.system], settings):
            spec.build()
    except NotHereError:
        return  # found again, with the tier that the data set has it in
    except UsageError as error:
        lines = [line.strip().removeprefix("--") for line in error.message.splitlines()]
        yield Fault(place, f"{'; '.join(lines)}. {error.hint}")


def settings_of(
    block: TableBlock, row: Row, dataset: str, strong: Mapping[str, Any], weak: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a row on a data set (``""``: on any other).

    From weak to strong: ``weak`` (of the file), the block's, its own, its own there, ``strong`` (environment, command
    line). What concerns the system itself, and, with its name before it, the system whose speech drives it.
    """
    merged = {**weak, **block.set, **row.set, **row.set_on.get(dataset, {}), **strong}
    speaker = str(merged.get("tts_system", "espeak"))
    found = {key: value for key, value in merged.items() if concerns(key, row.system)}
    if block.condition(row)[2] == "tts":
        for key, value in {**weak, **block.set, **strong}.items():
            option = key.rpartition(".")[2]
            if concerns(key, speaker) and (option != key or option not in HARNESS_KEYS):
                found[f"{speaker}.{option}"] = value
    elif speaker != row.system and not _has_tier(row.system, merged.get("tier")):
        found.pop("tier", None)  # it is for other rows: `check` has seen that one has it
        found.pop("tts_system", None)
    return found


def _has_tier(system: str, tier: object) -> bool:
    """Whether a known system has a tier."""
    plugin = system.partition(":")[0]
    return plugin in registry.names("systems") and tier in tiers_of(registry.get("systems", plugin))


def tier_faults(blocks: Sequence[TableBlock], shared: Mapping[str, Any]) -> list[str]:
    """What is wrong with a tier that is asked of all rows."""
    if "tier" not in shared:
        return []
    systems = [row.system for block in blocks for row in block.systems]
    plugins = {name.partition(":")[0] for name in systems} & set(registry.names("systems"))
    known = {tier for plugin in plugins for tier in tiers_of(registry.get("systems", plugin))}
    if shared["tier"] in known:
        return []
    return [f"set tier: no system of the tables has {shared['tier']!r}. {did_you_mean(str(shared['tier']), known)}"]


def _metrics(block: TableBlock) -> Iterator[Fault]:
    known = protocols.catalogue()
    lists = block.metrics if isinstance(block.metrics, dict) else {"": block.metrics}
    datasets = [*registry.names("datasets"), DEFAULT]
    for dataset, names in lists.items():
        place = ("metrics", *([dataset] if dataset else []))
        if dataset and dataset not in datasets:
            yield Fault(place, f"metrics of an unknown data set {dataset!r}. {did_you_mean(dataset, datasets)}")
        for name in names:
            if name not in {"auto", "all", *known.entries, *known.families()}:
                error = known.unknown(name, "metric")
                yield Fault(place, f"{error.message}. {error.hint}")


def _published(block: TableBlock) -> Iterator[Fault]:
    names: set[str] = set()
    try:
        for number, asked in enumerate(block.published):
            names |= _printed_systems(asked, ("published", number))
    except Fault as fault:
        yield fault
        return
    for index, row in enumerate(block.systems):
        if row.printed is not None and block.published and row.printed not in names:
            hint = did_you_mean(row.printed, names)
            yield Fault(("systems", index, "printed"), f"the paper has no row {row.printed!r} there. {hint}")


def _printed_systems(asked: Printed, place: Place) -> set[str]:
    """The systems of a paper's table. Raises ``Fault`` where there is no such table."""
    from bench.results import published

    rows = published.load()
    for field, value in (("source", asked.source), ("table", asked.table), ("setting", asked.setting)):
        if value is None:
            continue
        known = {published.field_of(row, field) for row in rows}
        if value not in known:
            raise Fault((*place, field), f"{field} {value!r} is unknown. {did_you_mean(value, known)}")
        rows = tuple(row for row in rows if published.field_of(row, field) == value)
    return {row.system for row in rows}
