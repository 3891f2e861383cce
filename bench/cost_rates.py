"""The rates of the cost model: measured on what a store holds, else starting guesses, which are marked as such.

A rate holds for the kind of device (CPU, CUDA) and the machine that the results were made on. The guesses for the CPU
are the hints that each protocol declares (seconds per clip of 3 s on one core); those for one data-centre GPU are good
to a factor of 3 (specs/scale.md 6).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cost_model import Line, Rate, Stage, fit
from bench.plan import RunPlan
from bench.records import Protocol
from bench.stage_meter import StageCost, StageName, kept
from bench.store import Store
from bench.store_costs import ScoreCost

HINT_CLIP_S = 3.0  # length of the clip that ``Protocol.cost_hint_s`` is for
#: Seconds of one data-centre GPU (SSIM and PSNR: of a core) per second of media, by family of protocols.
GPU_GUESSES = {
    "wer": 0.05, "cer": 0.05, "utmos": 0.01, "secs": 0.005, "lse": 0.15, "fid": 0.02, "lmd": 0.08, "ssim": 0.03,
    "psnr": 0.03, "csim": 0.02,
}  # fmt: skip
GENERATE_GUESS = Line(0.0, 1.0)  # a generator of which nothing is known: as long as its media last
CONTROL_GUESS = Line(0.0, 0.02)  # copying, reading files
BESIDE_GUESS = {"generate": 0.1, "score": 0.02}  # staging and encoding; checking and sending
START_GUESS_S, LOAD_GUESS_S, BUSY_GUESS = 3.0, 5.0, 0.85


@dataclass(frozen=True)
class _Scored:
    """The costs of one protocol in the store: of scores whose truth was met first, and of the others, by run."""

    first: list[ScoreCost]
    later: dict[str, list[ScoreCost]]

    @property
    def all_later(self) -> list[ScoreCost]:
        return [cost for costs in self.later.values() for cost in costs]


class Rates:
    """Rates for one kind of device; ``store`` ``None``: guesses alone."""

    def __init__(self, store: Store | None, device: str) -> None:
        self._store = store
        self._device = device
        self._runs = store.runs() if store is not None else []
        self._scored: dict[str, _Scored] = {}
        self._found: dict[tuple[str, ...], Rate] = {}
        self._stages: dict[StageName, list[StageCost]] = {}

    def generation(self, run: RunPlan) -> Rate:
        """Of a run's system in its task: from the run itself, else from one with its settings, else of its system."""
        key = ("generate", run.record.id)
        if key not in self._found:
            self._found[key] = self._generation(run)
        return self._found[key]

    def _generation(self, run: RunPlan) -> Rate:
        wanted = run.record
        same = [one for one in self._runs if (one.system, one.task) == (wanted.system, wanted.task)]
        same.sort(key=lambda one: (one.id != wanted.id, one.settings != wanted.settings))
        for one in same:
            samples = self._generated(one.id)
            line = fit(samples)
            if line is not None:
                return Rate(line, samples=len(samples))
        return Rate(CONTROL_GUESS if run.control else GENERATE_GUESS)

    def _generated(self, run_id: str) -> list[tuple[float, float]]:
        """Seconds of media and of generating, of every output of a run that was made on this kind of device."""
        if self._store is None:
            return []
        lengths = {clip.clip_id: clip.duration_s for clip in self._store.run_clips(run_id)}
        return [
            (lengths[clip_id], output.seconds)
            for clip_id, output in self._store.outputs(run_id).items()
            if output.status == "ok" and output.device == self._device and lengths.get(clip_id)
        ]

    def scoring(self, protocol: Protocol, run: RunPlan) -> Rate:
        """Of a protocol on a run's outputs: its own share from the same system where it is known, else from all.

        What the truth takes is how much longer the first score against it took than the others. Where no clip has
        been scored for two systems this cannot be told, and all of it counts for each system.
        """
        key = (protocol.id, run.record.system, run.record.task)
        if key not in self._found:
            self._found[key] = self._scoring(protocol, run)
        return self._found[key]

    def _scoring(self, protocol: Protocol, run: RunPlan) -> Rate:
        if "cost" in protocol.needs:
            return Rate(Line(), samples=1)  # a look at the row of the output
        found = self._costs(protocol.id)
        first, pooled = fit(_pairs(found.first)), fit(_pairs(found.all_later))
        own, samples = self._own(found, run), len(found.first) + len(found.all_later)
        if first is None:
            return self._guess(protocol)
        if pooled is None or own is None:
            return Rate(first, samples=samples)
        middle = sum(cost.media_s for cost in found.first) / len(found.first)
        return Rate(own, first.without(pooled, middle), samples)

    def _own(self, found: _Scored, run: RunPlan) -> Line | None:
        same = {one.id for one in self._runs if (one.system, one.task) == (run.record.system, run.record.task)}
        costs = [cost for run_id, later in found.later.items() if run_id in same for cost in later]
        return fit(_pairs(costs)) or fit(_pairs(found.all_later))

    def _costs(self, protocol: str) -> _Scored:
        if protocol not in self._scored:
            self._scored[protocol] = _split(self._read(protocol))
        return self._scored[protocol]

    def _read(self, protocol: str) -> list[tuple[str, ScoreCost]]:
        if self._store is None:
            return []
        return [
            (run.id, cost) for run in self._runs for cost in self._store.score_costs(run.id, protocol, self._device)
        ]

    def _guess(self, protocol: Protocol) -> Rate:
        guess = protocol.cost_hint_s / HINT_CLIP_S
        if self._device == "cuda":
            guess = GPU_GUESSES.get(protocol.family, guess)
        return Rate(Line(0.0, guess))

    def array_rate(self, protocol: Protocol) -> float | None:
        """Bytes of arrays that a score keeps per second of media; ``None``: nothing measured."""
        found = self._costs(protocol.id)
        costs = [*found.first, *found.all_later]
        media = sum(cost.media_s for cost in costs)
        return sum(cost.array_bytes for cost in costs) / media if media else None

    def beside(self, name: StageName, kind: str) -> Rate:
        """What the harness adds per unit of a stage; ``kind``: the task (generating) or ``score``."""
        found = [stage for stage in self._kept(name) if kind in stage.beside]
        if not found:
            return Rate(Line(0.0, BESIDE_GUESS[name]))
        largest = max(found, key=lambda stage: stage.units)
        return Rate(Line(0.0, largest.beside[kind]), samples=largest.units)

    def stage(self, name: StageName) -> Stage:
        """Start, loading and utilisation, from the largest stage that the store remembers."""
        found = self._kept(name)
        if not found:
            return Stage(START_GUESS_S, LOAD_GUESS_S, BUSY_GUESS)
        largest = max(found, key=lambda stage: stage.units)
        return Stage(largest.start_s, largest.load_s, largest.busy, largest.units)

    def _kept(self, name: StageName) -> list[StageCost]:
        if name not in self._stages:
            self._stages[name] = [] if self._store is None else kept(self._store, name, self._device)
        return self._stages[name]


def _pairs(costs: Sequence[ScoreCost]) -> list[tuple[float, float]]:
    return [(cost.media_s, cost.seconds) for cost in costs]


def _split(rows: Sequence[tuple[str, ScoreCost]]) -> _Scored:
    """The first score against each truth, and the later ones by run; a score that several runs share counts once."""
    first: dict[int, ScoreCost] = {}
    later: defaultdict[str, list[ScoreCost]] = defaultdict(list)
    known: set[tuple[int, int]] = set()
    for run_id, cost in sorted(rows, key=lambda row: row[1].created):
        if (cost.output, cost.reference) in known:
            continue
        known.add((cost.output, cost.reference))
        if cost.reference in first:
            later[run_id].append(cost)
        else:
            first[cost.reference] = cost
    return _Scored(list(first.values()), dict(later))
