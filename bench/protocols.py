"""All protocols of the registered metrics, and what ``--metrics`` means.

Importing and calling this loads no numeric library (metric plug-ins keep heavy imports inside
functions); asking which protocols can run here may look for packages, and loads none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import registry, weights
from bench.contracts import Metric
from bench.errors import BenchError, UsageError, blaming, did_you_mean, in_words
from bench.records import Protocol, Task

if TYPE_CHECKING:
    from bench.metrics.absent import Absent

LIST_COMMAND = "bench list metrics"


@dataclass(frozen=True)
class Entry:
    """A protocol and the registered name of the metric that serves it."""

    metric: str
    protocol: Protocol


@dataclass(frozen=True)
class Catalogue:
    """Every declared protocol by id, and why metric plug-ins could not be imported, by their name.

    ``absent``: ids under which papers print numbers and that nobody can compute here, with the reason.
    """

    entries: Mapping[str, Entry]
    broken: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, Absent] = field(default_factory=dict)

    def families(self) -> dict[str, list[str]]:
        """Protocol ids by family, both sorted."""
        found: dict[str, list[str]] = {}
        for pid in sorted(self.entries):
            found.setdefault(self.entries[pid].protocol.family, []).append(pid)
        return dict(sorted(found.items()))

    def metric(self, protocol_id: str) -> Metric:
        """A new instance of the metric that serves a known protocol (nothing is loaded)."""
        return _made(self.entries[protocol_id].metric)

    def missing(self, protocol_id: str) -> list[str]:
        """What keeps a known protocol from running here; empty: nothing."""
        try:
            return list(self.metric(protocol_id).missing(protocol_id))
        except BenchError as error:
            return [error.message]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one broken plug-in leaves the others in use
            return [f"metric {self.entries[protocol_id].metric!r} is broken: {in_words(error)}"]

    def unknown(self, name: str, option: str = "--metrics") -> UsageError:
        """The error for a name that is neither a protocol, nor a family, nor a keyword, or that has no value here."""
        absent = [entry for entry in self.absent.values() if name in {entry.id, entry.family}]
        if absent:
            reasons = "\n  ".join(f"{entry.id}: {entry.reason}" for entry in absent)
            remedies = "\n  ".join(dict.fromkeys(f"{entry.remedy}." for entry in absent))
            return UsageError(f"{option} {name!r} cannot be computed:\n  {reasons}", remedies)
        known = [*self.entries, *self.families(), "auto", "all"]
        broken = "".join(f"\n  {reason}" for reason in self.broken.values())
        return UsageError(f"{option} {name!r} is unknown", did_you_mean(name, known, LIST_COMMAND) + broken)


def _made(name: str) -> Metric:
    with blaming(f"metric {name!r} cannot be made", UsageError):
        made: Metric = registry.get("metrics", name)()
    return made


def catalogue() -> Catalogue:
    """The protocols of all registered metrics.

    A plug-in that cannot be imported is noted in ``broken``; the others go on.

    Raises:
        UsageError: two metrics declare one protocol id.
    """
    entries: dict[str, Entry] = {}
    broken: dict[str, str] = {}
    for name in registry.names("metrics"):
        try:
            cls = registry.get("metrics", name)
        except UsageError as error:
            broken[name] = error.message
            continue
        for protocol in cls.protocols:
            other = entries.get(protocol.id)
            if other is not None:
                raise UsageError(
                    f"protocol {protocol.id!r} is declared by two metrics: {other.metric!r} and {name!r}",
                    "uninstall one of the two plug-ins.",
                )
            entries[protocol.id] = Entry(name, protocol)
    return Catalogue(entries, broken, _absent(entries))


def _absent(entries: Mapping[str, Entry]) -> dict[str, Absent]:
    """The absent protocols by id; one that a plug-in serves is not among them."""
    from bench.metrics.absent import ABSENT

    return {entry.id: entry for entry in ABSENT if entry.id not in entries}


def protocols_by_id() -> dict[str, tuple[str, Protocol]]:
    """Protocol id -> (registered name of its metric, protocol), over all metrics that can be imported."""
    return {pid: (entry.metric, entry.protocol) for pid, entry in catalogue().entries.items()}


@dataclass(frozen=True)
class Selection:
    """What ``--metrics`` chose, in the order of the catalogue, and what ``auto`` and ``all`` left out, with reasons."""

    entries: Mapping[str, Entry]
    skipped: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The chosen protocols."""
        return tuple(entry.protocol for entry in self.entries.values())

    def by_metric(self) -> dict[str, list[str]]:
        """Protocol ids by registered name of their metric."""
        found: dict[str, list[str]] = {}
        for pid, entry in self.entries.items():
            found.setdefault(entry.metric, []).append(pid)
        return found

    def judging(self, task: Task, protocol_ids: Iterable[str]) -> list[str]:
        """Those of ``protocol_ids`` that were chosen and judge what ``task`` makes.

        Scores are shared by content, so that a run finds scores of other tasks' outputs too.
        """
        return [pid for pid in protocol_ids if pid in self.entries and self.get(pid).applies_to(task)]

    def get(self, protocol_id: str) -> Protocol:
        """A chosen protocol."""
        return self.entries[protocol_id].protocol

    def metric(self, protocol_id: str) -> Metric:
        """A new instance of the metric that serves a chosen protocol (nothing is loaded)."""
        return _made(self.entries[protocol_id].metric)


def select(names: Iterable[str] | str = "auto", *, runnable: bool = True, known: Catalogue | None = None) -> Selection:
    """Resolve ``--metrics``: ``auto``, ``all``, families and protocol ids, comma separated or listed.

    ``auto``: the default protocols that can run here. ``all``: all that can. A family: those of its
    protocols that can. With ``runnable=False`` (tables) nothing is asked about this machine, and
    ``auto`` means ``all``. What ``all`` leaves out includes the absent protocols.

    Raises:
        UsageError: unknown names (all of them at once), or something named that cannot run here.
    """
    known = known or catalogue()
    wanted = _names(names)
    problems = [known.unknown(name) for name in wanted if not _ids(known, name, runnable)]
    if problems:
        raise UsageError("\n  ".join(p.message for p in problems), "\n  ".join(dict.fromkeys(p.hint for p in problems)))
    chosen: dict[str, Entry] = {}
    skipped: dict[str, Sequence[str]] = {}
    blocked: list[str] = []
    for name in wanted:
        ids = _ids(known, name, runnable)
        reasons = {pid: known.missing(pid) if runnable else [] for pid in ids}
        able = [pid for pid in ids if not reasons[pid]]
        if not able and name not in {"auto", "all"}:
            blocked += [f"{pid}: {'; '.join(reasons[pid])}" for pid in ids]
        chosen |= {pid: known.entries[pid] for pid in able}
        skipped |= {pid: reasons[pid] for pid in ids if reasons[pid]}
        if name == "all" and runnable:
            skipped |= {pid: [entry.line] for pid, entry in known.absent.items()}
    if blocked:
        raise UsageError("cannot run here:\n  " + "\n  ".join(blocked), "`bench doctor` says what is missing.")
    return Selection({pid: chosen[pid] for pid in sorted(chosen)}, skipped)


def _names(names: Iterable[str] | str) -> list[str]:
    listed = [names] if isinstance(names, str) else list(names)
    return list(dict.fromkeys(part.strip() for name in listed for part in name.split(",") if part.strip())) or ["auto"]


def _ids(known: Catalogue, name: str, runnable: bool) -> list[str]:
    if name == "all" or (name == "auto" and not runnable):
        return sorted(known.entries)
    if name == "auto":
        return [pid for pid in sorted(known.entries) if known.entries[pid].protocol.default]
    return [name] if name in known.entries else known.families().get(name, [])


def weights_sha256(protocol: Protocol) -> str:
    """One hash for all weight files of a protocol, part of a score's key; ``""`` where it has none.

    A file whose hash is not known in advance counts by that of the file which is here, so that two
    different ones never share a score; by its name where there is none.
    """
    if not protocol.weights:
        return ""
    lines = sorted(f"{weight.name}:{weights.counted_sha256(weight)}" for weight in protocol.weights)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def recipe_sha256(protocol: Protocol) -> str:
    """SHA-256 of everything that decides a protocol's numbers; a released id never changes it.

    Labels, digits, who uses it, notes, costs and whether it is a default decide no number and are left out.
    """
    recipe = {
        "id": protocol.id,
        "values": {
            value.name: {
                "direction": value.direction,
                "unit": value.unit,
                "range": [str(value.low), str(value.high)],
                "aggregation": [value.aggregation.kind, value.aggregation.numerator, value.aggregation.denominator],
            }
            for value in protocol.values
        },
        "judges": sorted(protocol.judges),
        "judges_either": protocol.judges_either,
        "needs": sorted(protocol.needs),
        "parameters": protocol.parameters,
        "weights": sorted([weight.name, weight.sha256 or ""] for weight in protocol.weights),
        "failures": sorted(protocol.failures),
    }
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Containers that JSON does not know, in a fixed order."""
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} cannot be a parameter of a protocol: numbers, texts, lists and mappings can")
