"""``bench leaderboard``, ``compare`` and ``gate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands import options as o
from bench.commands.stores import agreement, reading

if TYPE_CHECKING:
    from bench.results.published import Block
    from bench.results.table import Table
    from bench.store import Store

Format = Annotated[str, typer.Option("--format", "-f", help="table, csv, md, latex, json or html.")]
Save = Annotated[Path | None, typer.Option("--save", help="Write to this file in place of the screen.")]
_LEADERBOARD = """Tables of what is stored: values, intervals, counts, failures.

Several stores are merged by content and nothing is written into them; exit code 3 where they disagree.

Examples:

    bench leaderboard --task vts --published

    bench leaderboard --out node0/store --out node1/store --format md --save leaderboard.md
"""


def register(app: typer.Typer) -> None:
    """Add the verbs to the root command."""
    app.command("leaderboard", help=_LEADERBOARD)(_leaderboard)
    app.command("compare", help="Two systems on their common clips: differences, intervals, p-values.")(_compare)
    app.command("gate", help="Hold the table against a baseline; exit 1 if a number moved.")(_gate)


def show_table(table: Table, published: Sequence[Block] = ()) -> None:
    """Print a table, with papers' numbers below it."""
    from bench.results.render_terminal import print_leaderboard

    print_leaderboard(console(), table, published)


def save_tables(table: Table, published: Sequence[Block], folder: Path, name: str, heading: str = "") -> None:
    """Write ``name.md``, ``.csv`` and ``.json`` into a folder; ``heading`` is Markdown above the tables."""
    from bench.results.render import SUFFIXES, render

    for kind in ("md", "csv", "json"):
        text = render(table, kind, published=published)
        emit(heading + text if kind == "md" else text, folder / f"{name}{SUFFIXES[kind]}")
    typer.echo(f"written: {folder / name}.{{md,csv,json}}")


def console() -> Any:
    """Where tables are printed."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    return Console(width=width, no_color=not o.output().colour, highlight=False)


def _table(
    store: Store,
    system: list[str] | None,
    dataset: list[str] | None,
    split: str | None,
    task: list[str] | None,
    metrics: list[str] | None,
    fid_intervals: bool = False,
) -> Table:
    from bench.results.leaderboard import build, chosen_runs

    runs = chosen_runs(
        store, system=flat(system), dataset=flat(dataset), split=[split] if split else None, task=flat(task)
    )
    return build(store, runs, metrics=flat(metrics) or "all", slow_intervals=fid_intervals)


def flat(names: list[str] | None) -> list[str]:
    """``a,b`` and repeated options as one list."""
    return [part.strip() for name in names or [] for part in name.split(",") if part.strip()]


def _leaderboard(
    system: o.SystemOption = None,
    dataset: o.DatasetOption = None,
    split: o.SplitOption = None,
    task: o.TaskOption = None,
    metrics: o.MetricsOption = None,
    format_: Format = "table",
    save: Save = None,
    wide: Annotated[bool, typer.Option("--wide", help="CSV and JSON as systems x protocols.")] = False,
    published: Annotated[
        bool, typer.Option("--published", help="Add the papers' numbers in a block of their own.")
    ] = False,
    fid_intervals: Annotated[
        bool, typer.Option("--fid-intervals", help="Intervals of FID too (slow, biased).")
    ] = False,
    out: o.OutsOption = None,
    plugin: o.PluginOption = None,
) -> int:
    from bench.results import published as papers
    from bench.results.render import render
    from bench.results.render_terminal import print_leaderboard

    o.load_plugins(plugin)
    with reading(out) as store:
        table = _table(store, system, dataset, split, task, metrics, fid_intervals)
        code = agreement(store)
    blocks = papers.blocks(table) if published else []
    if format_ == "table" and save is None:
        print_leaderboard(console(), table, blocks)
    else:
        emit(render(table, format_, published=blocks, wide=wide), save)
    return code


def emit(text: str, save: Path | None) -> None:
    """Write ``text`` to a file, or to the screen. Raises ``UsageError`` where it cannot be written."""
    if save is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    from bench.errors import UsageError

    try:
        save.parent.mkdir(parents=True, exist_ok=True)
        save.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--save {save}: {error.strerror or error}", "name a file that can be written.") from error


def _compare(
    first: Annotated[str, typer.Argument(help="A system, or a run id.")],
    second: Annotated[str, typer.Argument(help="A system, or a run id.")],
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only this data set.")] = None,
    split: o.SplitOption = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    metrics: o.MetricsOption = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="table, csv, md or json.")] = "table",
    save: Save = None,
    out: o.OutsOption = None,
    plugin: o.PluginOption = None,
) -> int:
    from bench.results.compare import compare, resolve
    from bench.results.render_compare import print_reports, render

    o.load_plugins(plugin)
    with reading(out) as store:
        pairs = resolve(store, first, second, dataset=dataset, split=split, task=task)
        reports = [compare(store, a, b, metrics=flat(metrics) or "all") for a, b in pairs]
        code = agreement(store)
    if format_ == "table" and save is None:
        print_reports(console(), reports)
    else:
        emit(render(reports, format_), save)
    return code


def _gate(
    baseline: Annotated[Path, typer.Option("--baseline", help="Baseline file.")],
    system: o.SystemOption = None,
    dataset: o.DatasetOption = None,
    split: o.SplitOption = None,
    task: o.TaskOption = None,
    metrics: o.MetricsOption = None,
    write: Annotated[bool, typer.Option("--write", help="Write the baseline from the present table.")] = False,
    out: o.OutOption = None,
    plugin: o.PluginOption = None,
) -> int:
    from bench.results.gate import baseline_json, gate, print_verdict, read_baseline
    from bench.store import Store

    o.load_plugins(plugin)
    expected = [] if write else read_baseline(baseline)
    with Store.open(o.store_folder(out), write=False) as store:
        table = _table(store, system, dataset, split, task, metrics)
    if write:
        emit(baseline_json(table), baseline)
        typer.echo(f"written: {baseline}")
        return 0
    verdict = gate(table, expected)
    print_verdict(console(), verdict)
    return verdict.exit_code
