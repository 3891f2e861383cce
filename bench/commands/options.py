"""Options that several verbs share, and how the command line talks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bench.progress import Progress


@dataclass(frozen=True)
class Output:
    """How to print: ``-q``, ``-v``, ``--debug``, ``--no-color``."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    colour: bool = True


_output = Output()


def set_output(output: Output) -> None:
    """Set by the root command before a verb runs."""
    global _output
    _output = output


def output() -> Output:
    """How this call of the command line prints."""
    return _output


def progress() -> Progress:
    """A progress reporter for stderr."""
    from bench.progress import Progress

    return Progress(quiet=_output.quiet, colour=_output.colour, verbose=_output.verbose)


def complete(group: str) -> Any:
    """Shell completion of plug-in names (imports nothing heavy)."""

    def names(incomplete: str) -> list[str]:
        from bench import registry

        done, comma, last = incomplete.rpartition(",")
        return [f"{done}{comma}{name}" for name in registry.names(group) if name.startswith(last)]  # type: ignore[arg-type]

    return names


def load_plugins(files: list[Path] | None) -> None:
    """Register the classes of ``--plugin`` files (and of BENCH_PLUGIN)."""
    import os

    from bench import registry
    from bench.errors import UsageError

    named = list(files or []) or [Path(p) for p in os.environ.get("BENCH_PLUGIN", "").split(",") if p]
    found: dict[str, Path] = {}
    for file in dict.fromkeys(named):
        for name in registry.load_file(file):
            if name in found:
                raise UsageError(f"--plugin {file}: {name} is defined by {found[name]} too", "rename one of them.")
            found[name] = file


SystemOption = Annotated[
    list[str] | None,
    typer.Option(
        "--system", "-s", help="Systems, comma separated.", autocompletion=complete("systems"), rich_help_panel="What"
    ),
]
DatasetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset", "-d", help="Data sets [demo].", autocompletion=complete("datasets"), rich_help_panel="What"
    ),
]
SplitOption = Annotated[str | None, typer.Option(help="Split [the data set's test split].", rich_help_panel="What")]
TaskOption = Annotated[
    list[str] | None,
    typer.Option(help="vts, dub, a2v, t2av, tts [all that system and data set share].", rich_help_panel="What"),
]
MetricsOption = Annotated[
    list[str] | None,
    typer.Option(help="auto, all, families (wer) or protocol ids [auto].", rich_help_panel="What"),
]
PairingOption = Annotated[
    str | None, typer.Option(help="matched, cross or FILE of pairs [matched].", rich_help_panel="Condition")
]
AudioOption = Annotated[
    str | None, typer.Option(help="Driving audio of a2v: real or tts [real].", rich_help_panel="Condition")
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(help="Voice and face: none, same, other, or FILE [other; a2v: none].", rich_help_panel="Condition"),
]
LimitOption = Annotated[
    int | None, typer.Option(help="At most N clips: a fixed sample over speakers.", rich_help_panel="Clips")
]
ClipsOption = Annotated[str | None, typer.Option(help="Clip ids, globs, or @FILE.", rich_help_panel="Clips")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of the run [0].", rich_help_panel="How")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N [auto].", rich_help_panel="How")]
DtypeOption = Annotated[str | None, typer.Option(help="float32, bfloat16, float16 [float32].", rich_help_panel="How")]
BatchOption = Annotated[int | None, typer.Option("--batch-size", help="Requests per batch [8].", rich_help_panel="How")]
WorkersOption = Annotated[
    int | None,
    typer.Option(help="Worker processes [one per core or device]; 0: this process.", rich_help_panel="How"),
]
EngineOption = Annotated[str | None, typer.Option(help="Where work runs: local or ray [local].", rich_help_panel="How")]
RayAddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster: auto or HOST:PORT [one of its own on this machine].", rich_help_panel="How"),
]
GpusPerWorkerOption = Annotated[
    float | None, typer.Option(help="GPUs or share of one per Ray worker [1 on cuda].", rich_help_panel="How")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A system's setting, key=value; repeatable.", rich_help_panel="How"),
]
TimeoutOption = Annotated[
    float | None, typer.Option(help="Seconds that one unit may take [600].", rich_help_panel="How")
]
RetryOption = Annotated[
    int | None, typer.Option(help="Attempts per unit when workers are lost [3].", rich_help_panel="How")
]
ForceOption = Annotated[bool | None, typer.Option("--force", help="Do the selected clips anew.", rich_help_panel="How")]
DryRunOption = Annotated[bool | None, typer.Option("--dry-run", help="Print the plan and stop.", rich_help_panel="How")]
StrictOption = Annotated[bool | None, typer.Option("--strict", help="Any failure: exit code 1.", rich_help_panel="How")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML file with any of these options.", rich_help_panel="Files")
]
DataRootOption = Annotated[
    Path | None,
    typer.Option("--data-root", help="Root of the data set or its parent [BENCH_DATA].", rich_help_panel="Files"),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder of the store [bench-store].", rich_help_panel="Files")
]
MediaRootOption = Annotated[
    Path | None,
    typer.Option(
        "--media-root", help="Keep outputs here by their content, shared by stores [in --out].", rich_help_panel="Files"
    ),
]
OutsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--out", "-o", help="Folder of a store [bench-store]; several are merged by content.", rich_help_panel="Files"
    ),
]
SaveFolderOption = Annotated[
    Path | None,
    typer.Option("--save", help="Also write the tables here: .md, .csv and .json.", rich_help_panel="Files"),
]
PublishedOption = Annotated[
    bool | None,
    typer.Option("--published/--no-published", help="Papers' numbers below the tables.", rich_help_panel="What"),
]
PluginOption = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file with plug-in classes; repeatable.", rich_help_panel="Files"),
]


def store_folder(out: Path | None) -> Path:
    """``--out``, else ``BENCH_OUT``, else ``bench-store`` here."""
    import os

    return out or Path(os.environ.get("BENCH_OUT") or "bench-store")
