"""What tells runs whose scores were imported from those that were scored here. Imports nothing heavy."""

from __future__ import annotations

from bench.store_records import RunRecord

SETTING = "scores"
IMPORTED = "imported"
#: In place of the hash of a protocol's weights: which ones others used nobody can check.
IMPORTED_WEIGHTS = "imported"


def is_imported(run: RunRecord) -> bool:
    """Whether the run's scores come from somebody's file."""
    return run.tier == "external" and run.settings.get(SETTING) == IMPORTED
