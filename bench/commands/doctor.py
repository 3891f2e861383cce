"""``bench doctor``: what this machine can run at which tier, and the one thing to do for what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any, cast

from bench import protocols, registry, weights
from bench.contracts import System
from bench.errors import BenchError
from bench.records import Tier
from bench.specs import tiers_of


def examine() -> dict[str, Any]:
    """Machine, media library, systems, protocols and data sets; nothing is changed, nothing is loaded twice."""
    return {
        "machine": _machine(),
        "media": _media(),
        "systems": [row for name in registry.names("systems") for row in _systems(name)],
        "protocols": _protocols(),
        "datasets": [_dataset(name) for name in registry.names("datasets")],
        "weights folder": str(weights.folder()),
    }


def _machine() -> dict[str, Any]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "disk free": f"{free:.0f} GiB",
        "device": "cpu",
    }
    memory = Path("/proc/meminfo")
    if memory.exists():
        total = int(memory.read_text().split("MemTotal:")[1].split()[0]) / 2**20
        found["memory"] = f"{total:.0f} GiB"
    if shutil.which("nvidia-smi") is not None:
        import torch

        if torch.cuda.is_available():
            found["device"] = f"cuda: {torch.cuda.get_device_name()}"
    return found


def _media() -> dict[str, str]:
    import av

    versions = ", ".join(f"{k} {'.'.join(map(str, v))}" for k, v in sorted(av.library_versions.items())[:3])
    encoder = "libx264 here" if "libx264" in av.codecs_available else "libx264 MISSING: pip install --upgrade av"
    return {"PyAV": f"{av.__version__} ({versions})", "H.264 encoder": encoder}


def _systems(name: str) -> list[dict[str, str]]:
    """A row per tier of a system."""
    try:
        cls = registry.get("systems", name)
        if name in {"gateway", "outputs"}:
            usage = "gateway:ADAPTER" if name == "gateway" else "outputs:DIR"
            return [{"name": name, "tier": str(cls.tier), "state": f"per use: --system {usage}"}]
    except BenchError as error:
        return [{"name": name, "tier": "", "state": f"unavailable: {error.message}"}]
    return [{"name": name, "tier": tier, "state": _state(cls, tier)} for tier in tiers_of(cls)]


def _state(cls: type[System], tier: Tier) -> str:
    """What of a system can run; of what cannot, the first thing that is missing."""
    try:
        system = cls({"tier": tier} if cls.tiers else {})
        lacking = {task: system.missing_for(task) for task in system.tasks}
    except BenchError as error:
        return f"unavailable: {error.message}"
    ready = [task for task, lines in lacking.items() if not lines]
    missing = list(dict.fromkeys(line for lines in lacking.values() for line in lines))
    if not missing:
        return "ready"
    more = f" (and {len(missing) - 1} more: `bench info {cls.name}`)" if len(missing) > 1 else ""
    return (f"ready for {', '.join(ready)}; else " if ready else "") + missing[0] + more


def _protocols() -> list[dict[str, str]]:
    known = protocols.catalogue()
    rows = []
    for pid in sorted(known.entries):
        missing = known.missing(pid)
        rows.append({"protocol": pid, "state": missing[0] if missing else "ready"})
    return rows + [{"protocol": name, "state": reason} for name, reason in known.broken.items()]


def _dataset(name: str) -> dict[str, str]:
    from bench.planning import open_dataset

    try:
        dataset = open_dataset(name, None)
        if dataset.made_here:
            state = f"ready ({len(dataset.clips(dataset.default_split))} clips in {dataset.default_split})"
        else:
            state = f"found in {dataset.locate()}"
    except BenchError as error:
        state = f"{error.message.splitlines()[0]}: {error.hint.split('. ')[0]}"
    return {"name": name, "state": state}


def render(found: dict[str, Any]) -> str:
    """The examination on one screen."""
    from bench.commands.catalogue import render_info, render_table

    ready = [row for row in found["protocols"] if row["state"] == "ready"]
    others = [row for row in found["protocols"] if row["state"] != "ready"]
    parts = [
        render_info({"machine": found["machine"], "media": found["media"], "weights folder": found["weights folder"]}),
        "systems\n" + render_table(cast(list[dict[str, str]], found["systems"])),
        "data sets\n" + render_table(cast(list[dict[str, str]], found["datasets"])),
        f"protocols: {len(ready)} of {len(found['protocols'])} can run here\n  "
        + ", ".join(row["protocol"] for row in ready),
    ]
    if others:
        parts.append("not here, and what to do\n" + render_table(others))
    return "\n\n".join(parts)
