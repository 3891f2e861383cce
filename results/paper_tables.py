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

    A block that has no row is named below the tables. ``done`` is called after each block.
    """
    sections = []
    for block in blocks:
        if block.rows:
            sections.append(_section(store, block, with_papers))
        done()
    empty = [f"{b.block.title}: no row: {', '.join(b.absent)} left out" for b in blocks if not b.rows]
    return Table(sections, empty)


def _section(store: Store, block: PlannedBlock, with_papers: bool) -> Section:
    runs = [
        Named(store.run(one.plan.record.id), one.row.label, {item.clip.id for item in one.plan.items})
        for one in block.rows
    ]
    group = _group([named.run for named in runs])
    title = f"{block.block.title} · {group.dataset}/{group.split}"
    notes = [*_conditions(block.rows), *([block.block.note] if block.block.note else []), *_without(block)]
    made = build_section(store, group, runs, block.chosen, title, notes)
    return replace(made, beside=[_printed(block)] if with_papers and block.block.published else [])


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


def _printed(block: PlannedBlock) -> Block:
    """The paper's rows, with the rows of the block that stand for them."""
    asked = block.block.published
    if asked is None:
        raise ValueError(f"{block.block.name} names no paper")
    twins = {one.row.printed: one.row.label for one in block.rows if one.row.printed is not None}
    setting = f", {asked.setting}" if asked.setting else ""
    made = published.table_of(asked.source, asked.table, asked.setting, "", twins)
    title = f"PUBLISHED, not measured here: {asked.source}, {asked.table}{setting}; {made.dataset}"
    other = "" if made.dataset == published.DATASETS.get(block.dataset, block.dataset) else _OTHER_DATA
    return replace(made, title=title, remarks=[*([other] if other else []), *made.remarks])


_OTHER_DATA = "Other data and, where the names of columns differ, other metrics: compare orders of rows, not numbers."
