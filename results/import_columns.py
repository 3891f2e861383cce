"""Which column of somebody's CSV holds which number of which protocol, and in which unit.

A column is mapped by ``COLUMN=PROTOCOL[:NAME[:UNIT]]``: NAME is a value of the protocol (its headline where it has one
alone) or ``parts.NAME`` for what a ratio is made of; UNIT is ``percent`` or ``ms`` where the protocol counts in
fractions or seconds. A column whose heading is ``PROTOCOL`` or ``PROTOCOL:NAME`` maps itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.api import Protocol, Task, UsageError, Value, did_you_mean
from bench.protocols import LIST_COMMAND, Catalogue
from bench.results.tidy import unit_of

PART = "parts."
OPTION = "--map"
CLIP_COLUMNS = ("clip_id", "clip", "id")


@dataclass(frozen=True, eq=False)  # a key of mappings: each column is itself alone
class Target:
    """What a column holds: a number of ``protocol``, in the protocol's unit when multiplied by ``factor``.

    ``name``: of a value, or with :data:`PART` before it of a part. ``low`` and ``high`` bound the multiplied number.
    """

    column: str
    protocol: Protocol
    name: str
    factor: float
    low: float
    high: float

    @property
    def is_part(self) -> bool:
        """Whether it is a numerator or denominator."""
        return self.name.startswith(PART)


@dataclass(frozen=True)
class Columns:
    """The column of clip ids, the columns with numbers, and those that nothing is taken from."""

    clip: str
    targets: Sequence[Target]
    unused: Sequence[str]

    def by_protocol(self) -> dict[str, list[Target]]:
        """The targets of each protocol."""
        found: defaultdict[str, list[Target]] = defaultdict(list)
        for target in self.targets:
            found[target.protocol.id].append(target)
        return dict(found)


def columns(header: Sequence[str], maps: Sequence[str], clip: str | None, task: Task, known: Catalogue) -> Columns:
    """What the columns of ``header`` mean for outputs of ``task``.

    Raises:
        UsageError: a column that is not there, twice there or mapped twice; an unknown or unfit protocol, name or unit;
            no mapped column; a ratio without its parts.
    """
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UsageError(f"the file has several columns {', '.join(map(repr, twice))}", "give each a name of its own.")
    named = dict(_split(text) for text in maps)
    if len(named) < len(maps):
        raise UsageError(f"{OPTION} maps one column several times", "copy the column under a second name.")
    of_clips = _clip_column(header, clip)
    for column in named:
        if column not in header:
            raise UsageError(f"{OPTION} {column}=…: the file has no such column", did_you_mean(column, header))
    own = {name: name for name in header if name not in named and name.split(":")[0] in known.entries}
    targets = [_target(column, text, task, known) for column, text in {**named, **own}.items()]
    found = Columns(of_clips, targets, [name for name in header if name != of_clips and name not in {**named, **own}])
    _check(found)
    return found


def _split(text: str) -> tuple[str, str]:
    column, equals, target = text.rpartition("=")
    if not equals or not column or not target:
        raise UsageError(f"{OPTION} {text!r} is no COLUMN=PROTOCOL", f"for example {OPTION} WER=wer/whisper-medium@1.")
    return column, target


def _clip_column(header: Sequence[str], asked: str | None) -> str:
    if asked is not None:
        if asked not in header:
            raise UsageError(f"--clip-column {asked!r}: the file has no such column", did_you_mean(asked, header))
        return asked
    found = [name for name in CLIP_COLUMNS if name in header]
    if not found:
        raise UsageError(
            f"no column of clip ids among {', '.join(map(repr, header))}", "--clip-column says which one it is."
        )
    return found[0]


def _target(column: str, text: str, task: Task, known: Catalogue) -> Target:
    pid, name, unit = [*text.split(":", 2), "", ""][:3]
    protocol = _protocol(column, pid, task, known)
    headline = [value.name for value in protocol.values if value.headline]
    if not name:
        if len(headline) != 1:
            raise UsageError(
                f"{OPTION} {column}={text}: {pid} has several values", f"add one: {_names(protocol, headline)}."
            )
        name = headline[0]
    if name.startswith(PART):
        return _part(column, protocol, name, unit)
    found = {value.name: value for value in protocol.values}.get(name)
    if found is None:
        known_names = [value.name for value in protocol.values] + [PART + part for part in ratio_parts(protocol)]
        raise UsageError(f"{OPTION} {column}={text}: {pid} has no {name!r}", did_you_mean(name, known_names))
    if found.aggregation.kind == "corpus":
        raise UsageError(
            f"{OPTION} {column}={text}: {name} is a value of a whole set, which no clip has",
            "leave that column out; the table of a paper belongs to the published numbers.",
        )
    return Target(column, protocol, name, _factor(column, found, unit), found.low, found.high)


def _names(protocol: Protocol, names: Sequence[str]) -> str:
    return ", ".join(f"{protocol.id}:{name}" for name in names)


def _protocol(column: str, pid: str, task: Task, known: Catalogue) -> Protocol:
    family = known.families().get(pid)
    if family is not None:
        raise UsageError(f"{OPTION} {column}={pid}: which recipe of {pid}?", f"one of {', '.join(family)}.")
    if pid not in known.entries:
        raise UsageError(f"{OPTION} {column}={pid}: no such protocol", did_you_mean(pid, known.entries, LIST_COMMAND))
    protocol = known.entries[pid].protocol
    if "cost" in protocol.needs:
        raise UsageError(f"{OPTION} {column}={pid}: costs are of the machine here", "leave that column out.")
    if protocol.sampled:
        raise UsageError(f"{OPTION} {column}={pid}: what people said", "`bench study read` takes their own answers.")
    if not protocol.applies_to(task):
        raise UsageError(f"{OPTION} {column}={pid}: does not judge outputs of {task}", f"`bench info {pid}` says what.")
    return protocol


def ratio_parts(protocol: Protocol) -> list[str]:
    """Numerators and denominators of a protocol's ratios."""
    ratios = [value.aggregation for value in protocol.values if value.aggregation.kind == "ratio"]
    return list(dict.fromkeys(name for ratio in ratios for name in (ratio.numerator, ratio.denominator)))


def _part(column: str, protocol: Protocol, name: str, unit: str) -> Target:
    parts = ratio_parts(protocol)
    if name.removeprefix(PART) not in parts:
        raise UsageError(
            f"{OPTION} {column}={protocol.id}:{name}: no such part", did_you_mean(name, [PART + part for part in parts])
        )
    if unit:
        raise UsageError(f"{OPTION} {column}={protocol.id}:{name}: parts have no unit", f"leave {unit!r} out.")
    return Target(column, protocol, name, 1.0, -math.inf, math.inf)


def _factor(column: str, value: Value, unit: str) -> float:
    """What a number in ``unit`` is multiplied by."""
    own = unit_of(value.unit)
    factors = {own: 1.0, "": 1.0}
    if own == "fraction" or (value.low >= -1.0 and value.high <= 1.0):
        factors |= {"percent": 0.01, "fraction": 1.0}
    if own == "s":
        factors["ms"] = 0.001
    if unit not in factors:
        raise UsageError(
            f"{OPTION} {column}: a value in {own!r} cannot be given in {unit!r}",
            did_you_mean(unit, [name for name in factors if name]),
        )
    return factors[unit]


def _check(found: Columns) -> None:
    """At least one column; each number once; ratios whole."""
    if not found.targets:
        raise UsageError(
            f"no column is mapped to a protocol; the file has {', '.join(map(repr, found.unused)) or 'no other'}",
            f"for example {OPTION} WER=wer/whisper-medium@1; {LIST_COMMAND!r} lists all protocols.",
        )
    seen: dict[tuple[str, str], str] = {}
    for target in found.targets:
        key = (target.protocol.id, target.name)
        if key in seen:
            raise UsageError(
                f"columns {seen[key]!r} and {target.column!r} are both {target.protocol.id}:{target.name}",
                "map one of the two.",
            )
        seen[key] = target.column
    for targets in found.by_protocol().values():
        _check_ratios(targets[0].protocol, {target.name for target in targets})


def _check_ratios(protocol: Protocol, names: set[str]) -> None:
    """The value of a set is the ratio of two sums, which the ratios of clips do not give."""
    for value in protocol.values:
        pair = [PART + value.aggregation.numerator, PART + value.aggregation.denominator]
        asked = value.name in names or any(part in names for part in pair)
        if value.aggregation.kind == "ratio" and asked and not names.issuperset(pair):
            raise UsageError(
                f"{protocol.id}:{value.name} of a set is a ratio of sums over clips, not a mean of their ratios",
                f"map the columns of {_names(protocol, pair)} too, or of a value that is a mean: "
                + (_names(protocol, [v.name for v in protocol.values if v.aggregation.kind == "mean"]) or "none here")
                + ".",
            )


def summary(found: Columns) -> Mapping[str, str]:
    """Column -> what was taken from it, for the record of the run."""
    return {
        target.column: f"{target.protocol.id}:{target.name}" + (f" x {target.factor:g}" if target.factor != 1.0 else "")
        for target in found.targets
    }
