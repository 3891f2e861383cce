"""What a worker's answer to a batch means for its units: the same for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.errors import DataError
from bench.records import Outcome, Unit


def outcomes(batch: Sequence[Unit], kind: str, result: Any, seconds: float, worker: int = 0) -> list[Outcome]:
    """One outcome per unit; ``kind``, ``result`` and ``seconds`` are those of :func:`bench.engines.worker.attempt`.

    Raises:
        DataError: the worker met a full or read-only disk: no unit is to blame, and the run must stop.
    """
    if kind == "ok":
        share = seconds / len(batch)
        return [
            Outcome(unit.key, "ok", record=record, seconds=share, worker=worker)
            for unit, record in zip(batch, result, strict=True)
        ]
    if kind == "memory":
        return losses(batch, "out_of_memory", result, worker)
    if kind == "disk":
        raise DataError("a worker cannot write", result)
    return [Outcome(unit.key, "failed", detail=result, worker=worker) for unit in batch]


def losses(batch: Sequence[Unit], reason: str, detail: str, worker: int) -> list[Outcome]:
    """All units of a batch lost alike."""
    return [Outcome(unit.key, "lost", reason=reason, detail=detail, worker=worker) for unit in batch]
