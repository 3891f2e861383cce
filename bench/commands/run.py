"""``bench run``, ``generate`` and ``score``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from bench.config import Effective, RunSettings
    from bench.generate import Tally
    from bench.planning import Work
    from bench.protocols import Selection
    from bench.store import Store

_EXAMPLES = """
Examples:

    bench run --system ground-truth --dataset demo

    bench run -s talker,wav2lip -d lrs3 --task a2v --pairing cross --data-root DIR

    bench run -s ground-truth,hicodit -d lrs3 --data-root DIR --engine ray --ray-address auto --gpus-per-worker 0.5

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
    published: o.PublishedOption = None,
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
    ray_address: o.RayAddressOption = None,
    gpus_per_worker: o.GpusPerWorkerOption = None,
    set_: o.SetOption = None,
    timeout: o.TimeoutOption = None,
    retry: o.RetryOption = None,
    force: o.ForceOption = None,
    dry_run: o.DryRunOption = None,
    strict: o.StrictOption = None,
    config: o.ConfigOption = None,
    data_root: o.DataRootOption = None,
    out: o.OutOption = None,
    media_root: o.MediaRootOption = None,
    save: o.SaveFolderOption = None,
    plugin: o.PluginOption = None,
) -> None:
    """The options that the three verbs share; they read their signature from here."""


def _verb(*, generating: bool, scoring: bool) -> Callable[..., int]:
    """A verb with the options of ``_every_option`` (without those about numbers where nothing is scored)."""

    @functools.wraps(_every_option)
    def verb(**given: Any) -> int:
        return _work(given, generating=generating, scoring=scoring)

    signature = inspect.signature(_every_option, eval_str=True)
    kept = [p for name, p in signature.parameters.items() if scoring or name not in _ABOUT_NUMBERS]
    verb.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in kept}
    return verb


_ABOUT_NUMBERS = {"metrics", "published", "save"}


def _settings(given: dict[str, Any]) -> Effective:
    """Validated settings of the call; plug-in files are loaded, so that their names are known."""
    from bench.config import effective

    config = given.pop("config")
    given["set"] = given.pop("set_")
    return effective(given, config, load_plugins=o.load_plugins)


def _work(given: dict[str, Any], *, generating: bool, scoring: bool) -> int:
    """Validate everything, then plan, generate, score, show."""
    effective = _settings(given)
    settings = effective.settings
    if effective.tables is not None:
        from bench.commands import paper

        return paper.work(effective, effective.tables, generating=generating, scoring=scoring)
    from bench import protocols
    from bench.store import Store

    chosen = protocols.select(settings.metrics) if scoring else None
    if settings.dry_run:
        return _dry_run(effective, chosen)
    from bench import planning, work
    from bench.commands.verdict import tell

    planning.named_systems(settings)  # a slip of the pen leaves no empty store behind
    if not generating:
        Store.open(settings.out, write=False).close()
    progress = o.progress()
    if chosen is not None and settings.metrics != ["all"]:
        _tell_left_out(progress.say, chosen)
    with Store.open(settings.out, media_root=settings.media_root) as store:
        done, made, scored = work.execute(effective, store, progress, chosen, generating)
        tell(progress.say, made, scored, generating, scoring)
        if scoring:
            _show(store, done, settings)
        if chosen is not None and settings.metrics == ["all"]:
            _show_left_out(done, chosen)
        return _exit_code(store, done, made, scored, settings.strict, chosen)


def _dry_run(effective: Effective, chosen: Any) -> int:
    from bench.commands.dry_run import describe

    typer.echo(describe(effective, chosen, o.progress()))
    return 0


def _tell_left_out(say: Any, chosen: Selection) -> None:
    from bench.commands import left_out

    block = left_out.text(left_out.reasons(chosen), "left out")
    if block:
        say(block)


def _show_left_out(done: Work, chosen: Selection) -> None:
    """Under the tables of ``--metrics all``: every protocol that has no column in them, with reason and remedy."""
    from bench.commands import left_out

    tasks = list(dict.fromkeys(plan.record.task for plan in done.plans))
    block = left_out.text(left_out.reasons(chosen, tasks), "without a number here, and why")
    if block:
        typer.echo("\n" + block)


def _show(store: Store, done: Work, settings: RunSettings) -> None:
    from bench.commands.tables import save_tables, show_table
    from bench.results.leaderboard import build
    from bench.results.published import blocks

    runs = [store.run(plan.record.id) for plan in done.plans]
    table = build(store, runs, metrics=settings.metrics)
    printed = blocks(table) if settings.published else []
    show_table(table, printed)
    if settings.save is not None:
        save_tables(table, printed, settings.save, "leaderboard")


def _exit_code(store: Store, done: Work, made: Tally, scored: Tally, strict: bool, chosen: Selection | None) -> int:
    from bench.commands.verdict import verdict

    return verdict(store, [(chosen, done.plans)], done.absent, made.conflicts + scored.conflicts, strict)
