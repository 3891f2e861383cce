"""``bench report``: a folder of static pages over a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from bench.results.report.media_files import Choice
    from bench.store import Store
    from bench.store_records import RunRecord

_HELP = """Make one folder of pages: leaderboards, distributions, every clip with all systems side by side.

It opens by double click, from a USB stick or from any web server, and asks no other host for anything.

Examples:

    bench report --folder report

    bench report ground-truth hicodit --dataset demo --folder report --max-media 2GB

    bench report --out machine-a/store --out machine-b/store --folder report --media none
"""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def register(app: typer.Typer) -> None:
    """Add the verb to the root command."""
    app.command("report", help=_HELP)(_report)


def _report(
    runs: Annotated[list[str] | None, typer.Argument(help="Systems or run ids [all runs of the store].")] = None,
    folder: Annotated[
        Path, typer.Option("-o", "--folder", help="The report: a new folder, or an earlier report to renew.")
    ] = Path("report"),
    title: Annotated[str | None, typer.Option(help="Heading of all pages.")] = None,
    media: Annotated[
        str, typer.Option(help="copy; link: hard links to the store's files; none: numbers and texts alone.")
    ] = "copy",
    max_media: Annotated[str | None, typer.Option(help="At most so much of media, as 500MB or 2GB [no limit].")] = None,
    dataset: o.DatasetOption = None,
    split: o.SplitOption = None,
    task: o.TaskOption = None,
    metrics: o.MetricsOption = None,
    data_root: o.DataRootOption = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", help="Folder of the store; several are merged [bench-store].", rich_help_panel="Files"),
    ] = None,
    plugin: o.PluginOption = None,
) -> int:
    from bench.commands.stores import agreement, reading
    from bench.commands.tables import flat
    from bench.progress import Progress
    from bench.results.report.build import TITLE, Options, build

    o.load_plugins(plugin)
    options = Options(title or TITLE, _media(media), _bytes(max_media), data_root, flat(metrics) or "all")
    output = o.output()
    with reading(out) as store:
        filters = {"dataset": flat(dataset), "split": [split] if split else None, "task": flat(task)}
        chosen = _chosen(store, runs or [], filters)
        built = build(store, chosen, folder, options, Progress(output.quiet, output.colour))
        code = agreement(store)
    for notice in built.notices:
        typer.echo(notice, err=True)
    size = f"{built.bytes / 1e6:.1f} MB"
    typer.echo(f"{folder / 'index.html'}: {len(chosen)} runs, {built.clips} clips, {size}")
    return code


def _media(text: str) -> Choice:
    from bench.errors import UsageError, did_you_mean
    from bench.results.report.media_files import Choice

    if text not in get_args(Choice):
        raise UsageError(f"--media {text!r} is unknown", did_you_mean(text, get_args(Choice)))
    return cast("Choice", text)


def _bytes(text: str | None) -> int | None:
    """Bytes of a text such as ``2GB`` or ``500 MB``: a number, and a unit of thousands."""
    from bench.errors import UsageError

    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"--max-media {text!r} is no size", "for example 500MB or 2GB.")
    return int(float(found.group(1)) * _UNITS[found.group(2).upper()])


def _chosen(store: Store, names: list[str], filters: dict[str, list[str] | None]) -> list[RunRecord]:
    """The runs of the named systems, or with the named ids, in the order of the store.

    Raises:
        UsageError: a name that is neither, or no run under the filters.
    """
    from bench.errors import UsageError
    from bench.results.leaderboard import chosen_runs

    runs = chosen_runs(store, **filters)
    if not names:
        return runs
    systems = {run.system for run in runs}
    ids = {store.run(name).id for name in names if name not in systems}
    found = [run for run in runs if run.system in names or run.id in ids]
    if not found:
        raise UsageError("none of the named runs is among those of the other options", "`bench runs list` lists all.")
    return found
