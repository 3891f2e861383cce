"""``bench data prepare``: what a system's training needs of each clip, made in advance."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bench.commands import options as o

System = Annotated[str, typer.Argument(help="A system that can be trained.", autocompletion=o.complete("systems"))]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; repeatable.")]


def prepare(
    system: System,
    config: Annotated[str, typer.Option("--config", help="full: published sizes; tiny: for a CPU.")] = "full",
    dataset: o.DatasetOption = None,
    split: Annotated[str, typer.Option(help="Split to learn from.")] = "train",
    val_split: Annotated[str | None, typer.Option(help="Split to judge by.")] = None,
    limit: o.LimitOption = None,
    clips: o.ClipsOption = None,
    device: o.DeviceOption = None,
    set_: SetOption = None,
    data_root: o.DataRootOption = None,
    plugin: o.PluginOption = None,
) -> None:
    """Make in advance what ``bench train`` would make clip by clip; a call that is stopped goes on where it was."""
    from importlib import import_module

    from bench import registry
    from bench.commands.train import check_config, training_request
    from bench.config import effective
    from bench.errors import UsageError, blaming
    from bench.work import resolve_device

    given: dict[str, Any] = {
        "dataset": dataset,
        "limit": limit,
        "clips": clips,
        "device": device,
        "set": set_,
        "data_root": data_root,
        "plugin": plugin,
    }
    settings = effective(given).settings
    o.load_plugins(settings.plugin)
    named = registry.get("systems", system).preparation()
    if named is None:
        raise UsageError(f"system {system!r} prepares nothing", "its training makes what it needs as it goes.")
    check_config(config)
    settings = settings.model_copy(update={"device": resolve_device(settings.device)})
    request = training_request(system, config, settings, split, val_split, o.progress())
    module, _, function = named.partition(":")
    with blaming(f"the preparation {named!r} has failed", UsageError):
        done = getattr(import_module(module), function)(request)
    typer.echo(str(done))
