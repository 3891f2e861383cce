"""Workers as Ray actors, on one machine or on many.

Each actor has at most one batch in flight. Nothing is left to Ray's own retries: it counts a call that only waited
as tried, and would give a deadly clip to worker after worker (specs/scale.md 3.1). So actors are made without
restarts, the scheduler decides what is tried again, and a dead actor's place is taken by a new one, wherever the
cluster has room: then a process that never gets ready is noticed too, which Ray would start anew for ever.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.contracts import Engine
from bench.engines.answers import losses, outcomes
from bench.engines.local import BAD_STARTS, MAX_WORKERS
from bench.engines.ray_actor import Place, Worker
from bench.engines.ray_session import Session, connect
from bench.engines.worker import THREAD_VARIABLES, Setup
from bench.errors import BenchError, DataError, EngineLostError, UsageError
from bench.records import Job, Outcome, Unit

log = logging.getLogger(__name__)

PROBE_S = 5.0  # between two looks at whether Ray is still there
ROOM_S = 900.0  # without room for any actor, then the run ends
LOST_S = 20.0  # without an answer of Ray: long before Ray itself would end this process (60 s)
_FETCH_S = 60.0  # for a result that lies on another node
_CLOSE_S = 2.0  # for killed actors to be gone
_DETAIL_CHARS = 300
_MEMORY = ("OUT_OF_MEMORY", "running low on memory")  # how Ray says that it killed for memory
_GO_ON = "what was finished is stored; the same command goes on."


@dataclass
class _Slot:
    """One actor and the batch that it has."""

    number: int
    actor: Any
    since: float  # of its start; while Ray has found no room for it, of its creation
    pid: int = 0  # of its process, once that runs
    ready: bool = False
    batch: Sequence[Unit] = ()
    group: str | None = None  # of the units that it has had
    reason: str = "worker_lost"

    @property
    def idle(self) -> bool:
        return self.ready and not self.batch


class RayEngine(Engine):
    """Actors of a Ray cluster.

    Args:
        workers: how many; ``None``: as many as there is room for.
        address: ``auto`` or ``HOST:PORT`` of a cluster that runs; ``None``: one of its own, on this machine.
        gpus_per_worker: GPUs, or the share of one, that each actor has.
        plugins: plug-in files (``--plugin``) that each worker loads first.
        threads: threads of numeric libraries per worker.
        env: further environment of workers. Variables ``BENCH_…`` go along anyway.
        log_dir: where the workers' stdout and stderr go, in a folder that all nodes see (this is checked); ``None``:
            to Ray's own logs.
        start_timeout_s: an actor whose job's factory takes longer is killed and counts as a bad start.

    Raises:
        UsageError: numbers out of range; the package is not installed.
    """

    name: ClassVar[str] = "ray"

    def __init__(
        self,
        workers: int | None = None,
        *,
        address: str | None = None,
        gpus_per_worker: float = 0.0,
        plugins: Sequence[Path] = (),
        threads: int = 1,
        env: Mapping[str, str] | None = None,
        log_dir: Path | None = None,
        start_timeout_s: float = 900.0,
    ) -> None:
        if workers is not None and not 1 <= workers <= MAX_WORKERS:
            raise UsageError(f"workers {workers} is not in 1 … {MAX_WORKERS}", "--engine ray needs at least one.")
        if threads < 1 or gpus_per_worker < 0:
            raise UsageError(f"threads {threads} must be ≥ 1, GPUs per worker {gpus_per_worker} ≥ 0")
        self.workers = workers
        self._address, self._gpus, self._threads = address, gpus_per_worker, threads
        self._plugins, self._env = tuple(Path(p).resolve() for p in plugins), dict(env or {})
        self._log_dir = log_dir.resolve() if log_dir else None
        self._start_timeout_s = start_timeout_s
        self._session: Session | None = None
        self._mark: Path | None = None
        self._ray: Any = None  # the package, from the start on
        self._renews = False
        self._told: tuple[Any, Any] | None = None  # setup and place, in Ray's object store
        self._slots: dict[int, _Slot] = {}
        self._calls: dict[Any, tuple[_Slot, str]] = {}  # by reference of what a method will return
        self._bad_starts: dict[int, int] = {}  # by slot, in a row
        self._done: list[Outcome] = []  # waits for the next poll
        self._answered = self._probed = 0.0

    def start(self, job: Job) -> None:
        """Connect and make the actors; they are ready (:meth:`free`) when the job's factory has returned.

        Raises:
            UsageError: the cluster has no room for so many workers.
        """
        self.close()
        self._session = connect(self._address, self.workers or 0)
        import ray  # after connect, which says what is missing and sets what Ray reads when it is imported

        self._ray = ray
        self._answered = self._probed = time.monotonic()
        self._reach_ray()  # the connection may be that of an earlier stage
        count = self._count(self._session)
        if self._log_dir is not None:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            self._mark = self._log_dir / f"engine-{uuid.uuid4().hex}"
            self._mark.touch()
        place = Place(list(sys.path), str(Path.cwd()), str(self._mark) if self._mark else None)
        self._told = self._ray.put(Setup(job, self._plugins)), self._ray.put(place)
        self._renews, self._bad_starts = job.renews, {}
        for number in range(count):
            self._spawn(number)

    def _count(self, session: Session) -> int:
        room = session.room(self._gpus)
        count = room if self.workers is None else self.workers
        known = max(room, session.room_known.get(self._gpus, 0))  # a node may have gone since, or come back
        session.room_known[self._gpus] = known
        if not 0 < count <= known:
            kind = f"1 CPU and {self._gpus:g} GPU" if self._gpus else "1 CPU"
            raise UsageError(
                f"--workers {count or 'by default'}: the Ray cluster has room for {room} of {kind} each",
                "ask for fewer, give --gpus-per-worker a smaller share, or start the cluster with more nodes.",
            )
        return min(count, MAX_WORKERS)

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name.startswith("BENCH_")}
        numeric = dict.fromkeys(THREAD_VARIABLES, str(self._threads))
        return ours | numeric | self._env | {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}

    def _spawn(self, number: int) -> _Slot:
        if self._told is None:
            raise RuntimeError("the engine has not been started")
        self._reach_ray()
        actor: Any = (
            self._ray.remote(Worker)
            .options(
                num_cpus=1,
                num_gpus=self._gpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
                runtime_env={"env_vars": self._environment()},
            )
            .remote()
        )
        slot = self._slots[number] = _Slot(number, actor, time.monotonic())
        self._calls[actor.hello.remote()] = slot, "hello"
        self._calls[actor.start.remote(*self._told, f"worker-{number}.log")] = slot, "start"
        return slot

    def pids(self) -> list[int]:
        """The process ids of the actors that run, each on its node."""
        return [slot.pid for slot in self._slots.values() if slot.pid]

    def alive(self) -> bool:
        """Whether results can still come."""
        return bool(self._slots) and self._session is not None and not self._session.lost()

    def free(self) -> int:
        """Actors that are ready and idle."""
        return sum(slot.idle for slot in self._slots.values())

    def submit(self, batch: Sequence[Unit]) -> None:
        """Give a batch to an idle actor (which may have died since: then it is lost).

        Where the job ``renews`` and every idle actor has had another group, a new one takes the place of one of them.
        """
        if not batch:
            raise ValueError("a batch has at least one unit")
        idle = [slot for slot in self._slots.values() if slot.idle]
        if not idle:
            raise RuntimeError("no worker is free")
        slot = self._fit(idle, batch[0].group) or self._renewed(idle[0])
        slot.batch, slot.group = batch, batch[0].group
        self._calls[slot.actor.work.remote([unit.payload for unit in batch])] = slot, "work"

    def _fit(self, idle: list[_Slot], group: str) -> _Slot | None:
        """One that may have units of ``group``; where that matters, best one that has had some."""
        if not self._renews:
            return idle[0]
        fit = sorted((s for s in idle if s.group in (group, None)), key=lambda s: s.group is None)
        return fit[0] if fit else None

    def _renewed(self, slot: _Slot) -> _Slot:
        self._drop(slot)
        return self._spawn(slot.number)

    def poll(self, timeout: float) -> list[Outcome]:
        """What has come back; waits for the first at most ``timeout`` seconds.

        Raises:
            DataError: a worker met a full or read-only disk.
            EngineLostError: Ray is gone; workers die again and again before they are ready; no room for any.
            BenchError: what the job's factory raised.
        """
        end = time.monotonic() + timeout
        while True:
            free = self.free()
            self._listen(max(0.0, end - time.monotonic()))
            self._look_after_ray()
            self._look_after_starts()
            done, self._done = self._done, []
            if done or self.free() > free or time.monotonic() >= end:
                return done

    def _listen(self, timeout: float) -> None:
        if not self._calls:
            time.sleep(timeout)
            return
        ready, waiting = self._ray.wait(list(self._calls), num_returns=1, timeout=timeout)
        if ready and waiting:
            more, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
            ready += more
        for reference in ready:
            if reference in self._calls:  # else its actor has been replaced meanwhile
                slot, what = self._calls.pop(reference)
                self._hear(slot, what, reference)

    def _hear(self, slot: _Slot, what: str, reference: Any) -> None:
        """Take what a method has returned; where its actor died, replace that."""
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(reference, timeout=_FETCH_S)
        except errors.RayTaskError as error:  # our methods raise nothing: the answer was no object that Ray can send
            if what != "work":
                raise DataError("a worker could not get ready", str(error)) from error
            answer = "failed", f"a record cannot be sent: {error.cause}", 0.0
        except errors.RayError as error:
            self._replace(slot, error)
            return
        if what == "hello":
            slot.pid, slot.since = answer, time.monotonic()
        elif what == "start":
            self._take_start(slot, *answer)
        else:
            self._take(slot, *answer)

    def _take_start(self, slot: _Slot, kind: str, result: Any = None) -> None:
        if kind == "refused":
            raise result if isinstance(result, BenchError) else RuntimeError(str(result))
        if kind == "broken":
            raise DataError("a worker could not get ready", result)
        slot.ready = True
        self._bad_starts.pop(slot.number, None)

    def _take(self, slot: _Slot, kind: str, result: Any, seconds: float) -> None:
        batch, slot.batch = slot.batch, ()
        if kind == "memory":
            self._renewed(slot)  # a new one starts with clean memory
        self._done += outcomes(batch, kind, result, seconds, slot.number)

    def _drop(self, slot: _Slot) -> None:
        """Forget an actor and end it, if it has not ended."""
        del self._slots[slot.number]
        self._calls = {reference: call for reference, call in self._calls.items() if call[0] is not slot}
        self._kill(slot)

    def _replace(self, slot: _Slot, error: Exception) -> None:
        text = str(error)
        log.debug("worker %d: %s", slot.number, text)
        self._drop(slot)
        how = _in_short(text)
        if slot.batch:
            memory = type(error).__name__ == "OutOfMemoryError" or any(words in text for words in _MEMORY)
            reason = "out_of_memory" if memory and slot.reason == "worker_lost" else slot.reason
            self._done += losses(slot.batch, reason, how, slot.number)
        if not slot.ready and self._give_up(slot, how):
            return
        self._spawn(slot.number)

    def _give_up(self, slot: _Slot, how: str) -> bool:
        """Count a death before readiness; true: the slot is not filled again, since others go on without it."""
        self._bad_starts[slot.number] = self._bad_starts.get(slot.number, 0) + 1
        if self._bad_starts[slot.number] < BAD_STARTS:
            return False
        text = f"{BAD_STARTS} workers in a row died before they were ready; the last: {how}"
        if not self._slots:
            where = f"see worker-{slot.number}.log in {self._log_dir}" if self._log_dir else "see the logs of Ray."
            raise EngineLostError(text, where)
        log.warning("%s; going on with %d workers", text, len(self._slots))
        return True

    def _look_after_ray(self) -> None:
        """Look whether Ray is there, now and then."""
        if time.monotonic() - self._probed >= PROBE_S:
            self._probe()

    def _reach_ray(self) -> None:
        """Wait until Ray answers: making and ending an actor needs its head, and would not come back without it."""
        while self._probe():
            time.sleep(0.1)

    def _probe(self) -> str:
        """What does not answer; empty: nothing.

        Raises:
            EngineLostError: that has been so for long. Ray would end this process without a word (scale.md 3.2).
        """
        lost = self._session.lost() if self._session is not None else ""
        self._probed = time.monotonic()
        if not lost:
            self._answered = self._probed
        elif self._probed - self._answered > LOST_S:
            self._abandon()
            raise EngineLostError(f"engine 'ray' is gone: {lost}", _GO_ON)
        return lost

    def _kill(self, slot: _Slot) -> None:
        self._reach_ray()
        self._ray.kill(slot.actor)

    def _look_after_starts(self) -> None:
        """End actors whose job takes too long to get ready; raise if there is no room for any."""
        now = time.monotonic()
        for slot in self._slots.values():
            if slot.pid and not slot.ready and now - slot.since > self._start_timeout_s:
                slot.since = now
                self._kill(slot)
        if self._slots and all(not slot.pid and now - slot.since > ROOM_S for slot in self._slots.values()):
            raise EngineLostError(
                f"the Ray cluster has had no room for a worker for {ROOM_S:.0f} s",
                f"`ray status` shows what others use. {_GO_ON}",
            )

    def cancel(self, key: str, reason: str) -> None:
        """Kill the actor that holds the unit; its batch comes back as lost for ``reason``."""
        for slot in self._slots.values():
            if any(unit.key == key for unit in slot.batch):
                slot.reason = reason
                self._kill(slot)
                return

    def _abandon(self) -> None:
        """Forget all actors without a word to Ray, which would not come back."""
        self._slots, self._calls, self._told = {}, {}, None

    def close(self) -> None:
        """End all actors; the connection stays for the next engine of this process."""
        waiting = list(self._calls)
        for slot in list(self._slots.values()):
            self._drop(slot)
        if waiting:
            self._ray.wait(waiting, num_returns=len(waiting), timeout=_CLOSE_S)
        self._abandon()
        self._done = []
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)
            self._mark = None


def _in_short(text: str) -> str:
    """How an actor ended, of what Ray tells about it: without the numbers of actors, processes and nodes."""
    last = text.strip().rpartition("\n")[2].strip()
    found = (last.partition("Worker exit type: ")[2] or last).partition(" Some common causes")[0]
    found = re.sub(r"\b[0-9a-f]{16,}\b", "…", found)
    return f"the actor died: {found}"[:_DETAIL_CHARS]
