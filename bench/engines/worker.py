"""The worker's side of the local engine.

It gets a job, then batches, through the socket whose number is its first argument, and answers
each. It ends when the other end of the socket is closed, be it in the middle of a batch: a worker
never outlives its driver.

Messages from the driver: ``Setup``, then ``(number, payloads)``, at last ``None``. To the driver: ``("ready",)``,
``("refused", BenchError)``, ``("broken", text)``, ``("ok", number, records, seconds)``,
``("failed", number, text)``, ``("memory", number, text)``, ``("disk", number, text)``.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.errors import BenchError, UsageError
from bench.records import Job

Handler = Callable[[Sequence[Any]], Sequence[Any]]

#: Read by numeric libraries when they are loaded.
THREAD_VARIABLES = tuple(
    f"{n}_THREADS" for n in ["OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMEXPR_NUM", "VECLIB_MAXIMUM", "NUMBA_NUM"]
)

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "insufficient memory")
_DETAIL_CHARS = 2000


@dataclass(frozen=True)
class Setup:
    """What a worker needs before its first batch."""

    job: Job
    plugins: tuple[Path, ...]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, the device's too, did not suffice.

    Handlers that turn exceptions of plug-ins into failures must let these out: the scheduler tries
    again with a smaller batch.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    numeric = isinstance(error, RuntimeError) or type(error).__module__.startswith("cv2")
    return numeric and any(text in str(error).lower() for text in _MEMORY_TEXTS)


def is_disk_error(error: BaseException) -> bool:
    """Whether an exception says that the disk is full or read-only: no clip is to blame, the run must stop."""
    return isinstance(error, OSError) and error.errno in _DISK


def short_trace(error: BaseException) -> str:
    """Type, message and the last calls of an exception; at most 2,000 characters."""
    text = "".join(traceback.format_exception(error, limit=-4)).rstrip()
    return text if len(text) <= _DETAIL_CHARS else "…" + text[-_DETAIL_CHARS:]


def make_handler(job: Job) -> Handler:
    """Import the job's factory and call it.

    Raises:
        UsageError: ``job.target`` does not name a callable.
    """
    module, _, name = job.target.partition(":")
    factory = getattr(importlib.import_module(module), name, None)
    if not callable(factory):
        raise UsageError(f"job {job.target!r} names no callable", "it must be 'module:factory'.")
    handler: Handler = factory(job.setup)
    return handler


def attempt(handler: Handler, payloads: Sequence[Any]) -> tuple[str, Any, float]:
    """Call the handler; what happened (``ok``, ``failed``, ``memory`` or ``disk``), records or text, seconds."""
    start = time.perf_counter()
    try:
        records = list(handler(payloads))
        if len(records) != len(payloads):
            text = f"the handler returned {len(records)} records for {len(payloads)} payloads"
            return "failed", text, time.perf_counter() - start
        return "ok", records, time.perf_counter() - start
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plug-in raises is that batch's result
        kind = "memory" if is_out_of_memory(error) else "disk" if is_disk_error(error) else "failed"
        return kind, short_trace(error), time.perf_counter() - start


def die_with_driver(fd: int) -> None:
    """End this process and those it started as soon as the driver's end of the socket is closed."""

    def watch() -> None:
        poller = select.poll()
        poller.register(fd, select.POLLRDHUP if hasattr(select, "POLLRDHUP") else select.POLLHUP)
        poller.poll()
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="driver-watch", daemon=True).start()


def get_ready(setup: Setup) -> tuple[Handler | None, tuple[Any, ...]]:
    """Load plug-ins and make the handler; with it what the driver is told: ``ready``, ``refused`` or ``broken``."""
    try:
        if setup.plugins:
            from bench.registry import load_file

            for plugin in setup.plugins:
                load_file(plugin)
        return make_handler(setup.job), ("ready",)
    except BenchError as error:
        return None, ("refused", error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the driver reports it
        return None, ("broken", short_trace(error))


def serve(connection: Connection) -> None:
    """Answer batches until the driver says that there are no more, or closes the socket."""
    handler, answer = get_ready(connection.recv())
    connection.send(answer)
    if handler is None:
        return
    while (message := connection.recv()) is not None:
        number, payloads = message
        kind, result, seconds = attempt(handler, payloads)
        if kind == "ok":
            try:
                connection.send(("ok", number, result, seconds))
            except (TypeError, AttributeError, ValueError, ImportError) as error:  # raised before a byte is sent
                connection.send(("failed", number, f"a record cannot be sent: {type(error).__name__}: {error}"))
        else:
            connection.send((kind, number, result))


def main() -> None:
    """Entry point of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    faulthandler.enable()
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)  # processes that plug-ins start must not keep it open
    die_with_driver(fd)
    try:
        serve(Connection(fd))
    except (EOFError, ConnectionError):  # the driver is gone or wants no more
        return
