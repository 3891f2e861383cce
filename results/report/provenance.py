"""Where the numbers come from: for each run its settings, environment, weights and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from bench import registry
from bench.api import BenchError
from bench.protocols import weights_sha256
from bench.results.report.collect import View
from bench.results.table import Row

#: Options of `bench run` whose values are places of one machine: whoever repeats a run has others.
_PLACES = frozenset({"out", "save", "data_root", "config"})


def runs_json(views: Sequence[View]) -> list[dict[str, Any]]:
    """Every run as the store keeps it, by id; ``download/run.json``."""
    found = {row.run.id: row.run for view in views for row in view.rows}
    return [asdict(found[run_id]) for run_id in sorted(found)]


def command_of(row: Row) -> str:
    """A command that makes the run again, from what was said on the command line or in its file."""
    config: Mapping[str, Any] = row.run.config
    said = {name: part["value"] for name, part in config.items() if isinstance(part, Mapping) and _was_said(part)}
    said |= {"system": row.run.system, "dataset": row.run.dataset, "split": row.run.split, "task": row.run.task}
    words = ["bench", "run"]
    for name in sorted(said, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        if name in _PLACES or (said[name] in (None, False, [], {})):
            continue
        words += _option(name, said[name])
    return shlex.join(words)


_ORDER = ("system", "dataset", "split", "task", "pairing", "audio", "reference", "metrics", "seed")


def _was_said(part: Mapping[str, Any]) -> bool:
    return part.get("from") not in {None, "default"}


def _option(name: str, value: Any) -> list[str]:
    option = "--" + name.replace("_", "-")
    if value is True:
        return [option]
    if isinstance(value, Mapping):
        return [word for key, item in value.items() for word in (option, f"{key}={item}")]
    if isinstance(value, list | tuple):
        return [option, ",".join(map(str, value))]
    return [option, str(value)]


def run_facts(view: View, place: int) -> dict[str, Any]:
    """What the page says of a run: names to texts, and lists of pairs."""
    row = view.rows[place]
    run = row.run
    facts = {
        "run": run.id,
        "system": run.system,
        "version": run.version,
        "tier": run.tier,
        "made": run.created,
        "seed": str(run.seed),
        "numbers": run.dtype,
        "data set": f"{run.dataset}/{run.split}, {row.n_clips} of {run.n_split} clips",
        "data set sha256": run.dataset_sha256,
        "licence of the system": _licence("systems", run.system),
        "note": run.note,
    }
    return {
        "label": row.label,
        "section": view.section.heading,
        "command": command_of(row),
        "facts": [(name, text) for name, text in facts.items() if text],
        "settings": _pairs(run.settings),
        "weights": _pairs(run.weights),
        "environment": _pairs(run.environment),
    }


def _pairs(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in sorted(mapping.items())]


def _licence(group: Literal["systems", "datasets"], name: str) -> str:
    """The licence that an installed plug-in declares; empty where it is not installed."""
    try:
        return str(getattr(registry.get(group, name), "licence", ""))
    except BenchError:
        return ""


def protocol_facts(views: Sequence[View]) -> list[dict[str, Any]]:
    """Every protocol of the report: status, source, weights with their hashes, parameters."""
    protocols = {column.protocol.id: column.protocol for view in views for column in view.columns}
    return [
        {
            "id": pid,
            "values": ", ".join(value.label for value in protocol.values),
            "status": protocol.status,
            "source": protocol.source,
            "note": protocol.note,
            "weights": [(file.name, file.sha256 or "", file.licence) for file in protocol.weights],
            "weights_sha256": weights_sha256(protocol),
            "parameters": _pairs(protocol.parameters),
        }
        for pid, protocol in sorted(protocols.items())
    ]


def dataset_facts(views: Sequence[View]) -> list[tuple[str, str]]:
    """Data sets and their licences."""
    names = sorted({view.section.group.dataset for view in views})
    return [(name, _licence("datasets", name) or "not installed here: unknown") for name in names]
