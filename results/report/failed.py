"""What has no value and why: counts for the page, and the file ``failures-…`` with every message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.results.report.collect import View
from bench.results.report.said import RowTexts

MOST = 5_000  # failures in a file; there the pages stop being of use


@dataclass(frozen=True)
class Count:
    """One line of the table of failures: a system's output (empty protocol) or one of its protocols.

    ``kinds``: failure kind to number of clips; ``scored`` of ``total`` clips have a value.
    """

    row: int
    label: str
    protocol: str
    scored: int
    total: int
    pending: int
    kinds: Counter[str]


def counts(view: View, texts: Sequence[RowTexts]) -> list[Count]:
    """Lines with a failure or a pending clip, in order of rows and protocols; outputs first."""
    found = []
    for place, row in enumerate(view.rows):
        outputs = Counter(failed.kind for failed in texts[place].failures if not failed.protocol)
        if outputs:
            total = row.n_clips
            found.append(Count(place, row.label, "", total - outputs.total(), total, 0, outputs))
        protocols = {key.protocol: cell for key, cell in reversed(list(row.cells.items()))}
        for pid in sorted(protocols):
            cell = protocols[pid]
            if cell.n_failed or cell.n_pending:
                kinds = Counter(dict(cell.failures))
                found.append(Count(place, row.label, pid, cell.n_scored, cell.n_total, cell.n_pending, kinds))
    return found


def failures_file(view: View, texts: Sequence[RowTexts]) -> tuple[str, dict[str, Any]]:
    """Name and content: failures in order of row, protocol and clip, and how many are left out."""
    listed = [
        {
            "clip": failed.place,
            "row": row,
            "protocol": failed.protocol,
            "kind": failed.kind,
            "detail": failed.detail,
            "attempts": failed.attempts,
        }
        for row, found in enumerate(texts)
        for failed in sorted(found.failures)
    ]
    more = max(0, len(listed) - MOST)
    return f"failures-{view.id}", {"section": view.id, "failures": listed[:MOST], "more": more}
