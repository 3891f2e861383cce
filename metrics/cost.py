"""What an output cost: real-time factor (``cost/rtf@1``) and peak memory (``cost/peak-memory@1``).

Both describe a machine as much as a system: tables show the device beside them, and no gate holds them.
The numbers are those that the harness measured around ``generate``; outputs made elsewhere have none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Value
from bench.metrics.declare import ANY_STREAM

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Array

RTF = Protocol(
    id="cost/rtf@1",
    values=(
        Value(
            "rtf",
            "RTF",
            "lower",
            "1",
            low=0.0,
            aggregation=Aggregation("ratio", "seconds", "media_seconds"),
        ),
    ),
    judges=ANY_STREAM,
    judges_either=True,
    needs=frozenset({"cost"}),
    status="offline-canonical",
    parameters={"value": "wall seconds of generate / seconds of generated media", "not_in_gate": True},
    source="measured by the harness",
    default=True,
    gated=False,
    failures=("missing_output",),
    cost_hint_s=0.0,
    note="lower is faster; below 1 is faster than real time",
)
PEAK_MEMORY = Protocol(
    id="cost/peak-memory@1",
    values=(Value("peak_mib", "PeakMem", "lower", "MiB", low=0.0, aggregation=Aggregation("corpus"), digits=0),),
    judges=ANY_STREAM,
    judges_either=True,
    needs=frozenset({"cost"}),
    status="offline-canonical",
    parameters={
        "value": "peak resident memory of the worker (CPU) or peak allocated memory (CUDA)",
        "not_in_gate": True,
    },
    source="measured by the harness",
    default=True,
    gated=False,
    failures=("missing_output",),
    cost_hint_s=0.0,
    note="maximum over clips",
)


class Cost(Metric):
    """How long generating took and how much memory it held."""

    name = "cost"
    summary = "real-time factor and peak memory of generating"
    protocols = (RTF, PEAK_MEMORY)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        cost = output.cost or {}
        results = {RTF.id: _rtf(cost), PEAK_MEMORY.id: _peak(cost)}
        return {protocol_id: results[protocol_id] for protocol_id in protocol_ids}

    def aggregate(self, protocol_id: str, value: str, arrays: Sequence[Mapping[str, Array]], counts: Array) -> Array:
        """The greatest peak of the clips with a count above 0, per row of ``counts`` (B, n)."""
        import numpy as np

        peaks = np.array([float(np.asarray(clip["peak_mib"]).reshape(-1)[0]) for clip in arrays], np.float64)
        return np.array([peaks[row > 0].max(initial=-np.inf) for row in np.atleast_2d(counts)], np.float64)


def _rtf(cost: Mapping[str, float]) -> Score | Failure:
    seconds, media = _known(cost, "seconds"), _known(cost, "media_seconds")
    if seconds is None or media is None:
        return Failure("missing_output", "the time of generating was not recorded")
    if media == 0.0:
        return Failure("missing_output", "the output has no length")
    return Score(values={"rtf": seconds / media}, parts={"seconds": seconds, "media_seconds": media})


def _peak(cost: Mapping[str, float]) -> Score | Failure:
    import numpy as np

    peak = _known(cost, "peak_mib")
    if peak is None:
        return Failure("missing_output", "the memory of generating was not recorded")
    return Score(values={"peak_mib": peak}, parts={"peak_mib": peak}, arrays={"peak_mib": np.array([peak])})


def _known(cost: Mapping[str, float], name: str) -> float | None:
    """A recorded cost that is a finite number of at least 0."""
    value = cost.get(name)
    return float(value) if value is not None and math.isfinite(value) and value >= 0.0 else None
