"""The command line: verbs, errors for people, exit codes. Nothing heavy is imported here.

Exit codes: 0 fine; 1 a requested protocol has no value, ``--strict`` and a failure, gate failed or
data errors; 2 usage or configuration; 3 conflicting results; 4 engine lost; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys

import typer

from bench.commands import data, interchange, look, report, run, slots, study, tables, train
from bench.commands.options import Output, set_output
from bench.errors import BenchError

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure video-to-speech and talking-head systems under exact, named protocols.\n\n"
    "`bench run --system ground-truth --dataset demo` generates, scores and shows a table.",
)
run.register(app)
tables.register(app)
interchange.register(app)
slots.register(app)
look.register(app)
data.register(app)
train.register(app)
study.register(app)
report.register(app)


def _version(value: bool) -> None:
    if value:
        from bench import __version__

        typer.echo(f"bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    quiet: bool = typer.Option(False, "-q", "--quiet", help="No progress, only results."),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="Say more: every failure as it happens."),
    debug: bool = typer.Option(False, "--debug", help="Show the stack trace of an error."),
    no_color: bool = typer.Option(False, "--no-color", help="Plain text (as the variable NO_COLOR does)."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    if no_color:
        os.environ["NO_COLOR"] = "1"
    set_output(Output(quiet, verbose, debug, colour=not os.environ.get("NO_COLOR")))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    # numpy's matrices are small here: several threads wait for each other, on busy cores hundreds of times longer
    # than they work. Networks have threads of their own
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _as_interrupt)
    sys.exit(invoke(sys.argv[1:] if arguments is None else arguments))


def _as_interrupt(_signal: int, _frame: object) -> None:
    """SIGTERM ends a command as Ctrl-C does."""
    raise KeyboardInterrupt


def invoke(arguments: list[str]) -> int:
    """Run one command; returns its exit code. Errors of ``bench`` become two lines on stderr."""
    debug = "--debug" in arguments
    try:
        command = typer.main.get_command(app)
        result = command.main(args=_global_first(arguments), prog_name="bench", standalone_mode=False)
        if result == INTERRUPTED:  # the parser's own answer to Ctrl-C, which says nothing
            return _interrupted()
        return result if isinstance(result, int) else 0
    except BenchError as error:
        if debug:
            raise
        typer.echo(f"bench: {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last place where an error can be put into words
        return _click_error(error, debug)


INTERRUPTED = 130


def _interrupted() -> int:
    typer.echo("bench: interrupted; the same command goes on from here.", err=True)
    return INTERRUPTED


#: Options of ``bench`` itself that people also write behind the verb.
_GLOBAL = ("-q", "--quiet", "-v", "--verbose", "--debug", "--no-color")


def _global_first(arguments: list[str]) -> list[str]:
    """``bench run … -q`` means ``bench -q run …``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    front = [a for a in arguments[:end] if a in _GLOBAL]
    return front + [a for a in arguments[:end] if a not in _GLOBAL] + arguments[end:]


def _click_error(error: Exception, debug: bool) -> int:
    """Usage errors of the parser in our own form; anything else is a defect of ours and says so."""
    show = getattr(error, "format_message", None)
    code = getattr(error, "exit_code", None)
    if isinstance(error, (typer.Exit,)):
        return int(error.exit_code)
    if isinstance(error, typer.Abort):
        return _interrupted() if isinstance(error.__cause__, KeyboardInterrupt) else INTERRUPTED
    if show is not None and isinstance(code, int):
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "bench"
        typer.echo(f"bench: {show()}\n  `{where} --help` shows what there is.", err=True)
        return 2
    if debug:
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        place = f"{error.filename}: {error.strerror}"
        typer.echo(f"bench: {place}\n  check that path and the rights to it; --debug shows where it is used.", err=True)
        return 1
    typer.echo(
        f"bench: internal error: {type(error).__name__}: {error}\n"
        "  this is a defect of bench; run it again with --debug and report the trace.",
        err=True,
    )
    return 1
