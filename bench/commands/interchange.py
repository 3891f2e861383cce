"""``bench export`` and ``bench import``: scores out to other tools, and scores that others computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import options as o
from bench.commands.stores import agreement, reading
from bench.commands.tables import flat

if TYPE_CHECKING:
    from bench.store import Store
    from bench.store_records import RunRecord

MODEL_INDEX = "model-index"
_EXPORT = """Every score of every clip as CSV, JSON lines or Parquet, or set values as model cards have them.

`model-index` writes one YAML file per system into the folder TARGET; each is the front matter of a Hugging Face
model card. The other formats write one row per run, clip, protocol and value.

Examples:

    bench export scores.parquet --task vts

    bench export scores.jsonl --metrics wer

    bench export cards --format model-index --dataset lrs3
"""
_IMPORT = """Scores per clip that others computed, from a CSV, as a run of tier external.

NAME in a mapping is a value of the protocol, or `parts.X` for the numerator and denominator of a ratio; UNIT is
`percent` or `ms` where the protocol counts in fractions or seconds. A column that is called like a protocol maps
itself. A cell is a number, the kind of a failure (`no_face`), or empty: no result so far. All faulty lines are listed
and nothing is imported then. Imported rows are marked in tables and are not ranked.

Examples:

    bench import theirs.csv --system theirs --task vts --map PESQ=pesq/wb@1 --map SECS=secs/resemblyzer@1::percent

    bench import lse.csv --system theirs --dataset lrs3 --task a2v --clip-column video \\
        --map C=lse/syncnet-v2-wav2lip@1:lse_c --map D=lse/syncnet-v2-wav2lip@1:lse_d
"""


def register(app: typer.Typer) -> None:
    """Add the verbs to the root command."""
    app.command("export", help=_EXPORT)(_export)
    app.command("import", help=_IMPORT)(_import)


def _export(
    target: Annotated[Path, typer.Argument(help="FILE.csv, FILE.jsonl, FILE.parquet, or a folder for model-index.")],
    format_: Annotated[
        str | None, typer.Option("--format", "-f", help="csv, jsonl, parquet or model-index [the file's ending].")
    ] = None,
    system: o.SystemOption = None,
    dataset: o.DatasetOption = None,
    split: o.SplitOption = None,
    task: o.TaskOption = None,
    metrics: o.MetricsOption = None,
    out: o.OutsOption = None,
    plugin: o.PluginOption = None,
) -> int:
    from bench.results.export import FORMATS, known_format, records, write
    from bench.results.leaderboard import chosen_runs

    o.load_plugins(plugin)
    kind = known_format(format_ or target.suffix.lstrip("."), [*FORMATS, MODEL_INDEX], target)
    with reading(out) as store:
        runs = chosen_runs(
            store, system=flat(system), dataset=flat(dataset), split=[split] if split else None, task=flat(task)
        )
        if kind == MODEL_INDEX:
            written = _cards(store, runs, flat(metrics), target)
        else:
            written = f"{target}: {write(records(store, runs, flat(metrics) or 'all'), target, kind)} rows"
        code = agreement(store)
    typer.echo(written)
    return code


def _cards(store: Store, runs: Sequence[RunRecord], metrics: Sequence[str], folder: Path) -> str:
    from bench.results.leaderboard import build
    from bench.results.model_index import write_cards

    files = write_cards(build(store, runs, metrics=metrics or "all"), folder)
    return f"{folder}: {len(files)} files: {', '.join(file.name for file in files)}"


def _import(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8: a header, one line per clip.")],
    system: Annotated[str, typer.Option("--system", "-s", help="Name for the row in tables.", rich_help_panel="What")],
    task: Annotated[str, typer.Option(help="vts, dub, a2v, t2av or tts.", rich_help_panel="What")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Data set.", rich_help_panel="What")] = "demo",
    split: Annotated[str, typer.Option(help="Split.", rich_help_panel="What")] = "test",
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", "-m", help="COLUMN=PROTOCOL[:NAME[:UNIT]]; repeatable.", rich_help_panel="Columns"),
    ] = None,
    clip_column: Annotated[
        str | None, typer.Option(help="Column of clip ids [clip_id, clip or id].", rich_help_panel="Columns")
    ] = None,
    pairing: o.PairingOption = None,
    audio: o.AudioOption = None,
    reference: o.ReferenceOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier import says otherwise.")] = False,
    out: o.OutOption = None,
    plugin: o.PluginOption = None,
) -> None:
    from bench.errors import UsageError, did_you_mean
    from bench.records import TASKS
    from bench.results.import_scores import Import, import_scores
    from bench.store import Store

    o.load_plugins(plugin)
    chosen = next((known for known in TASKS if known == task), None)
    if chosen is None:
        raise UsageError(f"--task {task!r} is unknown", did_you_mean(task, TASKS))
    given = {"pairing": pairing, "audio": audio, "reference": reference}
    condition = {name: value for name, value in given.items() if value is not None}
    asked = Import(file, system, dataset, split, chosen, maps or [], clip_column, condition)
    with Store.open(o.store_folder(out)) as store:
        done = import_scores(store, asked, force=force)
    typer.echo(f"run {done.run.id} ({system}, {task}, tier external): {done.new} new results, {done.known} known ones")
    for note in done.notes:
        typer.echo(f"  {note}")
