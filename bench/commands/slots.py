"""``bench slots``: which words of the demo's sentences are heard right, and which letters for which."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands import options as o
from bench.commands.tables import Save, console, emit, flat

_HELP = """Demo sentences word by word: accuracy per slot, letters confused inside and between viseme classes.

Reads the transcripts that `wer/pocketsphinx-grid@1` has left in the store; nothing is recognised anew.

Examples:

    bench slots

    bench slots hicodit ground-truth --task vts -f md --save slots.md
"""


def register(app: typer.Typer) -> None:
    """Add the verb to the root command."""
    app.command("slots", help=_HELP)(_slots)


def _slots(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Systems or run ids [all that have transcripts].")
    ] = None,
    dataset: o.DatasetOption = None,
    split: o.SplitOption = None,
    task: o.TaskOption = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="table, csv or md.")] = "table",
    save: Save = None,
    out: o.OutOption = None,
    plugin: o.PluginOption = None,
) -> None:
    from bench.results.render_slots import print_slots, render
    from bench.results.slots import reports
    from bench.store import Store

    o.load_plugins(plugin)
    filters = {"dataset": flat(dataset), "split": [split] if split else [], "task": flat(task)}
    with Store.open(o.store_folder(out), write=False) as store:
        found = reports(store, names or [], **filters)
    if format_ == "table" and save is None:
        print_slots(console(), found)
        return
    emit(render(found, format_), save)
