"""Jobs that tests run in workers. Payloads are dictionaries; ``do`` says what happens."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError


def note(folder: str | None, key: str) -> None:
    """One line per execution, so that tests can count them."""
    if folder:
        with (Path(folder) / f"{os.getpid()}.txt").open("a") as file:
            file.write(key + "\n")


def act(payload: dict[str, Any], n_batch: int) -> Any:
    do = payload.get("do", "hash")
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "raise":
        raise ValueError("this clip is bad")
    if do == "exit":
        sys.exit(3)
    if do == "hang":
        time.sleep(3600)
    if do == "memory" or (do == "memory-in-batch" and n_batch > payload["fits"]):
        raise MemoryError("too much")
    if do == "disk":
        raise OSError(28, "No space left on device")
    if do == "environment":
        return {name: os.environ.get(name, "") for name in payload["names"]}
    if do == "where":
        return str(Path.cwd()), os.getpid(), list(sys.path)
    if do == "plugin":
        from bench import registry

        return registry.names("metrics")
    if do == "chatter":
        os.write(1, b"native chatter\n")
        os.write(2, b"native warning\n")
    if do == "child":
        return subprocess.Popen(["sleep", "3600"]).pid
    if do == "orphan-and-hang":
        child = subprocess.Popen(["sleep", "3600"])
        Path(payload["file"]).write_text(str(child.pid))
        time.sleep(3600)
    if do == "hang-and-hold-the-interpreter":
        import ctypes

        child = subprocess.Popen(["sleep", "3600"])
        Path(payload["file"]).write_text(str(child.pid))
        ctypes.PyDLL(None).sleep(3600)  # native code that never lets another thread run
    if do == "linger":
        threading.Thread(target=time.sleep, args=(3600,)).start()  # the interpreter waits for it
    if do == "fill-memory":
        fill_memory(payload["mib"] * n_batch, payload["limit_mib"])
    if do == "slow-once" and not Path(payload["file"]).exists():
        Path(payload["file"]).touch()
        time.sleep(payload["seconds"])
    if do == "wait-for":
        wait_for(Path(payload["file"]))
    if do == "wait-for-the-second":
        first, second = Path(payload["file"] + ".first"), Path(payload["file"] + ".second")
        if first.exists():
            second.touch()
        first.touch()
        wait_for(second)
    if do == "lock":
        return threading.Lock()
    if do == "unpicklable":
        return lambda: None
    time.sleep(payload.get("sleep", 0.0))
    return hashlib.sha256(str(payload.get("key")).encode()).hexdigest()


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


def fill_memory(mib: int, limit_mib: int) -> None:
    """Ask for so much where a process may have only ``limit_mib`` more than it has."""
    has_pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (has_pages * resource.getpagesize() + (limit_mib << 20), -1))
    bytearray(mib << 20)


def hashes(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    """The usual factory. ``setup``: a folder where executions are noted, or ``None``."""

    def handle(payloads: Sequence[Any]) -> list[Any]:
        for payload in payloads:
            note(setup, payload.get("key", ""))
        return [act(payload, len(payloads)) for payload in payloads]

    return handle


def noop(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    return lambda payloads: [None] * len(payloads)


def too_few(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    return lambda payloads: []


def refuses(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    raise UsageError("weights are missing", "bring them.")


def breaks(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    raise ImportError("no such library")


def dies(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    os.write(2, b"segfault in the driver library\n")
    os.kill(os.getpid(), signal.SIGSEGV)
    return lambda payloads: list(payloads)


def dies_on_device_1(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    if os.environ["CUDA_VISIBLE_DEVICES"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return hashes(setup)


def starts_slowly(setup: Any) -> Callable[[Sequence[Any]], list[Any]]:
    time.sleep(3600)
    return lambda payloads: list(payloads)
