"""``bench run``, ``generate`` and ``score``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from bench.config import Effective
    from bench.generate import Tally
    from bench.store import Store
    from bench.work import Work

_EXAMPLES = """
Examples:

    bench run --system ground-truth --dataset demo

    bench run -s talker,wav2lip -d lrs3 --task a2v --pairing cross --data-root DIR

    bench run -s outputs:my_results=mine -d lrs2 --metrics wer,secs --limit 100
"""


def register(app: typer.Typer) -> None:
    """Add the verbs to the root command."""
    run, generate, score = (_verb(generating=g, scoring=s) for g, s in ((True, True), (True, False), (False, True)))
    app.command("run", help="Generate, score and show the table." + _EXAMPLES)(run)
    app.command("generate", help="Generate outputs and store them; no scores.")(generate)
    app.command("score", help="Score what is stored; generates nothing.")(score)


def _every_option(
    system: o.SystemOption = None,
    dataset: o.DatasetOption = None,
    split: o.SplitOption = None,
    task: o.TaskOption = None,
    metrics: o.MetricsOption = None,
    pairing: o.PairingOption = None,
    audio: o.AudioOption = None,
    reference: o.ReferenceOption = None,
    limit: o.LimitOption = None,
    clips: o.ClipsOption = None,
    seed: o.SeedOption = None,
    device: o.DeviceOption = None,
    dtype: o.DtypeOption = None,
    batch_size: o.BatchOption = None,
    workers: o.WorkersOption = None,
    engine: o.EngineOption = None,
    set_: o.SetOption = None,
    timeout: o.TimeoutOption = None,
    retry: o.RetryOption = None,
    force: o.ForceOption = None,
    dry_run: o.DryRunOption = None,
    strict: o.StrictOption = None,
    config: o.ConfigOption = None,
    data_root: o.DataRootOption = None,
    out: o.OutOption = None,
    plugin: o.PluginOption = None,
) -> None:
    """The options that the three verbs share; they read their signature from here."""


def _verb(*, generating: bool, scoring: bool) -> Callable[..., int]:
    """A verb with the options of ``_every_option`` (without ``--metrics`` where nothing is scored)."""

    @functools.wraps(_every_option)
    def verb(**given: Any) -> int:
        return _work(given, generating=generating, scoring=scoring)

    signature = inspect.signature(_every_option, eval_str=True)
    kept = [p for name, p in signature.parameters.items() if scoring or name != "metrics"]
    verb.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in kept}
    return verb


def _settings(given: dict[str, Any]) -> Effective:
    """Validated settings of the call; plug-in files are loaded, so that their names are known."""
    from bench.config import effective

    config = given.pop("config")
    given["set"] = given.pop("set_")
    found = effective(given, config)
    o.load_plugins(found.settings.plugin)
    return found


def _work(given: dict[str, Any], *, generating: bool, scoring: bool) -> int:
    """Validate everything, then plan, generate, score, show."""
    effective = _settings(given)
    settings = effective.settings
    from bench import protocols
    from bench.store import Store

    chosen = protocols.select(settings.metrics) if scoring else None
    if settings.dry_run:
        return _dry_run(effective, chosen)
    from bench import work

    progress = o.progress()
    with Store.open(settings.out) as store:
        done, made, scored = work.execute(effective, store, progress, chosen, generating)
        _tell(progress.say, made, scored, generating, scoring)
        if scoring:
            _show(store, done, settings.metrics)
        return _exit_code(store, done, made, scored, settings.strict, scoring)


def _dry_run(effective: Effective, chosen: Any) -> int:
    from bench.commands.dry_run import describe

    typer.echo(describe(effective, chosen, o.progress()))
    return 0


def _tell(say: Any, made: Tally, scored: Tally, generating: bool, scoring: bool) -> None:
    for name, tally, on in (("generated", made, generating), ("scores", scored, scoring)):
        if on:
            say(f"{name}: {tally.done} new, {tally.resumed} were there, {tally.failed} failed")


def _show(store: Store, done: Work, metrics: list[str]) -> None:
    from bench.commands.tables import show_runs

    show_runs(store, [plan.record.id for plan in done.plans], metrics)


def _exit_code(store: Store, done: Work, made: Tally, scored: Tally, strict: bool, scoring: bool) -> int:
    """3 for conflicts; 1 where a requested protocol has no value at all, or, if strict, any failure."""
    if made.conflicts or scored.conflicts:
        typer.echo("bench: results came twice and differ; `bench runs show RUN` lists them.", err=True)
        return 3
    empty: list[str] = []
    failed = 0
    for plan in done.plans:
        outputs = store.outputs(plan.record.id)
        failed += sum(output.status != "ok" for output in outputs.values())
        if not scoring:
            empty += [] if any(v.status == "ok" for v in outputs.values()) else [plan.record.system]
            continue
        for protocol in store.protocols(plan.record.id):
            column = store.scores(plan.record.id, protocol)
            failed += column.n_failed
            if column.n_scored == 0:
                empty.append(f"{plan.record.system} {plan.record.task} {protocol}")
    if empty:
        typer.echo("bench: no value at all for: " + ", ".join(empty[:10]), err=True)
    return 1 if empty or (strict and failed) else 0
