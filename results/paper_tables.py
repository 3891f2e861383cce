"""The blocks of a settings file as sections of a table, each with what the paper prints below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.block_work import PlannedBlock, PlannedRow
from bench.results import published
from bench.results.leaderboard import Named, build_section
from bench.results.published import Block
from bench.results.table import Group, Section, Table
from bench.store import Store
from bench.store_records import RunRecord


def build(
    store: Store, blocks: Sequence[PlannedBlock], with_papers: bool, done: Callable[[], None] = lambda: None
) -> Table:
    """One section per block and data set, in the order of the file; ``with_papers``: with their rows.

    A block that has no row, of ours or of a paper, is named below the tables. ``done`` is called after each block.
    """
    sections: list[Section] = []
    empty: list[str] = []
    for block in blocks:
        beside = _beside(block, blocks) if with_papers else []
        if block.rows:
            sections.append(replace(_section(store, block), beside=beside))
        elif beside:
            sections.append(replace(_bare(block), beside=beside))
        else:
            left_out = block.no_data or f"{', '.join(block.absent)} left out"
            empty.append(f"{_title(block)}: no row: {left_out}")
        done()
    return Table(sections, empty)


def _title(block: PlannedBlock, split: str = "") -> str:
    return f"{block.block.title} · {block.dataset}{'/' if split else ''}{split}"


def _bare(block: PlannedBlock) -> Section:
    """A block without a row of ours, and why."""
    task, pairing, audio, reference = block.block.condition(block.block.systems[0])
    group = Group(block.dataset, "", task, pairing, audio, reference or "")
    reasons = [block.no_data] if block.no_data else [f"{name}: {why}" for name, why in block.absent.items()]
    return Section(group, [], [], [f"Nothing measured here. {one}" for one in reasons], title=_title(block))


def _section(store: Store, block: PlannedBlock) -> Section:
    runs = [
        Named(store.run(one.plan.record.id), one.row.label, {item.clip.id for item in one.plan.items})
        for one in block.rows
    ]
    group = _group([named.run for named in runs])
    title = _title(block, group.split)
    notes = [*_conditions(block.rows), *([block.block.note] if block.block.note else []), *_without(block)]
    return build_section(store, group, runs, block.chosen, title, notes)


def _group(runs: Sequence[RunRecord]) -> Group:
    """What the runs share; a part in which they differ names all of its values."""
    parts = zip(*([str(getattr(run, name)) for name in Group._fields] for run in runs), strict=True)
    return Group(*(", ".join(dict.fromkeys(part for part in found if part)) for found in parts))


def _conditions(rows: Sequence[PlannedRow]) -> list[str]:
    """Under which condition each row was made: one line per condition."""
    found: dict[str, list[str]] = {}
    for one in rows:
        run = one.plan.record
        named = {"pairing": run.pairing, "audio": run.audio, "reference": run.reference}
        words = [run.task, *(f"{name} {value}" for name, value in named.items() if value)]
        found.setdefault(", ".join(words), []).append(one.row.label)
    return [f"{', '.join(labels)}: {condition}" for condition, labels in found.items()]


def _without(block: PlannedBlock) -> list[str]:
    found = []
    if block.absent:
        found.append(f"left out, since not installed here: {', '.join(block.absent)}")
    if block.blind:
        found.append(f"left out, since nothing here computes them (`bench info ID` says why): {', '.join(block.blind)}")
    return found


def _beside(block: PlannedBlock, blocks: Sequence[PlannedBlock]) -> list[Block]:
    """The papers' rows on the block's data set.

    Where they have none: all of their rows but those that stand beside the same block on another data set.
    """
    tables = _printed(block)
    own = [one for one in tables if _is_on(one, block.dataset)]
    if own:
        return own
    others = {one.dataset for one in blocks if one.block is block.block}
    tables = [one for one in tables if not any(_is_on(one, name) for name in others)]
    return [replace(one, remarks=[_OTHER_DATA, *one.remarks]) for one in tables]


def _is_on(printed: Block, dataset: str) -> bool:
    """Whether a paper's rows are on a data set of ours; ``LRS3+LRS2`` is on both."""
    return published.DATASETS.get(dataset, dataset) in printed.dataset.split("+")


def _printed(block: PlannedBlock) -> list[Block]:
    """The tables that the block names, one for each data set, with the rows of the block that stand for theirs."""
    twins = {one.row.printed: one.row.label for one in block.rows if one.row.printed is not None}
    found = []
    for asked in block.block.published:
        whole = published.table_of(asked.source, asked.table, asked.setting, "", twins)
        for dataset in dict.fromkeys(row.dataset for row in whole.rows):
            setting = f", {asked.setting}" if asked.setting else ""
            title = f"PUBLISHED, not measured here: {asked.source}, {asked.table}{setting}; {dataset}"
            found.append(published.table_of(asked.source, asked.table, asked.setting, title, twins, dataset))
    return found


_OTHER_DATA = "Other data and, where the names of columns differ, other metrics: compare orders of rows, not numbers."
