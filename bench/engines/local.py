"""The default engine: supervised worker processes on this machine.

Each worker is a fresh interpreter with a socket to the driver and at most one batch in flight. The
driver waits on sockets and process ends together; a worker that dies takes nothing with it but its
batch, and is replaced. (``ProcessPoolExecutor`` breaks and ``multiprocessing.Pool`` hangs then:
specs/scale.md 2.) So is, where the job asks for it, one that has had units of another group.
``workers=0`` runs in the calling process, for debugging, without time limits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, ClassVar

from bench.contracts import Engine
from bench.engines.answers import losses, outcomes
from bench.engines.inline import Inline
from bench.engines.worker import THREAD_VARIABLES, Setup, make_handler
from bench.errors import BenchError, DataError, EngineLostError, UsageError
from bench.records import Job, Outcome, Unit

log = logging.getLogger(__name__)

MAX_WORKERS = 1024
BAD_STARTS = 3  # workers of a slot that die in a row before they are ready: then the slot is given up
_CLOSE_S = 2.0  # for idle workers to end by themselves
_TICK_S = 0.2  # where the system has no process descriptors, dead workers are looked for this often
# A worker imports from where the driver does, whatever its own folder holds.
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from bench.engines.worker import main; main()"


class _Worker:
    """One process: its socket, its sentinel, the batch that it has."""

    def __init__(self, slot: int, setup: Setup, env: Mapping[str, str], log_path: Path) -> None:
        self.slot = slot
        self.log_path = log_path
        self.batch: Sequence[Unit] = ()
        self.number = 0  # of the batch
        self.ready = False
        self.reason = "worker_lost"
        self.ending = False  # killed on purpose and not buried yet: it gets no further batch
        self.group: str | None = None  # of the units that it has had
        self.retired: float | None = None  # since when it is ending by itself; its batch waits for the next process
        self.since = time.monotonic()
        ours, theirs = socket.socketpair()
        with ours, theirs, log_path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(env),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # the terminal's Ctrl-C goes to the driver alone; its children die with it
            )
            self.connection = Connection(ours.detach())
        self.pid = self.process.pid
        self.sentinel = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        with contextlib.suppress(ConnectionError):  # it has died already; the sentinel tells
            self.connection.send(setup)

    @property
    def idle(self) -> bool:
        return self.ready and not self.batch and not self.ending

    def late(self, start_timeout_s: float) -> bool:
        """Whether it takes too long to get ready, or to end."""
        if self.retired is not None:
            return time.monotonic() - self.retired > _CLOSE_S
        return not self.ready and time.monotonic() - self.since > start_timeout_s

    def submit(self, batch: Sequence[Unit]) -> None:
        self.batch, self.group = batch, batch[0].group
        self.number += 1
        with contextlib.suppress(ConnectionError):
            self.connection.send((self.number, [unit.payload for unit in batch]))

    def retire(self, batch: Sequence[Unit]) -> None:
        """End by itself; ``batch`` is for the process that takes its place."""
        self.batch, self.retired = batch, time.monotonic()
        with contextlib.suppress(OSError):
            self.connection.send(None)

    def kill(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def dead(self) -> bool:
        """Whether the process has ended; it is not reaped, so that its number stays its own."""
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self.process.poll() is not None

    def bury(self) -> str:
        """Free what the dead process leaves; says how it ended."""
        self.kill()  # and its children with it
        code = self.process.wait()
        self.connection.close()
        if self.sentinel >= 0:
            os.close(self.sentinel)
        if code >= 0:
            return f"worker ended with exit code {code}"
        named = {int(number): f" ({number.name})" for number in signal.Signals}
        return f"worker killed by signal {-code}{named.get(-code, '')}"

    def last_words(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return self.log_path.read_bytes()[-1500:].decode("utf-8", "replace").strip()
        return ""


class LocalEngine(Engine):
    """Supervised processes on this machine.

    Args:
        workers: how many; 0 runs in the calling process.
        plugins: plug-in files (``--plugin``) that each worker loads first.
        threads: threads of numeric libraries per worker. One by default, whatever the number of
            workers, so that sums are rounded alike.
        gpus: worker ``i`` sees the device ``gpus[i % len]`` alone (``CUDA_VISIBLE_DEVICES``).
        env: further environment of workers.
        log_dir: where the workers' stdout and stderr go (``worker-<slot>.log``); ``None``: a
            folder that is removed at the end.
        start_timeout_s: a worker whose job's factory takes longer is killed and counts as a bad start.

    Raises:
        UsageError: numbers out of range.
    """

    name: ClassVar[str] = "local"

    def __init__(
        self,
        workers: int = 1,
        *,
        plugins: Sequence[Path] = (),
        threads: int = 1,
        gpus: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log_dir: Path | None = None,
        start_timeout_s: float = 900.0,
    ) -> None:
        if not 0 <= workers <= MAX_WORKERS:
            raise UsageError(f"workers {workers} is not in 0 … {MAX_WORKERS}", "give --workers a number in that range.")
        if threads < 1:
            raise UsageError(f"threads {threads} is below 1", "give at least one thread per worker.")
        self.workers = workers
        self._plugins, self._threads, self._gpus = tuple(Path(p).resolve() for p in plugins), threads, tuple(gpus)
        self._env, self._log_dir = dict(env or {}), log_dir
        self._start_timeout_s = start_timeout_s
        self._own_logs: tempfile.TemporaryDirectory[str] | None = None
        self._setup: Setup | None = None
        self._slots: dict[int, _Worker] = {}
        self._guard: subprocess.Popen[str] | None = None
        self._bad_starts: dict[int, int] = {}  # by slot, in a row
        self._done: list[Outcome] = []  # waits for the next poll
        self._inline: Inline | None = None

    def start(self, job: Job) -> None:
        """Start the workers; they are ready (:meth:`free`) when the job's factory has returned."""
        self.close()
        self._bad_starts = {}
        if self.workers == 0:
            self._inline = Inline(make_handler(job), self._threads)
            return
        self._setup = Setup(job, self._plugins)
        if self._log_dir is None:
            self._own_logs = tempfile.TemporaryDirectory(prefix="bench-workers-")
        else:
            self._log_dir.mkdir(parents=True, exist_ok=True)
        own_folders = [self._own_logs.name] if self._own_logs else []
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), *own_folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        for slot in range(self.workers):
            self._spawn(slot)

    def _environment(self, slot: int) -> dict[str, str]:
        env = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(self._threads)), **self._env}
        env["PYTHONUNBUFFERED"] = "1"
        env["PYTHONHASHSEED"] = "0"  # the order of sets is the same in every worker
        if self._gpus:
            env["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        return env

    def _spawn(self, slot: int) -> _Worker:
        if self._setup is None:
            raise RuntimeError("the engine has not been started")
        folder = self._log_dir or Path(self._own_logs.name if self._own_logs else ".")
        worker = _Worker(slot, self._setup, self._environment(slot), folder / f"worker-{slot}.log")
        self._slots[slot] = worker
        self._tell_guard(f"+{worker.pid}")
        return worker

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody ended the guard; workers still end by themselves
                self._guard.stdin.write(line + "\n")
                self._guard.stdin.flush()

    def pids(self) -> list[int]:
        """The process ids of the live workers."""
        return [worker.pid for worker in self._slots.values()]

    def alive(self) -> bool:
        """Whether results can still come."""
        return self._inline is not None or bool(self._slots)

    def free(self) -> int:
        """Workers that are ready and idle."""
        if self._inline is not None:
            return self._inline.free()
        return sum(worker.idle for worker in self._slots.values())

    def submit(self, batch: Sequence[Unit]) -> None:
        """Give a batch to an idle worker (which may have died since: then it is lost).

        Where the job ``renews`` and every idle worker has had another group, one ends and a new one takes its place:
        that is part of the batch's time.
        """
        if not batch:
            raise ValueError("a batch has at least one unit")
        if self._inline is not None:
            self._inline.submit(batch)
            return
        idle = [worker for worker in self._slots.values() if worker.idle]
        if not idle:
            raise RuntimeError("no worker is free")
        fit = self._fit(idle, batch[0].group)
        if fit:
            fit[0].submit(batch)
        else:
            idle[0].retire(batch)

    def _fit(self, idle: list[_Worker], group: str) -> list[_Worker]:
        """Those that may have units of ``group``; where that matters, those that have had some come first."""
        if self._setup is None or not self._setup.job.renews:
            return idle
        return sorted((w for w in idle if w.group in (group, None)), key=lambda w: w.group is None)

    def poll(self, timeout: float) -> list[Outcome]:
        """What has come back; waits for the first at most ``timeout`` seconds.

        Raises:
            DataError: a worker met a full or read-only disk.
            EngineLostError: workers die again and again before they are ready.
            BenchError: what the job's factory raised.
        """
        if self._inline is not None:
            return self._inline.poll()
        end = time.monotonic() + timeout
        while True:
            free = self.free()
            self._listen(max(0.0, end - time.monotonic()))
            done, self._done = self._done, []
            if done or self.free() > free or time.monotonic() >= end:
                return done

    def _listen(self, timeout: float) -> None:
        waited: dict[Any, _Worker] = {}
        for worker in self._slots.values():
            waited[worker.connection] = worker
            if worker.sentinel >= 0:
                waited[worker.sentinel] = worker
        if any(worker.sentinel < 0 for worker in self._slots.values()):
            timeout = min(timeout, _TICK_S)
        signalled = {waited[key].slot: waited[key] for key in wait(list(waited), timeout)}
        for worker in self._slots.values():
            if worker.late(self._start_timeout_s):
                worker.kill()
        dead = {w.slot: w for w in self._slots.values() if w.sentinel < 0 and w.dead()}
        for worker in (signalled | dead).values():
            self._hear(worker)

    def _hear(self, worker: _Worker) -> None:
        """Read what a worker has sent; where its end has come, replace it."""
        try:
            while worker.connection.poll():
                self._take(worker, worker.connection.recv())
        except (EOFError, OSError):
            self._replace(worker)
            return
        if worker.dead() and not worker.connection.poll():
            self._replace(worker)

    def _take(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind == "ready":
            worker.ready = True
            self._bad_starts.pop(worker.slot, None)
        elif kind == "refused":
            raise message[1] if isinstance(message[1], BenchError) else RuntimeError(str(message[1]))
        elif kind == "broken":
            raise DataError("a worker could not get ready", message[1])
        else:
            self._finish(worker, kind, message)

    def _finish(self, worker: _Worker, kind: str, message: tuple[Any, ...]) -> None:
        batch, worker.batch = worker.batch, ()
        if message[1] != worker.number or not batch:
            raise RuntimeError(f"worker {worker.slot} answered batch {message[1]} in place of {worker.number}")
        if kind == "memory":
            worker.ending = True
            worker.kill()  # a new one starts with clean memory
        seconds = message[3] if kind == "ok" else 0.0
        self._done += outcomes(batch, kind, message[2], seconds, worker.slot)

    def _replace(self, worker: _Worker) -> None:
        del self._slots[worker.slot]
        how = worker.bury()
        self._tell_guard(f"-{worker.pid}")
        if worker.retired is not None and worker.reason == "worker_lost":
            self._spawn(worker.slot).submit(worker.batch)
            return
        if worker.batch:
            self._done += losses(worker.batch, worker.reason, how, worker.slot)
            log.debug("worker %d: %s\n%s", worker.slot, how, worker.last_words())
        if not worker.ready and self._give_up(worker, how):
            return
        self._spawn(worker.slot)

    def _give_up(self, worker: _Worker, how: str) -> bool:
        """Count a death before readiness; true: the slot is not filled again, since others go on without it."""
        self._bad_starts[worker.slot] = self._bad_starts.get(worker.slot, 0) + 1
        if self._bad_starts[worker.slot] < BAD_STARTS:
            return False
        text = f"{BAD_STARTS} workers in a row died before they were ready; the last: {how}"
        if not self._slots:
            raise EngineLostError(text, worker.last_words() or "see the log of the workers.")
        log.warning("%s; going on with %d of %d workers", text, len(self._slots), self.workers)
        return True

    def cancel(self, key: str, reason: str) -> None:
        """Kill the worker that holds the unit; its batch comes back as lost for ``reason``."""
        for worker in self._slots.values():
            if any(unit.key == key for unit in worker.batch):
                worker.reason = reason
                worker.kill()
                return

    def close(self) -> None:
        """End all workers: idle ones by themselves, busy ones at once."""
        for worker in self._slots.values():
            if worker.batch or not worker.ready:
                worker.kill()
            else:
                with contextlib.suppress(OSError):
                    worker.connection.send(None)
        end = time.monotonic() + _CLOSE_S
        while time.monotonic() < end and not all(worker.dead() for worker in self._slots.values()):
            time.sleep(0.005)
        for worker in self._slots.values():
            worker.bury()
        self._slots = {}
        self._inline = None
        self._done = []
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if self._own_logs is not None:
            self._own_logs.cleanup()
            self._own_logs = None
