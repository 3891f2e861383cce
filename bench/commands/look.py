"""``bench list``, ``info``, ``doctor``, ``weights``, ``runs``, ``conformance`` and ``completion``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands import options as o
from bench.commands import weights

GROUPS = ("systems", "metrics", "datasets", "protocols")


def register(app: typer.Typer) -> None:
    """Add the verbs to the root command."""
    app.command("list", help="Systems, metrics, data sets and protocols that are installed.")(_list)
    app.command("info", help="All about one system, metric, protocol or data set.")(_info)
    app.command("doctor", help="What this machine can run, and what to do for the rest.")(_doctor)
    app.command("conformance", help="Hold every network and formula against recorded numbers.")(_conformance)
    app.command("completion", help="Print the completion script of a shell.")(_completion)
    app.add_typer(weights.group(), name="weights")
    runs = typer.Typer(no_args_is_help=True, help="Runs in the store: list, show, remove.")
    runs.command("list", help="All runs, oldest first.")(_runs_list)
    runs.command("show", help="One run: configuration, environment, outputs, conflicts.")(_runs_show)
    runs.command("remove", help="Delete a run and its media.")(_runs_remove)
    app.add_typer(runs, name="runs")


def _list(
    what: Annotated[str, typer.Argument(help="systems, metrics, datasets, protocols, or all.")] = "all",
    json_: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    plugin: o.PluginOption = None,
) -> None:
    from bench.commands.catalogue import listing, render
    from bench.errors import UsageError, did_you_mean

    o.load_plugins(plugin)
    if what not in {*GROUPS, "all"}:
        raise UsageError(f"bench list {what!r} is unknown", did_you_mean(what, [*GROUPS, "all"]))
    found = {group: listing(group, full=json_) for group in (GROUPS[:3] if what == "all" else (what,))}
    typer.echo(_json(found) if json_ else render(found))


def _info(
    name: Annotated[str, typer.Argument(help="A system, metric, protocol id or data set.")],
    json_: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    plugin: o.PluginOption = None,
) -> None:
    from bench.commands.catalogue import info, render_info

    o.load_plugins(plugin)
    found = info(name)
    typer.echo(_json(found) if json_ else render_info(found))


def _json(value: Any) -> str:
    import json

    return json.dumps(value, indent=1, ensure_ascii=False, default=str)


def _doctor(json_: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    from bench.commands.doctor import examine, render

    found = examine()
    typer.echo(_json(found) if json_ else render(found))


def _conformance(
    component: Annotated[list[str] | None, typer.Argument(help="metrics, tfg, … [all].")] = None,
    golden: Annotated[Path | None, typer.Option("--golden", help="Folder of the cases [tests/golden].")] = None,
    json_: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    from dataclasses import asdict

    from bench import conformance

    results = []
    for result in conformance.iter_results(golden, component):
        results.append(result)
        if not json_:
            typer.echo(
                f"{result.status:8} {result.component}/{result.case} ({result.op})  max abs {result.max_abs:.2g}"
                f"  rel {result.max_rel:.2g}  {result.detail}".rstrip()
            )
    passed = sum(result.passed for result in results)
    if json_:
        typer.echo(_json([asdict(result) for result in results]))
    else:
        typer.echo(f"{passed} of {len(results)} cases pass")
    return 0 if passed == len(results) else 1


def _completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    from bench.errors import UsageError, did_you_mean

    shells = ("bash", "zsh", "fish")
    if shell not in shells:
        raise UsageError(f"no completion for shell {shell!r}", did_you_mean(shell, shells))
    from typer._completion_shared import get_completion_script

    typer.echo(get_completion_script(prog_name="bench", complete_var="_BENCH_COMPLETE", shell=shell))


def _runs_list(out: o.OutOption = None, json_: Annotated[bool, typer.Option("--json")] = False) -> None:
    from bench.commands.catalogue import render_table
    from bench.store import Store

    with Store.open(o.store_folder(out), write=False) as store:
        rows = []
        for run in store.runs():
            outputs = store.outputs(run.id)
            rows.append(
                {
                    "run": run.id,
                    "system": run.system,
                    "dataset": f"{run.dataset}/{run.split}",
                    "task": run.task,
                    "condition": "/".join(part for part in (run.pairing, run.audio, run.reference) if part),
                    "seed": run.seed,
                    "outputs": sum(v.status == "ok" for v in outputs.values()),
                    "failed": sum(v.status != "ok" for v in outputs.values()),
                    "clips": f"{len(store.run_clips(run.id))}/{run.n_split}",
                    "created": run.created,
                }
            )
    typer.echo(_json(rows) if json_ else render_table(rows) or "no runs yet: bench run --system ground-truth")


def _runs_show(run: Annotated[str, typer.Argument(help="Run id or its beginning.")], out: o.OutOption = None) -> None:
    from dataclasses import asdict

    from bench.store import Store

    with Store.open(o.store_folder(out), write=False) as store:
        record = store.run(run)
        outputs = store.outputs(record.id)
        failures = {k: f"{v.kind}: {v.detail}" for k, v in outputs.items() if v.status != "ok"}
        shown = {
            **asdict(record),
            "protocols": store.protocols(record.id),
            "outputs": sum(v.status == "ok" for v in outputs.values()),
            "failures": failures,
            "conflicts": [asdict(conflict) for conflict in store.conflicts(record.id)],
        }
    typer.echo(_json(shown))


def _runs_remove(
    run: Annotated[str, typer.Argument(help="Run id or its beginning.")],
    out: o.OutOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    from bench.store import Store

    with Store.open(o.store_folder(out)) as store:
        record = store.run(run)
        if not yes:
            typer.confirm(f"remove run {record.id} ({record.system}, {record.task}) with its media?", abort=True)
        freed = store.remove_run(record.id)
    typer.echo(f"removed run {record.id}, {freed / 2**20:.1f} MiB freed")
