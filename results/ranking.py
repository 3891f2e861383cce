"""Who is best of a column, who cannot be told apart from it, and in which order rows stand.

Only cells that are complete and rest on the clips of the fullest rows are ranked. Best and ties are
among the rows that are no controls; where a table has controls alone, among those, ground truth
left out (it is the bound, not a contender). Rows with imported scores are never among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Literal

from bench.results.table import Cell, Column, Row

Direction = Literal["higher", "lower", "zero"]


def cost(value: float, direction: Direction) -> float:
    """A number that is smaller for a better value."""
    return {"higher": -value, "lower": value, "zero": abs(value)}[direction]


def mark_other_clips(rows: Sequence[Row]) -> list[Row]:
    """Rows with ``other_clips`` set where they are not over the clips of the fullest rows.

    The fullest clip set is the one with most clips; of several, that of most rows, then the smallest hash.
    """
    if not rows:
        return []
    users = Counter(row.clips_sha256 for row in rows)
    fullest = min(rows, key=lambda row: (-row.n_clips, -users[row.clips_sha256], row.clips_sha256)).clips_sha256
    return [replace(row, other_clips=row.clips_sha256 != fullest) for row in rows]


def contenders(rows: Sequence[Row]) -> tuple[list[Row], bool]:
    """The rows among which best and ties are sought, and whether these are controls."""
    ours = [row for row in rows if not row.imported]
    systems = [row for row in ours if not row.control]
    if systems:
        return systems, False
    return [row for row in ours if not row.ground_truth], bool(ours)


def ranked(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """The rows with ranks, best and ties in their cells, in the order of a table."""
    among = {row.run.id for row in contenders(rows)[0]}
    cells = {row.run.id: dict(row.cells) for row in rows}
    for column in columns:
        for run_id, cell in _rank_column(rows, column, among).items():
            cells[run_id][column.key] = cell
    return sorted((replace(row, cells=cells[row.run.id]) for row in rows), key=_order)


def _rank_column(rows: Sequence[Row], column: Column, among: set[str]) -> dict[str, Cell]:
    direction = column.value.direction
    found = {
        row.run.id: row.cells[column.key]
        for row in rows
        if column.key in row.cells and row.run.id in among and not row.other_clips and row.cells[column.key].complete
    }
    if len({cell.panel for cell in found.values()}) > 1:
        return {}  # other people judged other clips
    costs = {run_id: cost(cell.value, direction) for run_id, cell in found.items() if cell.value is not None}
    if not costs:
        return {}
    lowest = min(costs.values())
    leader = next(found[run_id] for run_id, value in costs.items() if value == lowest)
    return {
        run_id: replace(
            found[run_id],
            rank=1 + sum(other < value for other in costs.values()),
            best=value == lowest and len(costs) > 1,
            tied=value != lowest and _within(found[run_id], leader),
        )
        for run_id, value in costs.items()
    }


def _within(cell: Cell, leader: Cell) -> bool:
    """Whether one value lies in the other's interval."""
    return any(
        first.value is not None and second.interval and second.interval.low <= first.value <= second.interval.high
        for first, second in ((cell, leader), (leader, cell))
    )


def _order(row: Row) -> tuple[int, float, str, str]:
    """Ground truth first; complete systems by mean rank; other systems; controls.

    Costs do not count: with them the order of rows would change with the load of the machine.
    """
    ranks = [c.rank for key, c in row.cells.items() if c.rank is not None and not key.protocol.startswith("cost/")]
    if row.ground_truth:
        place = 0
    elif row.control:
        place = 3
    else:
        place = 1 if ranks and row.complete else 2
    return place, fmean(ranks) if ranks else 0.0, row.label, row.run.id
