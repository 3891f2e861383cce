"""The scheduler: what goes to an engine and when, and what is made of what comes back.

It knows nothing of machines. Units of one group share a batch, longest first. A batch that is lost
or that fails is tried again unit by unit, so that a bad clip takes nobody with it and tables do not
depend on the batch size; one that ran out of memory is halved. A unit that is lost ``attempts``
times is given up. When nothing waits any more, what takes far longer than usual is run a second time
on an idle worker, where the job allows it; the first result counts. Source of the rules: the
measurements of specs/scale.md 1, 2 and 4.
"""

from __future__ import annotations

import heapq
import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from bench.contracts import Engine
from bench.errors import EngineLostError
from bench.records import Job, Outcome, Unit

log = logging.getLogger(__name__)

POLL_S = 1.0  # longest wait for an engine at a time
SILENCE_S = 60.0  # least time without a result after which an engine is asked whether it lives
SILENCE_FACTOR = 10.0  # … or this many times the 99th percentile of the units' times
CANCEL_S = 60.0  # an engine that has not given a cancelled batch back by then is lost
LATE_FACTOR = 3.0  # a unit that runs so many times the median is run a second time
LATE_S = 20.0  # … but none that has not run for so long: a worker's start may take that, and a copy gains little
_RECENT = 1000  # unit times remembered for percentile and median
_COPY = "\0copy"  # ends the key under which an engine gets a unit the second time


@runtime_checkable
class Watched(Protocol):
    """An engine that can say whether it is still there (optional)."""

    def alive(self) -> bool:
        """False: no result will ever come."""
        ...


@dataclass(order=True, slots=True)
class _Task:
    """A unit with its history. Ordered for the heap: longest first, then by key."""

    rank: tuple[float, str]
    unit: Unit = field(compare=False)
    losses: int = field(default=0, compare=False)
    largest: int = field(default=2**31, compare=False)  # batch that it may still be part of
    flights: int = field(default=0, compare=False)  # of it and its copy, at the moment
    copied: bool = field(default=False, compare=False)
    settled: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _Batch:
    tasks: dict[str, _Task]  # by the key that the engine has
    size: int  # as submitted
    since: float
    cancelled: float | None = None


class _Queue:
    """Waiting tasks: a heap per group, the group of the longest task first."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._groups: dict[str, list[_Task]] = {}
        self._retries: deque[_Task] = deque()  # tried alone, before new work: losses show early
        self._caps: dict[str, int] = {}  # by group: batches that have not run out of memory
        for unit in units:
            self._groups.setdefault(unit.group, []).append(_Task((-unit.cost, unit.key), unit))
        for heap in self._groups.values():
            heapq.heapify(heap)

    def cap(self, group: str, largest: int) -> None:
        """Batches of ``group`` shall have at most ``largest`` units from now on."""
        self._caps[group] = min(largest, self._caps.get(group, largest))

    def put_back(self, task: _Task) -> None:
        if task.largest == 1:
            self._retries.append(task)
        else:
            heapq.heappush(self._groups[task.unit.group], task)

    def take(self, size: int, free: int) -> list[_Task]:
        """The next batch: at most ``size`` tasks of one group, fewer when others would stay idle."""
        if self._retries:
            return [self._retries.popleft()]
        heaps = [heap for heap in self._groups.values() if heap]
        if not heaps:
            return []
        heap = min(heaps, key=lambda candidates: candidates[0].rank)
        share = -(-len(heap) // max(1, free)) if len(heaps) == 1 else size
        batch = [heapq.heappop(heap)]
        cap = self._caps.get(batch[0].unit.group, size)
        limit = min(size, cap, max(1, share), batch[0].largest)
        while heap and len(batch) < limit and heap[0].largest > len(batch):
            batch.append(heapq.heappop(heap))
            limit = min(limit, batch[-1].largest)
        return batch

    def __bool__(self) -> bool:
        return bool(self._retries) or any(self._groups.values())


class _Run:
    """One pass over the units of a job on a started engine."""

    def __init__(
        self,
        engine: Engine,
        units: Sequence[Unit],
        repeatable: bool,
        batch_size: int,
        attempts: int,
        timeout_s: float,
        clock: Callable[[], float],
        stop: Callable[[], bool],
    ) -> None:
        self.engine, self.batch_size, self.attempts, self.timeout_s = engine, batch_size, attempts, timeout_s
        self.clock, self.stop, self.repeatable = clock, stop, repeatable
        self.queue = _Queue(units)
        self.flying: dict[str, _Batch] = {}  # by the key that the engine has
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.heard = clock()

    def outcomes(self) -> Iterator[Outcome]:
        """One outcome per unit, and second records; with ``stop`` set only those in flight are waited for."""
        while True:
            self._fill()
            if not self._awaited() and (self.stop() or not self.queue):
                return  # a copy that still runs has lost; closing the engine ends it
            settled = [done for outcome in self.engine.poll(self._patience()) for done in self._settle(outcome)]
            self._check_limits()
            self._check_engine()
            self._fill()  # workers go on while the caller writes what has come
            yield from settled

    def _fill(self) -> None:
        while not self.stop() and (free := self.engine.free()) > 0:
            tasks = {task.unit.key: task for task in self.queue.take(self.batch_size, free)} or self._copies(free)
            if not tasks:
                return
            batch = _Batch(tasks, len(tasks), self.clock())
            if not self.flying:
                self.heard = batch.since
            self.flying.update(dict.fromkeys(tasks, batch))
            for task in tasks.values():
                task.flights += 1
            self.engine.submit([replace(task.unit, key=key) for key, task in tasks.items()])

    def _awaited(self) -> bool:
        return any(not batch.tasks[key].settled for key, batch in self.flying.items())

    def _batches(self) -> list[_Batch]:
        return list({id(batch): batch for batch in self.flying.values()}.values())

    def _copies(self, free: int) -> dict[str, _Task]:
        """What shall be run a second time: of the batch that is overdue the longest, a share for each idle worker."""
        if not self.repeatable:
            return {}
        overdue = [batch for batch in self._batches() if self._late_at(batch) <= self.clock()]
        for batch in sorted(overdue, key=lambda batch: batch.since):
            left = [t for key, t in batch.tasks.items() if key in self.flying and not (t.copied or t.settled)]
            if left:
                share = left[: -(-len(left) // free)]
                for task in share:
                    task.copied = True
                    log.info("%s takes long: it is run a second time", task.unit.key)
                return {task.unit.key + _COPY: task for task in share}
        return {}

    def _late_at(self, batch: _Batch) -> float:
        """When a batch begins to take far longer than usual; never, where nothing is known or it is to end anyway."""
        if not self.recent or batch.cancelled is not None:
            return float("inf")
        return batch.since + max(LATE_S, LATE_FACTOR * statistics.median(self.recent) * batch.size)

    def _limit(self, batch: _Batch) -> float:
        return batch.since + self.timeout_s * batch.size

    def _patience(self) -> float:
        """Seconds until the next time limit, or until something is overdue."""
        now = self.clock()
        limits = [self._limit(batch) for batch in self.flying.values() if batch.cancelled is None]
        if self.repeatable and not self.queue and self.engine.free() > 0:
            limits += [late for batch in self._batches() if (late := self._late_at(batch)) > now]
        return min([POLL_S, *(max(0.0, limit - self.clock()) for limit in limits)])

    def _settle(self, outcome: Outcome) -> list[Outcome]:
        """What is final now; the rest of what the outcome means goes back to the queue."""
        batch = self.flying.pop(outcome.key, None)
        if batch is None:
            log.debug("a second outcome for %s (%s) is ignored", outcome.key, outcome.status)
            return []
        self.heard = self.clock()
        task = batch.tasks[outcome.key]
        task.flights -= 1
        outcome = replace(outcome, key=task.unit.key, again=task.settled)
        if outcome.status == "ok":
            self.recent.append(outcome.seconds)
            task.settled = True
            return [outcome]
        if task.settled:
            return []
        if outcome.status == "failed":
            if task.flights:
                return []  # what the other one gives decides
            return self._final(task, outcome) if batch.size == 1 else self._again(task, 1)
        return self._lost(task, batch, outcome)

    @staticmethod
    def _final(task: _Task, outcome: Outcome) -> list[Outcome]:
        task.settled = True
        return [outcome]

    def _lost(self, task: _Task, batch: _Batch, outcome: Outcome) -> list[Outcome]:
        log.warning("%s: lost (%s %s), in a batch of %d", outcome.key, outcome.reason, outcome.detail, batch.size)
        alone = outcome.reason != "out_of_memory" or batch.size == 1
        if not alone:
            self.queue.cap(task.unit.group, batch.size // 2)
        task.losses += alone
        if task.flights:
            return []  # what the other one gives decides
        if alone and task.losses >= self.attempts:
            return self._final(task, outcome)
        return self._again(task, 1 if alone else batch.size // 2)

    def _again(self, task: _Task, largest: int) -> list[Outcome]:
        task.largest = min(task.largest, largest)
        self.queue.put_back(task)
        return []

    def _check_limits(self) -> None:
        now = self.clock()
        for batch in self._batches():
            key = next(key for key in batch.tasks if key in self.flying)
            if batch.cancelled is None and now >= self._limit(batch):
                batch.cancelled = now
                self.engine.cancel(key, "timeout")
            elif batch.cancelled is not None and now - batch.cancelled > CANCEL_S:
                raise EngineLostError(
                    f"the engine did not give {key} back {CANCEL_S:.0f} s after its time limit", _GO_ON
                )

    def _check_engine(self) -> None:
        """Raise if nothing has come for long, units are in flight, and the engine is gone."""
        if not self.flying or not isinstance(self.engine, Watched):
            return
        times = sorted(self.recent)
        percentile = times[int(0.99 * (len(times) - 1))] if times else 0.0
        silence = self.clock() - self.heard
        if silence > max(SILENCE_S, SILENCE_FACTOR * percentile) and not self.engine.alive():
            state = f"no result for {silence:.0f} s, {len(self.flying)} units in flight"
            raise EngineLostError(f"engine {self.engine.name!r} is gone: {state}", _GO_ON)


_GO_ON = "what was finished is stored; the same command goes on."


def run(
    engine: Engine,
    job: Job,
    units: Sequence[Unit],
    *,
    batch_size: int = 1,
    attempts: int = 3,
    timeout_s: float = 600.0,
    clock: Callable[[], float] = time.monotonic,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Run ``job`` on every unit; yields one outcome per unit, as they come.

    Of a ``repeatable`` job second records may follow, marked as ``again``.

    Args:
        engine: is started and closed here; untouched if there are no units.
        batch_size: most units of a group in one call of the job's handler.
        attempts: losses after which a unit is given up (status ``lost``).
        timeout_s: time limit per unit; a batch has as many times that as it has units.
        stop: asked before each submission; once true, units in flight are drained and the rest is left.

    Raises:
        EngineLostError: no result comes any more.
        ValueError: two units have one key, or a number is below 1.
    """
    if min(batch_size, attempts) < 1 or timeout_s <= 0:
        raise ValueError(f"batch_size {batch_size} and attempts {attempts} must be ≥ 1, timeout_s {timeout_s} > 0")
    if len({unit.key for unit in units}) != len(units):
        raise ValueError("two units have the same key")
    if not units:
        return
    with engine:
        engine.start(job)
        yield from _Run(engine, units, job.repeatable, batch_size, attempts, timeout_s, clock, stop).outcomes()
