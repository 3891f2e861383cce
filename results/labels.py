"""Names of rows: runs of one system in one table are told apart by what differs between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from bench.store_records import RunRecord

SHORT_HASH = 8


def tell_apart(runs: Sequence[RunRecord]) -> dict[str, str]:
    """A label per run id: the system, and in brackets what tells it from other runs of that system."""
    by_system: defaultdict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        by_system[run.system].append(run)
    return {run_id: label for name, found in by_system.items() for run_id, label in _labels(name, found).items()}


def _labels(name: str, runs: Sequence[RunRecord]) -> dict[str, str]:
    if len(runs) == 1:
        return {runs[0].id: name}
    traits = {run.id: _traits(run) for run in runs}
    keys = sorted({key for trait in traits.values() for key in trait}, key=lambda key: (key not in _FIRST, key))
    differing = [key for key in keys if len({str(trait.get(key)) for trait in traits.values()}) > 1]
    # settings say which files are loaded: hashes are named where nothing else differs
    named = [key for key in differing if not key.startswith("weights ")]
    told = next((found for found in (named, differing) if _unique(traits, found)), differing)
    labels = {
        run_id: ", ".join(f"{key} {_short(key, trait[key])}" for key in told if key in trait)
        for run_id, trait in traits.items()
    }
    seen = list(labels.values())
    return {
        run_id: f"{name} [{text}]" if text and seen.count(text) == 1 else f"{name} [run {run_id[:SHORT_HASH]}]"
        for run_id, text in labels.items()
    }


_FIRST = ("tier", "seed", "dtype", "version")


def _unique(traits: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> bool:
    """Whether ``keys`` alone tell all runs apart."""
    return len({tuple(str(trait.get(key)) for key in keys) for trait in traits.values()}) == len(traits)


def _traits(run: RunRecord) -> Mapping[str, Any]:
    weights = {f"weights {name}": sha for name, sha in run.weights.items()}
    dataset = {"data": run.dataset_sha256} if run.dataset_sha256 else {}
    return {"seed": run.seed, "dtype": run.dtype, "version": run.version, **run.settings, **weights, **dataset}


def _short(key: str, value: Any) -> str:
    return str(value)[:SHORT_HASH] if key == "data" or key.startswith("weights ") else str(value)
