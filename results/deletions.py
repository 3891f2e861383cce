"""The second number of error rates: clips without an output counted as all words deleted.

The headline leaves a missing output out and counts it as failed (specs/metrics.md 0.2). The number
of reference words of such a clip is known once any run of the same table has scored that clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.api import Protocol, Value
from bench.results.stats import Statistic
from bench.store_records import RunClip, ScoreColumn

FAMILIES = frozenset({"wer", "cer"})
NAME = "missing_as_deletion"


def headline_ratio(protocol: Protocol) -> Value | None:
    """The corpus rate of an error-rate protocol."""
    if protocol.family not in FAMILIES:
        return None
    return next((value for value in protocol.values if value.aggregation.kind == "ratio"), None)


def concerns(protocol: Protocol, failures: Mapping[str, int]) -> bool:
    """Whether the second number differs from the first."""
    return headline_ratio(protocol) is not None and failures.get("missing_output", 0) > 0


def deletion_value(protocol: Protocol) -> Value:
    """The declaration of the second number: in the tidy formats alone."""
    value = headline_ratio(protocol)
    if value is None:
        raise ValueError(f"{protocol.id} is no error rate")
    return replace(value, name=NAME, label=f"{value.label} (missing as deletion)", headline=False)


def counted(
    protocol: Protocol, columns: Mapping[str, ScoreColumn], clips: Mapping[str, Sequence[RunClip]]
) -> dict[str, Statistic]:
    """By run id: edits and reference words with missing outputs as deletions, in order of clip id.

    Runs without missing outputs, and those with one whose reference no run has scored, are left out.
    """
    value = headline_ratio(protocol)
    if value is None:
        return {}
    top, bottom = value.aggregation.numerator, value.aggregation.denominator
    words: dict[str, float] = {}
    for run_id, column in columns.items():
        if column.n_scored:
            scored = np.flatnonzero(column.ok).tolist()
            words |= {clips[run_id][i].reference_sha256: float(column.parts[bottom][i]) for i in scored}
    found: dict[str, Statistic] = {}
    for run_id, column in columns.items():
        missing = [i for i, kind in enumerate(column.kinds) if kind == "missing_output"]
        lengths = [words.get(clips[run_id][i].reference_sha256) for i in missing]
        if not missing or None in lengths:
            continue
        tops = column.parts[top].copy() if column.n_scored else np.full(column.n, np.nan)
        bottoms = column.parts[bottom].copy() if column.n_scored else np.full(column.n, np.nan)
        tops[missing] = bottoms[missing] = lengths
        keep = column.ok.copy()
        keep[missing] = True
        found[run_id] = Statistic(tops[keep], bottoms[keep])
    return found
