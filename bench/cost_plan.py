"""The cost model applied: what the runs of a plan take for given clips, stage by stage, and what they leave on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench import cost_bytes
from bench.cost_bytes import OUTPUT_ROW_BYTES, ROW_BYTES
from bench.cost_model import NOTHING, Amount, Cost, Rate, cost
from bench.cost_rates import Rates
from bench.plan import RunPlan
from bench.records import Protocol
from bench.stage_meter import StageName
from bench.store import Store


class Judged(NamedTuple):
    """What a protocol has to score of a run, and of which truths it is the first to see anything."""

    protocol: Protocol
    outputs: Amount
    truths: Amount = NOTHING


@dataclass
class Share:
    """What is to be done for one run."""

    run: RunPlan
    make: Amount = NOTHING
    judge: list[Judged] = field(default_factory=list)


class Bytes(NamedTuple):
    """Bytes that are read, and that media, database and features take."""

    read: float
    media: float
    database: float
    features: float


@dataclass(frozen=True)
class Bill:
    """What a set of shares costs. ``units`` and ``models`` by stage."""

    stages: Mapping[StageName, Cost]
    units: Mapping[StageName, float]
    models: Mapping[StageName, int]
    bytes: Bytes
    media_s: float  # generated or judged

    @property
    def device_s(self) -> float:
        """Seconds of devices, both stages."""
        return sum(one.seconds for one in self.stages.values())

    @property
    def guessed(self) -> float:
        """The share of :attr:`device_s` that rests on guesses, 0 to 1."""
        guessed = sum(one.guessed_s for one in self.stages.values())
        return guessed / self.device_s if self.device_s else 0.0


class Estimator:
    """Costs by the rates of a store (``None``: by guesses) for a kind of device."""

    def __init__(self, store: Store | None, device: str) -> None:
        self.rates = Rates(store, device)
        self._store = store
        self._bytes_of: dict[tuple[str, ...], float] = {}  # looked up once

    def generation(self, run: RunPlan, amount: Amount) -> Cost:
        """Generating so many clips of a run, staging and encoding with them."""
        found = cost(self.rates.generation(run), amount)
        return found.within(cost(self.rates.beside("generate", run.record.task), amount))

    def scoring(self, run: RunPlan, judged: Judged) -> Cost:
        """One protocol on outputs of a run."""
        return cost(self.rates.scoring(judged.protocol, run), judged.outputs, judged.truths)

    def bill(self, shares: Sequence[Share]) -> Bill:
        """Everything together."""
        made, judged = Cost(), Cost()
        units = 0.0
        for share in shares:
            made = made.plus(self.generation(share.run, share.make))
            judged = judged.plus(self._unit(share))
            units += _outputs(share).clips
        return Bill(
            stages={"generate": made, "score": judged},
            units={"generate": sum(share.make.clips for share in shares), "score": units},
            models={"generate": sum(share.make.clips > 0 for share in shares), "score": 1},
            bytes=self._bytes(shares),
            media_s=sum(max(share.make.media_s, _outputs(share).media_s) for share in shares),
        )

    def wall(self, bill: Bill, workers: int) -> float:
        """Seconds until a bill is paid by so many workers, the stages one after the other."""
        return sum(
            self.rates.stage(name).wall(
                one.seconds, workers, units=bill.units[name], longest_s=one.longest_s, models=bill.models[name]
            )
            for name, one in bill.stages.items()
        )

    def _unit(self, share: Share) -> Cost:
        """All protocols of a run: they judge a clip in one unit."""
        found = Cost()
        for judged in share.judge:
            found = found.within(self.scoring(share.run, judged))
        return found.within(cost(self.rates.beside("score", "score"), _outputs(share)))

    def _bytes(self, shares: Sequence[Share]) -> Bytes:
        read = media = rows = features = 0.0
        for share in shares:
            into, out = self._input_rate(share.run), self.output_rate(share.run)
            judged, met = _outputs(share), _truths(share)
            read += (share.make.media_s + met.media_s) * into + judged.media_s * out
            media += share.make.media_s * out
            rows += share.make.clips * OUTPUT_ROW_BYTES
            for one in share.judge:
                arrays = cost_bytes.of_arrays(one.protocol, self.rates.array_rate(one.protocol))
                rows += one.outputs.clips * ROW_BYTES + one.outputs.media_s * arrays.per_s
            features += met.media_s * self._feature_rate([one.protocol for one in share.judge])
        return Bytes(read, media, rows, features)

    def output_rate(self, run: RunPlan) -> float:
        """Bytes that a run leaves per second of media."""
        return self._once(
            ("out", run.record.system, run.record.task), lambda: cost_bytes.of_outputs(self._store, run).per_s
        )

    def _input_rate(self, run: RunPlan) -> float:
        return self._once(("in", run.record.dataset_sha256), lambda: cost_bytes.of_inputs(run.items).per_s)

    def _feature_rate(self, protocols: Sequence[Protocol]) -> float:
        families = sorted({protocol.family for protocol in protocols})
        return self._once(("kept", *families), lambda: cost_bytes.of_features(self._store, protocols).per_s)

    def _once(self, key: tuple[str, ...], look: Callable[[], float]) -> float:
        if key not in self._bytes_of:
            self._bytes_of[key] = look()
        return self._bytes_of[key]


def _outputs(share: Share) -> Amount:
    """What of a run is to be judged at all."""
    return max((judged.outputs for judged in share.judge), default=NOTHING, key=lambda amount: amount.media_s)


def _truths(share: Share) -> Amount:
    """What of a run's truths nothing has looked at yet."""
    return max((judged.truths for judged in share.judge), default=NOTHING, key=lambda amount: amount.media_s)


class Scene(NamedTuple):
    """A set of clips to project a plan to."""

    name: str
    clips: int
    clip_s: float


#: LRS3's test set and HiCoDiT's CinePile set have known numbers of clips; their lengths are estimates.
SCENES = (Scene("LRS3 test", 1_321, 2.4), Scene("CinePile", 160, 4.0), Scene("1,000,000 clips", 1_000_000, 5.0))


def projected(scene: Scene, runs: Sequence[tuple[RunPlan, Sequence[Protocol]]]) -> list[Share]:
    """The same systems under the same conditions and protocols on other clips, with nothing done yet."""
    amount = Amount(scene.clips, scene.clips * scene.clip_s, scene.clip_s)
    met: set[str] = set()
    shares: dict[tuple[str, ...], Share] = {}
    for run, protocols in runs:
        record = run.record
        key = (record.system, record.task, record.pairing, record.audio, record.reference, str(record.settings))
        share = shares.setdefault(key, Share(run, amount))
        known = {judged.protocol.id for judged in share.judge}
        for protocol in protocols:
            if protocol.id not in known:
                share.judge.append(Judged(protocol, amount, NOTHING if protocol.id in met else amount))
        met |= {protocol.id for protocol in protocols}
    return list(shares.values())


def rates_of(runs: Sequence[tuple[RunPlan, Sequence[Protocol]]], rates: Rates) -> list[tuple[str, Rate]]:
    """What the estimates of a plan rest on, by name; protocols that take no time are left out."""
    found: dict[str, Rate] = {}
    for run, protocols in runs:
        found.setdefault(f"generate ({run.record.system}, {run.record.task})", rates.generation(run))
        for protocol in (protocol for protocol in protocols if "cost" not in protocol.needs):
            found.setdefault(f"{protocol.id} ({run.record.system})", rates.scoring(protocol, run))
    return list(found.items())
