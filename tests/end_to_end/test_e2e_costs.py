"""What a system costs is its own: not the memory of those before it, nor the time that they saved it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from e2e_kit import HERE, bench

COSTS = HERE / "plugins" / "costs.py"
HELD_MIB, SPARED_S = 200, 50.0  # as in the plug-in


def costs(talks: Path, folder: Path, systems: str, name: str) -> dict[str, list[float]]:
    """A column of costs by system, generated in this order by one worker."""
    words = ["-q", "--system", systems, "--dataset", "folder", "--data-root", talks, "--task", "vts", "--limit", 4]
    where = ["--plugin", COSTS, "--out", folder / "store"]
    bench("run", *words, *where, "--workers", 1, "--batch-size", 2, "--metrics", "cost")
    bench("export", folder / "rows.csv", *where[2:], "--plugin", COSTS)
    found: dict[str, list[float]] = {}
    for row in csv.DictReader((folder / "rows.csv").open()):
        found.setdefault(row["system"], []).append(float(row[name]))
    return found


@pytest.mark.parametrize("systems", ["holds-much,finds-ready", "finds-ready,holds-much"])
def test_memory_and_time_are_the_systems_own(talks: Path, tmp_path: Path, systems: str) -> None:
    peaks = costs(talks, tmp_path, systems, "peak_mib")
    assert min(peaks["holds-much"]) > max(peaks["finds-ready"]) + 0.9 * HELD_MIB
    seconds = costs(talks, tmp_path, systems, "generate_seconds")
    assert all(SPARED_S <= took < SPARED_S + 20 for took in seconds["finds-ready"])
    assert all(took < 20 for took in seconds["holds-much"])
