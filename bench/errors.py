"""The exceptions that reach a user, each with the exit code that DESIGN.md gives to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class BenchError(Exception):
    """An error for people: what was wrong and where (``message``), and what to do (``hint``)."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[BenchError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class DataError(BenchError):
    """Scores, files or data sets that are missing or broken (exit code 1)."""

    exit_code = 1


class UsageError(BenchError):
    """Wrong usage or configuration (exit code 2)."""

    exit_code = 2


class NotHereError(UsageError):
    """A system that cannot run here as asked: weights, packages or checkouts are absent, or its tier lacks the
    setting (exit code 2)."""


class NoDataError(NotHereError):
    """A data set whose files are not where they are looked for (exit code 2)."""


class ConflictError(BenchError):
    """Two different results for one key (exit code 3)."""

    exit_code = 3


class EngineLostError(BenchError):
    """The engine is gone; the same command goes on (exit code 4)."""

    exit_code = 4


class InterruptedRunError(BenchError):
    """Ctrl-C or SIGTERM; the same command goes on (exit code 130)."""

    exit_code = 130


class Unscorable(Exception):
    """Raised by media decoding and by metrics for one clip; the harness records it as a ``Failure``.

    ``kind`` is one of :data:`bench.api.FAILURE_KINDS`.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail

    def __reduce__(self) -> tuple[type[Unscorable], tuple[str, str]]:
        return type(self), (self.kind, self.detail)


def did_you_mean(name: str, known: Iterable[str], list_command: str = "") -> str:
    """A hint for an unknown ``name``: the nearest known ones and the command that lists all."""
    names = sorted(set(known))
    folded = {known_name.casefold(): known_name for known_name in names}
    near = [folded[n] for n in get_close_matches(name.casefold(), list(folded), n=5, cutoff=0.5)]
    parts = []
    if near:
        parts.append("did you mean " + " or ".join(repr(n) for n in near) + "?")
    elif names:
        parts.append("known: " + ", ".join(names[:12]) + (", …" if len(names) > 12 else "") + ".")
    if list_command:
        parts.append(f"`{list_command}` lists all.")
    return " ".join(parts)


def printable(text: str, limit: int = 2000) -> str:
    """Text of somebody else for a table or terminal: control characters spelled out, at most ``limit`` of it."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in cut)


def in_words(error: BaseException) -> str:
    """Type and message of an exception, as :func:`printable` text."""
    return printable(f"{type(error).__name__}: {error}".removesuffix(": "))


@contextmanager
def blaming(what: str, kind: type[BenchError] = DataError) -> Iterator[None]:
    """Whatever a plug-in raises becomes an error of ``kind`` that begins with ``what``; our own errors pass."""
    try:
        yield
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        remedy = "check that path and the rights to it" if isinstance(error, OSError) else "a defect of that plug-in"
        raise kind(f"{what}: {in_words(error)}", f"{remedy}: --debug shows the trace.") from error
