"""The process of espeak-ng that writes phonemes for as long as this one lives.

Starting the library costs 40 to 90 ms, which a batch of short texts need not pay again. It is kept per process, so that
workers which were forked do not read each other's answers.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

CHILD = (sys.executable, "-I", "-S", str(Path(__file__).with_name("espeak_child.py")))
_LOCK = threading.Lock()
_running: dict[int, subprocess.Popen[bytes]] = {}  # by the id of the process that asks


def answer(request: bytes, timeout_s: float) -> bytes:
    """The answering line to ``request``, one line of JSON; empty: it died, or did not answer in ``timeout_s``."""
    with _LOCK:
        child = _running.get(os.getpid())
        if child is None or child.poll() is not None:
            child = _running[os.getpid()] = _started()
        line = _asked(child, request, timeout_s)
        if not line.endswith(b"\n"):
            _stopped(_running.pop(os.getpid()))
            return b""
        return line


def _started() -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*CHILD, "--stay"], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def _asked(child: subprocess.Popen[bytes], request: bytes, timeout_s: float) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    late = threading.Timer(timeout_s, child.kill)
    late.start()
    try:
        child.stdin.write(request + b"\n")
        child.stdin.flush()
        return child.stdout.readline()
    except BrokenPipeError:  # it died, which whoever asks is told by the empty line
        return b""
    finally:
        late.cancel()


def _stopped(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(BrokenPipeError):  # what it was not told any more is still in the pipe's buffer
            if pipe is not None:
                pipe.close()
