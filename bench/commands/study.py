"""``bench study make`` and ``bench study read``: listening and viewing tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from bench.results.study.answers import Answers
    from bench.results.study.judge import Judged
    from bench.results.study.key import Key
    from bench.results.study.make import Made

_MAKE = """Build the page of a listening test from runs of the store.

The folder opens from the file system or any web server and is all that participants need. The key, which says
what stands for which system, is written beside it and stays with you, with a list of codes: one per participant.

    bench study make ground-truth hicodit talker --kind mos --clips 20 -o study

    bench study make hicodit talker --kind preference --clips 15 --participants 12 -o ab
"""
_READ = """Read the files of answers that participants sent, store the scores and show them.

A file that is broken, foreign, incomplete, inattentive or there twice is listed with its reason and does not
count. The scores are protocols study/… of the store: `bench leaderboard` shows them.

    bench study read answers/*.json --study study.key.json
"""


def register(app: typer.Typer) -> None:
    """Add the verbs to the root command."""
    group = typer.Typer(no_args_is_help=True, help="Listening and viewing tests: make a page, read its answers.")
    group.command("make", help=_MAKE)(_make)
    group.command("read", help=_READ)(_read)
    app.add_typer(group, name="study")


def _make(
    runs: Annotated[list[str], typer.Argument(help="Systems, or run ids: the versions to be judged.")],
    folder: Annotated[Path, typer.Option("-o", "--folder", help="New folder for participants.")],
    kind: Annotated[str, typer.Option(help="mos (opinions) or preference (pairs).")] = "mos",
    questions: Annotated[
        str | None, typer.Option(help="Of opinions: naturalness, sync, comma separated [both; tts: naturalness].")
    ] = None,
    clips: Annotated[int, typer.Option(help="How many clips; every participant hears each.")] = 20,
    participants: Annotated[int, typer.Option(help="How many codes of participants.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of clips and orders.")] = 0,
    title: Annotated[str, typer.Option(help="Heading of the page: no name of a system.")] = "Listening study",
    key: Annotated[Path | None, typer.Option(help="File of the key [FOLDER.key.json].")] = None,
    data_root: o.DataRootOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the store [bench-store].")] = None,
) -> None:
    from bench.commands.tables import flat
    from bench.results.study.make import Plan, chosen, make
    from bench.store import Store

    key_file = key or folder.with_name(folder.name + ".key.json")
    with Store.open(o.store_folder(out), write=False) as store:
        found = chosen(store, runs)
        asked = flat([questions]) if questions is not None else _default_questions(kind, found[0].task)
        plan = Plan(kind, asked, clips, participants, seed, title)
        made = make(store, found, plan, folder, key_file, data_root, o.progress())
    _tell(made)


def _default_questions(kind: str, task: str) -> list[str]:
    if kind == "preference":
        return ["preference"]
    return ["naturalness"] if task == "tts" else ["naturalness", "sync"]


def _tell(made: Made) -> None:
    """What was made, and what to do with it."""
    people = list(made.key.sheets)
    typer.echo(f"for participants: {made.folder}/index.html, {len(made.key.stimuli) + len(made.key.checks)} clips")
    typer.echo(f"for you alone:    {made.key_file}, the key; without it the answers cannot be read")
    typer.echo(f"{made.trials} trials per participant, {made.checks} of them checks of attention")
    typer.echo(f"{len(people)} codes, one per participant, in this order: {', '.join(people)}")
    typer.echo(f"a link with its code: index.html#code={people[0]}")
    if len(people) % made.balanced_every:
        typer.echo(f"balanced after every {made.balanced_every} participants: {len(people)} is no multiple of that")
    if made.licence:
        typer.echo(
            f"WARNING the folder holds recordings that may not be given to others ({made.licence}): "
            "show it on your own machines, send it to nobody whom that licence leaves out"
        )


def _read(
    answers: Annotated[list[Path], typer.Argument(help="Files of answers.")],
    study: Annotated[Path, typer.Option("--study", help="The key of the study.")],
    store_: Annotated[bool, typer.Option("--store/--no-store", help="Put the scores into the store.")] = True,
    json_: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    out: o.OutOption = None,
) -> None:
    import json

    from bench.results.study import key as keys
    from bench.results.study import show
    from bench.results.study.answers import read_all
    from bench.results.study.judge import judge

    key = keys.load(study)
    accepted, refused = read_all(answers, key)
    for line in show.refusals(refused):
        typer.echo(f"refused: {line}", err=True)
    if not accepted:
        from bench.errors import DataError

        raise DataError(
            f"none of {len(answers)} files of answers counts for study {key.study}", "the reasons stand above."
        )
    judged = judge(accepted, key)
    if json_:
        typer.echo(json.dumps(show.as_json(key, accepted, refused, judged), indent=1, ensure_ascii=False))
    else:
        _show(key, judged, len(accepted), len(refused))
    if store_:
        _record(key, accepted, judged, out)


def _show(key: Key, judged: Judged, n_accepted: int, n_refused: int) -> None:
    from bench.commands.catalogue import render_table
    from bench.results.study import show

    rows = show.opinion_rows if key.kind == "mos" else show.preference_rows
    typer.echo(f"{key.title} (study {key.study}): {n_accepted} participants, {n_refused} files refused")
    typer.echo(render_table(rows(judged.summaries)))
    for line in show.lines(judged):
        typer.echo(line)


def _record(key: Key, accepted: list[Answers], judged: Judged, out: Path | None) -> None:
    from bench.results.study.record import record
    from bench.store import Store

    folder = o.store_folder(out)
    Store.open(folder, write=False).close()  # never made here: answers belong to the store of the runs
    with Store.open(folder) as store:
        done = record(store, key, accepted, judged)
    for protocol, count in done.scores.items():
        typer.echo(f"stored: {count} scores of {protocol}, panel {done.panel[:12]}", err=True)
    if done.absent:
        typer.echo(f"{done.absent} judged outputs are not in this store any more: no table shows them", err=True)
