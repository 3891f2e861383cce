"""``bench data make|check|index|clips|prepare|strip``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import options as o
from bench.commands.prepare import prepare

if TYPE_CHECKING:
    from bench.contracts import Dataset

Name = Annotated[
    str, typer.Argument(help="demo, lrs2, lrs3, cinepile or folder.", autocompletion=o.complete("datasets"))
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the root command."""
    data = typer.Typer(no_args_is_help=True, help="Data sets: make the demo corpus, check and index a tree.")
    data.command("make", help="Make the demo corpus (deterministic, nothing is downloaded).")(_make)
    data.command("check", help="Report what is wrong with a data set, per clip.")(_check)
    data.command("index", help="Build the index of a data set now, with hashes.")(_index)
    data.command("clips", help="The clips of a split, an id per line: what --clips @FILE reads.")(_clips)
    data.command("prepare", help="Make in advance what a system's training needs of each clip; resumable.")(prepare)
    data.command("strip", help="A picture of some frames of a demo clip.")(_strip)
    app.add_typer(data, name="data")


def _open(name: str, data_root: Path | None) -> Dataset:
    from bench.planning import open_dataset

    return open_dataset(name, data_root)


def _make(
    name: Annotated[str, typer.Argument(help="demo")] = "demo",
    size: Annotated[str, typer.Option(help="default, large, or a number of training clips.")] = "default",
    splits: Annotated[str | None, typer.Option(help="Only these splits, comma separated [all].")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sentences.")] = 0,
    workers: o.WorkersOption = None,
    data_root: o.DataRootOption = None,
) -> None:
    import os

    from bench.errors import UsageError

    if name != "demo":
        raise UsageError(f"bench cannot make {name!r}", "demo is the only data set that is made; others are yours.")
    from bench.datasets.demo.make import make_corpus
    from bench.planning import open_dataset

    dataset = open_dataset("demo", data_root)
    if dataset.root is None:
        raise UsageError("the demo corpus has no folder", "give --data-root DIR.")
    named = [part.strip() for part in splits.split(",") if part.strip()] if splits else None
    count: str | int = int(size) if size.isdigit() else size
    with o.progress().callback("demo corpus") as report:
        summary = make_corpus(
            dataset.root, size=count, seed=seed, splits=named, workers=workers or os.cpu_count() or 1, progress=report
        )
    typer.echo(str(summary))


def _check(
    name: Name,
    split: o.SplitOption = None,
    clips: o.ClipsOption = None,
    fast: Annotated[bool, typer.Option("--fast", help="Headers only; nothing is decoded.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON report here.")] = None,
    data_root: o.DataRootOption = None,
    plugin: o.PluginOption = None,
) -> int:
    from bench.datasets.check_render import render_json, render_text
    from bench.errors import blaming

    o.load_plugins(plugin)
    dataset = _open(name, data_root)
    with blaming(f"data set {name!r}: the check broke off"), o.progress().callback("check") as report:
        found = dataset.check(split, clips, fast, report)
    if out is not None:
        with _writing(out):
            out.write_text(render_json(found), encoding="utf-8")
    typer.echo(render_json(found) if json_ else render_text(found))
    return 1 if found.count("error") or (strict and found.count("warn")) else 0


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Refuse a file that cannot be written."""
    from bench.errors import UsageError

    try:
        yield
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror or error}", "name a file that can be written.") from error


def _index(
    name: Name, split: o.SplitOption = None, data_root: o.DataRootOption = None, plugin: o.PluginOption = None
) -> None:
    from bench.planning import list_clips

    o.load_plugins(plugin)
    dataset = _open(name, data_root)
    for wanted in (split,) if split else dataset.splits:
        clips, content = list_clips(dataset, wanted, o.progress())
        typer.echo(f"{name}/{wanted}: {len(clips)} clips, content {content[:16]}")


def _clips(
    name: Name,
    split: o.SplitOption = None,
    clips: o.ClipsOption = None,
    limit: o.LimitOption = None,
    data_root: o.DataRootOption = None,
    plugin: o.PluginOption = None,
) -> None:
    from bench.planning import list_clips
    from bench.selection import select

    o.load_plugins(plugin)
    dataset = _open(name, data_root)
    listed, _ = list_clips(dataset, split or dataset.default_split, o.progress())
    for clip in select(listed, clips, limit):
        typer.echo(clip.id)


def _strip(
    target: Annotated[Path, typer.Argument(help="The PNG to write.")],
    clip: Annotated[str | None, typer.Option(help="Clip id [the first of test].")] = None,
    data_root: o.DataRootOption = None,
) -> None:
    from bench.datasets.demo.strip import frames_strip
    from bench.selection import select

    clips = _open("demo", data_root).clips("test")
    chosen = select(clips, clip) if clip else clips[:1]
    if chosen[0].video is not None:
        with _writing(target):
            frames_strip(chosen[0].video.path, target)
    typer.echo(f"{target}: {chosen[0].id}")
