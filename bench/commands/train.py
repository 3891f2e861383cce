"""``bench train``: one stage of a system, on a data set of the user's, resumable."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.config import RunSettings
    from bench.progress import Progress
    from bench.train import Stage, Trained, TrainSettings
    from bench.train_request import TrainRequest

_EXAMPLES = """
The training can be stopped and killed at any time: the same command goes on from the last checkpoint.

Examples:

    bench train wav2lip --stage expert --config tiny --dataset demo --steps 200

    bench train wav2lip --stage generator --dataset lrs2 --steps 100000 --device cuda --set expert=FILE --out DIR

    torchrun --nproc-per-node 4 -m bench train wav2lip --stage expert --dataset lrs2 --steps 100000 --device cuda
"""


def register(app: typer.Typer) -> None:
    """Add the verb to the root command."""
    app.command("train", help="Train a stage of a system." + _EXAMPLES)(_train)


System = Annotated[str, typer.Argument(help="A system that can be trained.", autocompletion=o.complete("systems"))]
StageName = Annotated[str | None, typer.Option(help="What of it [its only stage].", rich_help_panel="What")]
Config = Annotated[
    str, typer.Option("--config", help="full: published sizes; tiny: for a CPU.", rich_help_panel="What")
]
Split = Annotated[str, typer.Option(help="Split to learn from.", rich_help_panel="What")]
ValSplit = Annotated[
    str | None, typer.Option(help="Split to judge by on the way [the training clips].", rich_help_panel="What")
]
Steps = Annotated[int, typer.Option(help="Train until so many steps are done.", rich_help_panel="How")]
Every = Annotated[int, typer.Option(help="Steps between two checkpoints.", rich_help_panel="How")]
Budget = Annotated[
    float | None, typer.Option(min=0, help="Stop after so many seconds, between two steps.", rich_help_panel="How")
]
Parallel = Annotated[
    str,
    typer.Option(help="ddp: processes share the batch; fsdp: the networks too.", rich_help_panel="How"),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A stage's setting, key=value; repeatable.", rich_help_panel="How")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Folder of the training [bench-train/SYSTEM-STAGE-CONFIG].", rich_help_panel="Files"
    ),
]


def _train(
    system: System,
    steps: Steps,
    stage: StageName = None,
    config: Config = "full",
    dataset: o.DatasetOption = None,
    split: Split = "train",
    val_split: ValSplit = None,
    limit: o.LimitOption = None,
    clips: o.ClipsOption = None,
    seed: o.SeedOption = None,
    device: o.DeviceOption = None,
    dtype: o.DtypeOption = None,
    every: Every = 200,
    budget: Budget = None,
    parallel: Parallel = "ddp",
    set_: SetOption = None,
    data_root: o.DataRootOption = None,
    out: Out = None,
    plugin: o.PluginOption = None,
) -> None:
    from bench.config import effective
    from bench.work import resolve_device

    given: dict[str, Any] = {
        "dataset": dataset,
        "limit": limit,
        "clips": clips,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "set": set_,
        "data_root": data_root,
        "plugin": plugin,
    }
    settings = effective(given).settings
    o.load_plugins(settings.plugin)
    name, factory = _factory(system, stage)
    check_config(config)
    settings = settings.model_copy(update={"device": resolve_device(settings.device)})
    folder = out or Path("bench-train") / f"{system}-{name}-{config}"
    progress = _progress()
    how = _how(settings, steps, folder, every, budget, config, parallel)  # refused before the data are looked at
    request = training_request(system, config, settings, split, val_split, progress)
    _run(f"{system} {name} ({config})", factory, request, how)


def _factory(system: str, stage: str | None) -> tuple[str, str]:
    """The stage's name and the function that makes it."""
    from bench import registry
    from bench.errors import UsageError, did_you_mean

    stages = registry.get("systems", system).stages()
    if not stages:
        raise UsageError(f"system {system!r} offers no training", f"systems that do: {', '.join(_trainable())}.")
    if stage is None and len(stages) > 1:
        raise UsageError(f"{system} has {len(stages)} stages: {', '.join(stages)}", "name one with --stage.")
    name = stage if stage is not None else next(iter(stages))
    if name not in stages:
        raise UsageError(f"{system} has no stage {name!r}", did_you_mean(name, stages))
    return name, stages[name]


def _trainable() -> list[str]:
    from bench import registry
    from bench.errors import UsageError

    found = []
    for name in registry.names("systems"):
        with suppress(UsageError):  # one that cannot be imported says so when it is named
            if registry.get("systems", name).stages():
                found.append(name)
    return found or ["none is installed"]


def check_config(config: str) -> None:
    from bench.errors import UsageError, did_you_mean
    from bench.train_request import CONFIGS

    if config not in CONFIGS:
        raise UsageError(f"--config {config!r} is unknown", did_you_mean(config, CONFIGS))


def _progress() -> Progress:
    """One process of several reports."""
    from bench.progress import Progress

    return Progress(quiet=True) if os.environ.get("RANK", "0") != "0" else o.progress()


def _how(
    settings: RunSettings, steps: int, folder: Path, every: int, budget: float | None, config: str, parallel: str
) -> TrainSettings:
    from bench.train import TrainSettings

    return TrainSettings(
        steps=steps,
        folder=folder,
        seed=settings.seed,
        device=settings.device,
        dtype=settings.dtype,
        every=every,
        budget_s=budget,
        provenance={"config": config},
        parallel=parallel,
    )


def training_request(
    system: str, config: str, settings: RunSettings, split: str, val_split: str | None, progress: Progress
) -> TrainRequest:
    """What is asked of a training: the clips of the data set, and what they hash to.

    Raises:
        UsageError, DataError: unknown or absent data.
    """
    from bench import planning, selection
    from bench.errors import UsageError, did_you_mean
    from bench.train_request import TrainRequest

    if len(settings.dataset) != 1:
        raise UsageError(f"--dataset: {len(settings.dataset)} are given", "a training has one.")
    dataset = planning.open_dataset(settings.dataset[0], settings.data_root)
    for name in filter(None, (split, val_split)):
        if name not in dataset.splits and not dataset.any_split:
            raise UsageError(f"{dataset.name} has no split {name!r}", did_you_mean(name, dataset.splits))
    found, sha = planning.list_clips(dataset, split, progress)
    data = f"{dataset.name}/{split}@{sha}"
    judged, judged_sha = planning.list_clips(dataset, val_split, progress) if val_split else ([], "")
    return TrainRequest(
        config=config,
        clips=selection.select(found, settings.clips, settings.limit),
        folder=planning.cache_folder() / "train" / system,
        data=f"{data} {val_split}@{judged_sha}" if val_split else data,
        seed=settings.seed,
        device=settings.device,
        settings=settings.set,
        held_out=judged,
        progress=progress,
    )


def _run(what: str, factory: str, request: TrainRequest, how: TrainSettings) -> None:
    from dataclasses import replace

    from bench.errors import InterruptedRunError
    from bench.train import train

    stage = _made(factory, request)
    how = replace(how, provenance={**how.provenance, **_provenance(request)})
    request.progress.say(f"{what}: {len(request.clips)} clips of {request.data.partition('@')[0]}, on {how.device}")
    with _asked_to_stop(request.progress) as stop:
        done = train(stage, how, request.progress, stop)
    if how.folder.is_dir() and done.weights is not None:
        typer.echo(_summary(what, how, done))
    if done.reason == "asked":
        raise InterruptedRunError(f"interrupted after {done.step} steps; the same command goes on from here.")


def _made(factory: str, request: TrainRequest) -> Stage:
    from importlib import import_module

    from bench.errors import UsageError, blaming
    from bench.train import Stage

    module, _, function = factory.partition(":")
    with blaming(f"the training {factory!r} cannot be made", UsageError):
        stage = getattr(import_module(module), function)(request)
        if not isinstance(stage, Stage):
            raise TypeError(f"{function}() returned {type(stage).__name__}, no bench.train.Stage")
    return stage


def _provenance(request: TrainRequest) -> dict[str, str]:
    """What the weights say about how they came about."""
    import shlex

    import torch

    from bench.planning import environment

    return {
        "command": shlex.join(["bench", *sys.argv[1:]]),
        "data": request.data,
        "clips": str(len(request.clips)),
        "threads": str(torch.get_num_threads()),
        **environment(),
    }


@contextmanager
def _asked_to_stop(progress: Progress) -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM let the step end, after which the training is saved; a second one stops at once."""
    import signal

    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        progress.say("stopping after this step; once more: at once, and the steps since the last checkpoint are lost")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(what: str, how: TrainSettings, done: Trained) -> str:
    from bench.train import CHECKPOINT
    from bench.train_files import CURVE

    files = {"weights": done.weights, "checkpoint": how.folder / CHECKPOINT, "curve": how.folder / CURVE}
    head = f"{what}: {done.step} of {max(how.steps, done.step)} steps are done"
    if done.reason == "budget":
        head += f" ({how.budget_s:g} s are over; the same command goes on from here)"
    return "\n".join([head, *(f"  {name:11} {path}" for name, path in files.items())])
