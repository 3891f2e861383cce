"""What a stage takes beside the work that results tell of: start, models, staging, encoding, waiting workers.

A result carries the seconds of its system or metric alone. The engine measures whole batches; the difference is what
the harness adds. In the first batch of a run a worker loads its models: what exceeds the usual difference there.
The latest stages of a store are kept in it, and are no results: digests and tables do not know them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

from bench.records import Outcome

if TYPE_CHECKING:
    from bench.store import Store

StageName = Literal["generate", "score"]
KEPT = 20  # stages of a kind that a store remembers
SAMPLE = 5_000  # units of a kind whose rate is looked at: more change no median


class Spent(NamedTuple):
    """One unit: what kind of unit it is, its seconds of media, and the seconds that its results tell of."""

    kind: str
    media_s: float
    told_s: float


class _First(NamedTuple):
    """A unit of the first batch of a worker (with a model: ``place``)."""

    spent: Spent
    place: tuple[int, str]
    seconds: float


@dataclass(frozen=True)
class StageCost:
    """A finished stage. ``beside``: by kind, seconds of the harness per second of media."""

    workers: int
    models: int  # that each worker loads one after the other
    units: int
    wall_s: float
    start_s: float  # until the first batch began
    load_s: float  # of one worker, for one model
    busy_s: float  # of all workers, without loading
    longest_s: float
    device: str
    beside: dict[str, float] = field(default_factory=dict)

    @property
    def busy(self) -> float:
        """The share of the time, but for start, loading and tail, in which workers worked; 0.05 to 1."""
        tail = self.longest_s * (1 - 1 / self.workers)
        working = (self.wall_s - self.start_s - self.load_s * self.models - tail) * self.workers
        return min(1.0, max(0.05, self.busy_s / working)) if working > 0 else 1.0


class StageMeter:
    """Watches the outcomes of a stage go by."""

    def __init__(self, name: StageName, device: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._name: StageName = name
        self._device = device
        self._clock = clock
        self._units = 0
        self._busy = 0.0
        self._longest: list[float] = []  # the three longest, the shortest of them first
        self._firsts: dict[tuple[int, str], float] = {}  # by worker and model: seconds of a unit of the first batch
        self._in_firsts: list[_First] = []
        self._rates: dict[str, list[float]] = {}  # by kind, of later units: seconds besides per second of media
        self._first_at = self._wall = 0.0  # when the first outcome had come, and the last

    def watch(
        self, outcomes: Iterator[Outcome], spent: Callable[[Outcome], Spent], model: Callable[[Outcome], str]
    ) -> Iterator[Outcome]:
        """The same outcomes. ``spent`` tells what a unit's results tell, ``model`` what a worker loaded for it."""
        begin = self._clock()
        for outcome in outcomes:
            if outcome.status == "ok" and not outcome.again:
                self._take(outcome, spent(outcome), model(outcome), self._clock() - begin)
            yield outcome
        self._wall = self._clock() - begin

    def _take(self, outcome: Outcome, spent: Spent, model: str, now: float) -> None:
        if not self._units:
            self._first_at = now
        self._units += 1
        self._busy += outcome.seconds
        self._longest = sorted([*self._longest, outcome.seconds])[-3:]
        # units of a batch share its time evenly, so that equal seconds tell the units of one batch
        place = (outcome.worker, model)
        if self._firsts.setdefault(place, outcome.seconds) == outcome.seconds:
            self._in_firsts.append(_First(spent, place, outcome.seconds))
        elif spent.media_s > 0:
            rates = self._rates.setdefault(spent.kind, [])
            if len(rates) < SAMPLE:
                rates.append(max(0.0, outcome.seconds - spent.told_s) / spent.media_s)

    def result(self) -> StageCost | None:
        """The stage; ``None`` where no unit went well."""
        if not self._units:
            return None
        beside = {kind: median(rates) for kind, rates in self._rates.items()}
        loading = sum(
            max(0.0, one.seconds - one.spent.told_s - beside.get(one.spent.kind, 0.0) * one.spent.media_s)
            for one in self._in_firsts
        )
        earliest = sum(one.seconds for one in self._in_firsts if one.place == self._in_firsts[0].place)
        return StageCost(
            workers=len({worker for worker, _ in self._firsts}),
            models=len({model for _, model in self._firsts}),
            units=self._units,
            wall_s=self._wall,
            start_s=max(0.0, self._first_at - earliest),
            load_s=loading / len(self._firsts),
            busy_s=max(0.0, self._busy - loading),
            longest_s=self._longest[0] if len(self._longest) == 3 else self._longest[-1],  # others may hold a load
            device=self._device,
            beside=beside,
        )

    def keep(self, store: Store) -> None:
        """Remember the stage in a store; a stage without a result says nothing."""
        found = self.result()
        if found is not None:
            key = _key(self._name)
            store.put_cached(key, [*(store.get_cached(key) or []), asdict(found)][-KEPT:])


def kept(store: Store, name: StageName, device: str) -> list[StageCost]:
    """The stages of that name on a kind of device, the latest last."""
    found = [StageCost(**entry) for entry in store.get_cached(_key(name)) or []]
    return [stage for stage in found if stage.device == device]


def _key(name: StageName) -> str:
    return f"stages/{name}@1"
