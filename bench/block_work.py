"""Doing what the ``tables:`` of a settings file say: all blocks planned into one store, shared runs made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench import planning, protocols
from bench.block_names import settings_of
from bench.blocks import Row, TableBlock, Tables
from bench.config import Effective
from bench.errors import NoDataError, NotHereError, UsageError
from bench.generate import Tally
from bench.plan import RunPlan
from bench.planning import Work
from bench.progress import Progress
from bench.protocols import Selection
from bench.score import suited
from bench.store import Store
from bench.work import Stages, interruptible


@dataclass(frozen=True)
class PlannedRow:
    """A row of a block and its run."""

    row: Row
    plan: RunPlan


@dataclass(frozen=True)
class PlannedBlock:
    """A block on one data set.

    ``absent`` and ``blind``: rows and metrics that it goes without, with the reasons. ``no_data``: why it has no rows
    at all, where the data set is not here.
    """

    block: TableBlock
    dataset: str
    rows: Sequence[PlannedRow]
    chosen: Selection
    absent: Mapping[str, str] = field(default_factory=dict)
    blind: Mapping[str, str] = field(default_factory=dict)
    no_data: str = ""


@dataclass
class BlockWork:
    """All blocks, and the runs behind them, each once."""

    blocks: list[PlannedBlock] = field(default_factory=list)
    work: Work = field(default_factory=Work)

    def reasons(self) -> list[str]:
        """What blocks go without: a line for each row or metric, with its reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for block in self.blocks:
            data = {block.dataset: block.no_data} if block.no_data else {}
            for left_out in (*data.items(), *block.absent.items(), *block.blind.items()):
                found.setdefault(left_out, []).append(block.block.name)
        return [f"{name} is left out of {', '.join(dict.fromkeys(of))}: {why}" for (name, why), of in found.items()]

    def judged(self) -> list[tuple[Selection, list[RunPlan]]]:
        """The runs by the metrics that they are scored under, each run once per set of metrics."""
        found: dict[tuple[str, ...], tuple[Selection, dict[str, RunPlan]]] = {}
        for block in self.blocks:
            _, plans = found.setdefault(tuple(block.chosen.entries), (block.chosen, {}))
            plans |= {one.plan.record.id: one.plan for one in block.rows}
        return [(chosen, list(plans.values())) for chosen, plans in found.values()]


class Blocks:
    """The blocks of a command's settings, with their metrics resolved once.

    Raises:
        UsageError: a metric that was asked for by command line or environment cannot run here, or none of a block's.
    """

    def __init__(self, effective: Effective, tables: Tables) -> None:
        self._effective = effective
        self._tables = tables
        self._file = str(tables.path)
        self._listed: planning.Listed = {}
        self._metrics: dict[tuple[str, str], tuple[Selection, dict[str, str]]] = {}
        problems: list[str] = []
        for block in tables.blocks:
            for dataset in dict.fromkeys(effective.settings.dataset):
                try:
                    self._metrics[block.name, dataset] = self._select(block, dataset)
                except UsageError as error:
                    problems.append(f"{block.name}: {error.message}")
        if problems:
            raise UsageError("\n  ".join(dict.fromkeys(problems)), "`bench doctor` says what is missing.")

    def _select(self, block: TableBlock, dataset: str) -> tuple[Selection, dict[str, str]]:
        """A block's protocols that can run here, in its order, and why the others cannot."""
        settings = self._effective.settings
        names = block.metrics_for(dataset)
        if not names or self._stronger("metrics"):
            return protocols.select(settings.metrics), {}
        found, blind = Selection({}), {}
        for name in dict.fromkeys(names):
            try:
                one = protocols.select([name])
            except UsageError as error:
                blind[name] = _one_line(error.message, f"{name}: ")
                continue
            found = Selection({**found.entries, **one.entries}, {**found.skipped, **one.skipped})
        if not found.entries:
            raise UsageError("none of its metrics can run here: " + "; ".join(f"{k}: {v}" for k, v in blind.items()))
        return found, blind

    def _stronger(self, name: str) -> bool:
        """Whether environment or command line say a setting."""
        origin = self._effective.origins.get(name, self._file)
        return not origin.startswith(f"{self._file}:") and origin != self._file

    def row_settings(self, index: int, number: int, dataset: str) -> Effective:
        """The settings of one row of a block, as if it were a command of its own."""
        block = self._tables.blocks[index]
        row = block.systems[number]
        task, pairing, audio, reference = block.condition(row)
        shared = self._effective.settings.set
        strong, weak = (shared, {}) if self._stronger("set") else ({}, shared)
        return self._effective.narrowed(
            f"{block.name}: {row.label}",
            self._tables.origin(index, "systems", number),
            system=[row.system],
            dataset=[dataset],
            task=[task],
            pairing=pairing,
            audio=audio,
            reference=reference,
            metrics=list(self._metrics[block.name, dataset][0].entries),
            set=settings_of(block, row, dataset, strong, weak),
        )

    def plan(self, store: Store | None, progress: Progress) -> BlockWork:
        """All rows of all blocks.

        Raises:
            UsageError, DataError: with what is missing, for all rows at once.
        """
        found = BlockWork()
        refused = _Refused()
        for index, block in enumerate(self._tables.blocks):
            for dataset in dict.fromkeys(self._effective.settings.dataset):
                found.blocks.append(self._block(index, block, dataset, store, progress, found.work, refused))
        refused.tell()
        if not found.work.plans:
            raise UsageError("nothing to do: no row of the tables can run here:\n  " + "\n  ".join(found.reasons()))
        return found

    def _block(
        self,
        index: int,
        block: TableBlock,
        dataset: str,
        store: Store | None,
        progress: Progress,
        work: Work,
        refused: _Refused,
    ) -> PlannedBlock:
        chosen, blind = self._metrics[block.name, dataset]
        absent: dict[str, str] = {}
        rows: list[PlannedRow] = []
        no_data = ""
        for number, row in enumerate(block.systems):
            try:
                made = planning.plan(self.row_settings(index, number, dataset), store, progress, self._listed)
            except UsageError as error:
                if isinstance(error, NoDataError) and block.optional:
                    no_data = f"{error.message}; {error.hint}"
                elif isinstance(error, NotHereError) and block.may_be_absent(row):
                    absent[row.label] = _one_line(error.message, f"{row.system}: ")
                else:
                    refused.add(f"{block.name}: {row.label}", error)
                continue
            rows += [PlannedRow(row, plan) for plan in made.plans]
            _join(work, made)
        plans = [one.plan for one in rows]
        if chosen.entries and plans:
            able, lines = suited(chosen, plans)
            unsuited = [pid for pid in chosen.entries if pid not in able.entries]
            blind = {**blind, **{pid: line.partition(": ")[2] for pid, line in zip(unsuited, lines, strict=True)}}
            chosen = able
        return PlannedBlock(block, dataset, rows, chosen, absent, blind, no_data)


class _Refused:
    """Why rows cannot run: every reason once, with the rows that it concerns."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}
        self._hints: dict[str, None] = {}
        self._absent_alone = True

    def add(self, row: str, error: UsageError) -> None:
        lines = [line.strip() for line in error.message.splitlines()]
        absent = isinstance(error, NotHereError)
        for line in lines[1:] if absent and len(lines) > 1 else ["; ".join(lines)]:
            self._rows.setdefault(line, []).append(row)
        self._hints[error.hint] = None
        self._absent_alone &= absent

    def tell(self) -> None:
        """Raises ``UsageError`` where anything was added."""
        if not self._rows:
            return
        lines = [f"{line}\n      ({', '.join(dict.fromkeys(rows))})" for line, rows in self._rows.items()]
        kind = NotHereError if self._absent_alone else UsageError
        raise kind("rows of the tables cannot run:\n  " + "\n  ".join(lines), "\n  ".join(self._hints))


def _one_line(message: str, prefix: str) -> str:
    """The reasons of a refusal (below its heading)."""
    lines = [line.strip() for line in message.splitlines()]
    return "; ".join(line.removeprefix(prefix) for line in lines[1:] or lines)


def _join(into: Work, other: Work) -> None:
    """Add plans and notices; runs that others need cover the clips of all of them."""
    known = {plan.record.id for plan in into.plans}
    into.plans += [plan for plan in other.plans if plan.record.id not in known]
    into.notices += [line for line in other.notices if line not in into.notices]
    for run in other.before:
        place = next((i for i, one in enumerate(into.before) if one.record.id == run.record.id), None)
        if place is None:
            into.before.append(run)
            continue
        have = {item.clip.id for item in into.before[place].items}
        more = [item for item in run.items if item.clip.id not in have]
        into.before[place] = replace(into.before[place], items=[*into.before[place].items, *more])


def execute(
    effective: Effective, blocks: Blocks, store: Store, progress: Progress, generating: bool, scoring: bool
) -> tuple[BlockWork, Tally, Tally]:
    """Generate and score what is missing of all blocks; see :func:`bench.work.execute`."""
    stages = Stages(effective.settings, store, progress)
    with interruptible():
        found = blocks.plan(store, progress)
        _tell(found, progress)
        if generating:
            if found.work.before:
                stages.generate_before(found.work)
                found = blocks.plan(store, progress)
            stages.generate(found.work.plans)
        else:
            found = _generated(found, store)
        if scoring:
            for chosen, plans in found.judged():
                stages.score(plans, chosen)
    return found, stages.made, stages.scored


def _tell(found: BlockWork, progress: Progress) -> None:
    lines = [*found.work.notices, *found.reasons()]
    for line in dict.fromkeys(lines):
        progress.say(line)


def _generated(found: BlockWork, store: Store) -> BlockWork:
    """The blocks with those rows alone that the store has.

    Raises:
        UsageError: it has none.
    """
    known = {run.id for run in store.runs()}
    absent = [one for block in found.blocks for one in block.rows if one.plan.record.id not in known]
    found.work.absent = [f"{one.row.label} {one.plan.record.task}" for one in absent]
    found.work.plans = [plan for plan in found.work.plans if plan.record.id in known]
    if not found.work.plans:
        raise UsageError("nothing of these tables has been generated yet", "`bench run` with the same file does it.")
    found.blocks = [
        replace(block, rows=[one for one in block.rows if one.plan.record.id in known]) for block in found.blocks
    ]
    return found
