"""The process between a gateway and a command: it ends the command and everything that this started.

A script of the standard library alone. Standard input: the first line is a JSON object (``command``,
``cwd``, ``env``, ``log``, ``timeout_s``); the pipe stays open for as long as the gateway lives. When it
ends (the gateway's worker was killed) or time is up, the command, its process group and all
processes that descend from it are killed, those in sessions of their own too (on Linux, where
orphans are handed to this process). Standard output: one JSON object (``returncode`` or null,
``timed_out``, ``seconds``, ``error``).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_SET_CHILD_SUBREAPER = 36  # of Linux' prctl
_POLL_S = 0.05
_GRACE_S = 2.0  # between asking a command to end and killing it


def _adopt_orphans() -> None:
    """Become the parent of orphaned descendants, so that they can be found and reaped."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    """Processes whose parent is this one (Linux; elsewhere none are found)."""
    own = os.getpid()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):  # a process may end while it is looked at
            # the command's name, in brackets, may hold anything; the parent is the second field after it
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == own:
                found.append(int(entry.name))
    return found


def _kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_rest() -> None:
    """Kill and reap all descendants that are left; killing one hands its children to this process."""
    for _ in range(1000):  # a process that starts others for ever is not chased for ever
        left = _children()
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _wait(child: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for the command; whether it must be stopped (time is up, or the gateway is gone)."""
    end = time.monotonic() + timeout_s
    stdin = sys.stdin.buffer.fileno()
    while child.poll() is None:
        left = end - time.monotonic()
        if left <= 0:
            return True
        readable, _, _ = select.select([stdin], [], [], min(_POLL_S, left))
        if readable and not os.read(stdin, 4096):
            return True
    return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    _kill_group(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE_S)
    _kill_group(child.pid, signal.SIGKILL)
    child.wait()


def _read_task() -> dict[str, Any]:
    """The first line of standard input, byte by byte: what follows belongs to select."""
    line = bytearray()
    while byte := os.read(sys.stdin.buffer.fileno(), 1):
        if byte == b"\n":
            break
        line += byte
    task: dict[str, Any] = json.loads(line)
    return task


def supervise(task: dict[str, Any]) -> dict[str, Any]:
    """Run the command to its end, or end it."""
    _adopt_orphans()
    began = time.monotonic()
    with Path(task["log"]).open("ab") as log:
        try:
            child = subprocess.Popen(
                task["command"],
                cwd=task["cwd"],
                env=task["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
            return {"returncode": None, "timed_out": False, "seconds": 0.0, "error": str(error)}
        stopped = _wait(child, task["timeout_s"])
        if stopped:
            _stop(child)
        _kill_group(child.pid, signal.SIGKILL)
        _kill_rest()
    seconds = time.monotonic() - began
    return {"returncode": None if stopped else child.returncode, "timed_out": stopped, "seconds": seconds, "error": ""}


def main() -> None:
    """Read the task, run it, write what became of it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # it ends when its pipe does, after it has cleaned up; a handler, because ignored signals are inherited
        signal.signal(number, lambda *_: None)
    answer = supervise(_read_task())
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
