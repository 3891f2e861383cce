"""The leaderboard as one object that every renderer reads: sections, columns, rows, cells.

A section is one data set, split, task and condition; its columns are values of protocols, its rows
are runs. All numbers are unrounded and in the unit of the protocol (rates as fractions); rounding
and scaling belong to the renderers, by :func:`format_value`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.api import Protocol, Value
from bench.results.imported import is_imported
from bench.results.stats import Interval
from bench.store_records import RunRecord

if TYPE_CHECKING:
    from bench.results.published import Block

GROUND_TRUTH = "ground-truth"
ARROWS = {"higher": "↑", "lower": "↓", "zero": "→0"}
DASH = "–"
LOW_N = "low_n_flag"  # parameter of a protocol whose value depends on the number of samples: the least that is enough

#: Marks behind a value or a name, and what they mean. Text, so that they survive without colour.
MARKS: Mapping[str, str] = {
    "*": "best of its column",
    "≈": "not told apart from the best: one of the two values lies in the other's 95 % interval",
    "†": "incomplete: not every requested clip has a value; (scored/requested); not ranked",
    "‡": "limited run: fewer clips were requested than the split has",
    "§": "over other clips than the fullest runs of the table; not ranked",
    "¶": "scores imported from somebody's file, not computed here; not ranked",
}


class Group(NamedTuple):
    """What rows must share to stand in one table; a part that means nothing for the task is empty."""

    dataset: str
    split: str
    task: str
    pairing: str
    audio: str
    reference: str

    @property
    def title(self) -> str:
        """One line that names the parts that are set."""
        named = {"pairing": self.pairing, "audio": self.audio, "reference": self.reference}
        condition = [f"{name} {value}" for name, value in named.items() if value]
        return " · ".join([f"{self.dataset}/{self.split}", self.task, *condition])


class Key(NamedTuple):
    """What identifies a column: protocol id and the name of one of its values."""

    protocol: str
    value: str


@dataclass(frozen=True)
class Column:
    """One value of one protocol."""

    protocol: Protocol
    value: Value

    @property
    def key(self) -> Key:
        """Its identity."""
        return Key(self.protocol.id, self.value.name)

    @property
    def heading(self) -> str:
        """Label, unit where it is short, and the arrow of the better direction."""
        percent = " %" if self.value.scale == 100.0 else ""
        return f"{self.value.label}{percent} {ARROWS[self.value.direction]}"


@dataclass(frozen=True)
class Cell:
    """One system's value of one column, with how many clips it rests on.

    ``n_pending``: requested clips without a result so far. ``flags``: how many clips carry a flag
    of the metric. ``samples``: what a value rests on that depends on their number (frames generated
    and of the reference), ``few_samples``: fewer than its protocol asks for. ``problem``: why the
    scored clips give no set value. ``panel``: the people behind a judgement (a hash). ``rank`` is
    ``None`` where the cell is not ranked; ``tied`` marks the cells that cannot be told apart from the best.
    """

    value: float | None
    n_scored: int
    n_failed: int = 0
    n_pending: int = 0
    interval: Interval | None = None
    speakers: Interval | None = None
    n_speakers: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[int, int] | None = None
    few_samples: bool = False
    problem: str = ""
    panel: str = ""
    rank: int | None = None
    best: bool = False
    tied: bool = False

    @property
    def n_total(self) -> int:
        """Requested clips."""
        return self.n_scored + self.n_failed + self.n_pending

    @property
    def complete(self) -> bool:
        """Whether every requested clip has a value and the set has one."""
        return self.n_failed == 0 and self.n_pending == 0 and self.value is not None


@dataclass(frozen=True)
class Row:
    """One run. ``label`` tells it from other runs of its system. ``other_clips``: not the clips of the fullest rows."""

    run: RunRecord
    label: str
    cells: Mapping[Key, Cell]
    n_clips: int
    clips_sha256: str
    other_clips: bool = False

    @property
    def limited(self) -> bool:
        """Whether fewer clips were requested than the split has."""
        return self.n_clips < self.run.n_split

    @property
    def complete(self) -> bool:
        """Whether all of its cells are."""
        return all(cell.complete for cell in self.cells.values())

    @property
    def control(self) -> bool:
        """Whether it is a baseline or bound, which is best of a column only among its like."""
        return self.run.tier == "control"

    @property
    def ground_truth(self) -> bool:
        """Whether it is the reference itself, the upper bound."""
        return self.run.system == GROUND_TRUTH

    @property
    def imported(self) -> bool:
        """Whether its numbers are somebody else's word."""
        return is_imported(self.run)

    @property
    def marks(self) -> str:
        """Marks behind its name."""
        held = {"†": not self.complete, "‡": self.limited, "§": self.other_clips, "¶": self.imported}
        return "".join(mark for mark, holds in held.items() if holds)


@dataclass(frozen=True)
class Section:
    """The rows and columns of one group. ``notes`` are warnings to be read with it.

    ``title``: of a block of somebody's file, whose rows may be of several groups; ``beside``: what papers print for it.
    """

    group: Group
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    controls_ranked: bool = False  # there is no system, so best and ties are among the controls
    title: str = ""
    beside: Sequence[Block] = ()

    @property
    def heading(self) -> str:
        """What stands above it."""
        return self.title or self.group.title

    def headline(self) -> list[Column]:
        """The columns that tables show; the tidy formats have all."""
        return [column for column in self.columns if column.value.headline]


@dataclass(frozen=True)
class Table:
    """A leaderboard: sections in order, and notes that concern all of them."""

    sections: Sequence[Section]
    notes: Sequence[str] = ()

    def protocols(self) -> list[Protocol]:
        """The protocols of all columns, by id."""
        found = {column.protocol.id: column.protocol for section in self.sections for column in section.columns}
        return [found[pid] for pid in sorted(found)]


def format_value(number: float | None, value: Value) -> str:
    """``number`` in the scale and with the digits that tables use; a dash where there is none."""
    if number is None:
        return DASH
    text = f"{number * value.scale:.{value.digits}f}"
    return text.lstrip("-") if not float(text) else text  # no "-0.00"


def format_interval(interval: Interval | None, value: Value) -> str:
    """``[low, high]``, or nothing."""
    if interval is None:
        return ""
    return f"[{format_value(interval.low, value)}, {format_value(interval.high, value)}]"


def format_half_width(interval: Interval | None, value: Value) -> str:
    """Half of the interval's width, or nothing."""
    return "" if interval is None else format_value((interval.high - interval.low) / 2, value)


def cell_marks(cell: Cell) -> str:
    """The marks behind a value."""
    return "*" if cell.best else "≈" if cell.tied else "" if cell.complete else "†"


def cell_count(cell: Cell) -> str:
    """``(scored/requested)`` where they differ."""
    return "" if cell.n_scored == cell.n_total else f"({cell.n_scored}/{cell.n_total})"


def row_counts(row: Row) -> tuple[str, str]:
    """What the columns *n* and *failed* say: clips requested (of the split), most failures of a protocol."""
    clips = f"{row.n_clips}/{row.run.n_split}" if row.limited else str(row.n_clips)
    failed = max((cell.n_failed for cell in row.cells.values()), default=0)
    pending = max((cell.n_pending for cell in row.cells.values()), default=0)
    return clips, str(failed) + (f" (+{pending} to do)" if pending else "")


def footer(table: Table) -> list[str]:
    """Lines below every rendering: marks in use, intervals, protocols with weights, runs with their conditions."""
    return [*_mark_lines(table), *_interval_lines(table), *_protocol_lines(table), *_run_lines(table), *table.notes]


def _mark_lines(table: Table) -> list[str]:
    rows = [row for section in table.sections for row in section.rows]
    used = "".join(row.marks + "".join(cell_marks(cell) for cell in row.cells.values()) for row in rows)
    lines = [f"{mark} {meaning}." for mark, meaning in MARKS.items() if mark in used]
    if any(section.controls_ranked for section in table.sections):
        lines.append("No system other than controls here: best and ties are among the controls, ground truth left out.")
    elif any(row.control for row in rows):
        lines.append("Controls (tier control) are shown for comparison; best and ties are among the other rows.")
    named = any(section.title for section in table.sections)
    order = "stand in the order of the file" if named else "are ordered by mean rank, costs aside"
    lines.append(f"Rows {order}; no overall rank is meant. `bench compare` tests pairs of rows.")
    return lines


def _interval_lines(table: Table) -> list[str]:
    cells = [cell for section in table.sections for row in section.rows for cell in row.cells.values()]
    lines = []
    if any(cell.interval for cell in cells):
        lines.append("[low, high]: 95 % bootstrap interval over clips (1,000 resamples, seed 0); none below 10 clips.")
    speakers = sorted({cell.n_speakers for cell in cells if cell.speakers})
    if speakers:
        counts = str(speakers[0]) if len(speakers) == 1 else f"{speakers[0]} to {speakers[-1]}"
        lines.append(f"{{low, high}}: the same over speakers ({counts} of them); with few speakers it is rough.")
    return lines


def _protocol_lines(table: Table) -> list[str]:
    from bench.protocols import weights_sha256

    lines = []
    for protocol in table.protocols():
        labels = ", ".join(value.label for value in protocol.values if value.headline)
        weights = weights_sha256(protocol)
        lines.append(
            f"{labels}: {protocol.id} ({protocol.status}; {'weights ' + weights[:12] if weights else 'no weights'})"
            + (f"; {protocol.note}" if protocol.note else "")
        )
    return lines


def _run_lines(table: Table) -> list[str]:
    """One line per system and setting, with its run in each section."""
    tasks = [section.group.task for section in table.sections]
    found: dict[str, list[str]] = {}
    for section in table.sections:
        # the task alone names a section where that is enough
        place = section.group.task if tasks.count(section.group.task) == 1 else section.group.title
        place = section.title or place
        for row in section.rows:
            run = row.run
            weights = ", ".join(f"{name} {sha[:12]}" for name, sha in sorted(run.weights.items()))
            facts = f"{row.label}: version {run.version}, seed {run.seed}, {run.dtype}"
            facts += (f", weights {weights}" if weights else "") + (f"; {run.note}" if run.note else "")
            found.setdefault(facts, []).append(f"{place} {run.id[:12]}")
    return [f"{facts}; runs: {', '.join(runs)}" for facts, runs in found.items()]
