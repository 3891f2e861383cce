"""The worker's side of the ray engine: the body of an actor, on whatever node Ray has put it.

Ray gives each actor a process of its own. It runs the same functions as a worker of the local engine, under the
same environment, and answers with the same messages.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.engines.worker import Handler, Setup, attempt, get_ready
from bench.errors import UsageError


@dataclass(frozen=True)
class Place:
    """Where the driver is: a worker imports from there, and finds files under the same names.

    ``mark`` is a file that the driver has just made in the folder of logs: a node that does not see it cannot see
    the store either. ``None``: there is nothing to share.
    """

    path: Sequence[str]
    folder: str
    mark: str | None


class Worker:
    """One actor. ``hello`` answers as soon as its process is there, ``start`` when it can take batches."""

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def hello(self) -> int:
        """The process id."""
        return os.getpid()

    def start(self, setup: Setup, place: Place, log_name: str) -> tuple[Any, ...]:
        """Move to the driver's place and make the handler; answers as a local worker does."""
        sys.path[:] = [*place.path, *(folder for folder in sys.path if folder not in place.path)]
        if Path(place.folder).is_dir():
            os.chdir(place.folder)
        if place.mark is not None:
            mark = Path(place.mark)
            if not mark.exists():
                return ("refused", _not_shared(mark.parent))
            _write_to(mark.with_name(log_name))
        self._watch_over_children()
        self._handler, answer = get_ready(setup)
        return answer

    def work(self, payloads: Sequence[Any]) -> tuple[str, Any, float]:
        """Run a batch: what happened, records or text, seconds."""
        if self._handler is None:
            raise RuntimeError("the worker has not been started")
        return attempt(self._handler, payloads)

    def _watch_over_children(self) -> None:
        """What plug-ins start shall end with this process, however it ends."""
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._guard.stdin is not None:
            self._guard.stdin.write(f"+{os.getpid()}\n".encode())
            self._guard.stdin.flush()


def _not_shared(folder: Path) -> UsageError:
    return UsageError(
        f"{os.uname().nodename}: a worker there does not see {folder}",
        "the ray engine needs the store and the data on a file system that all nodes share, under the same path.",
    )


def _write_to(log: Path) -> None:
    """Send what this process and its children print to a log file."""
    with log.open("ab") as output:
        for standard in (1, 2):
            os.dup2(output.fileno(), standard)
