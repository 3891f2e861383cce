"""Requests to outputs: what is missing, in which units, and what is stored of the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.contracts import Engine
from bench.errors import printable
from bench.generate_worker import Generated, GeneratePayload, GenerateSetup
from bench.plan import Item, RunPlan
from bench.progress import Progress
from bench.records import Failure, Job, Outcome, Unit
from bench.schedule import run as schedule
from bench.stage_meter import Spent, StageMeter
from bench.store import Store
from bench.store_records import OutputRecord, RunClip


@dataclass
class Tally:
    """Counts of a stage; ``resumed`` were in the store already."""

    done: int = 0
    failed: int = 0
    resumed: int = 0
    conflicts: int = 0
    lost: int = 0

    def __iadd__(self, other: Tally) -> Tally:
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)
        return self


def stored_outputs(store: Store | None, run_id: str) -> Mapping[str, OutputRecord]:
    """What is stored of a run, by clip id; nothing where it (or the store) is not there yet."""
    return store.outputs(run_id) if store is not None and store.runs(id=run_id) else {}


def todo(store: Store | None, plan: RunPlan, force: bool) -> list[Item]:
    """Items of a plan that have no final output yet."""
    found = {} if force else stored_outputs(store, plan.record.id)
    have = {clip_id for clip_id, output in found.items() if output.status == "ok" or output.final}
    return [item for item in plan.items if item.clip.id not in have]


def register(store: Store, plan: RunPlan) -> None:
    """Record the run and the clips that were asked for (their union over all commands)."""
    store.add_run(plan.record)
    rows = [
        RunClip(item.clip.id, item.clip.identity, item.reference.sha256, item.clip.duration_s) for item in plan.items
    ]
    store.add_run_clips(plan.record.id, rows)


@dataclass(frozen=True)
class How:
    """The settings of generating and scoring that change no result (``force``: do it anew)."""

    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = 8
    attempts: int = 3
    timeout_s: float = 600.0
    force: bool = False

    def outcomes(self, engine: Engine, job: Job, units: Sequence[Unit], timeout_s: float = 0.0) -> Iterator[Outcome]:
        """Run units under these settings; ``timeout_s`` raises the time limit."""
        limit = max(self.timeout_s, timeout_s)
        return schedule(engine, job, units, batch_size=self.batch_size, attempts=self.attempts, timeout_s=limit)


def generate(store: Store, plans: Sequence[RunPlan], engine: Engine, how: How, progress: Progress) -> Tally:
    """Generate what the store lacks of ``plans``; every result is stored as it comes."""
    work = _Work(store, how, progress)
    for rank, plan in enumerate(plans):
        register(store, plan)
        work.add(plan, rank=len(plans) - rank)
    if not work.units:
        return work.tally
    setup = GenerateSetup(
        {plan.record.id: plan.spec for plan in plans},
        {plan.record.id: plan.split for plan in plans if plan.control},
        how.device,
        how.dtype,
        str(store.stage_dir()),
    )
    longest = max(plan.request_timeout_s for plan in plans)
    meter = StageMeter("generate", how.device)
    with progress.stage("generate", len(work.units), work.tally.resumed) as bar:
        job = Job("bench.generate_worker:worker", setup, renews=True)  # the memory of a run is its system's alone
        for outcome in meter.watch(how.outcomes(engine, job, work.units, longest), work.spent, work.run_of):
            bar.advance(work.store_outcome(outcome))
    meter.keep(store)
    return work.tally


class _Work:
    """The units of a stage and what became of them."""

    def __init__(self, store: Store, how: How, progress: Progress) -> None:
        self.store, self.how, self.progress = store, how, progress
        self.tally = Tally()
        self.units: list[Unit] = []
        self._place: dict[str, tuple[RunPlan, str]] = {}

    def add(self, plan: RunPlan, rank: int) -> None:
        """Units for what a plan lacks; clips that the condition leaves without input fail at once."""
        missing = todo(self.store, plan, self.how.force)
        self.tally.resumed += len(plan.items) - len(missing)
        for item in missing:
            if item.staging is None:
                final = not plan.record.audio.startswith("tts")  # speech that failed may come with the next run
                self._fail(plan, item.clip.id, item.failure, final)
                continue
            key = f"{plan.record.id}/{item.clip.id}"
            payload = GeneratePayload(plan.record.id, item.staging, item.reference if plan.control else None)
            # runs one after the other (one system loaded at a time), longest clips first within each
            self.units.append(Unit(key, payload, 1e6 * rank + item.clip.duration_s, plan.record.id))
            self._place[key] = (plan, item.clip.id)

    def spent(self, outcome: Outcome) -> Spent:
        """What a unit that went well tells of its time, for the stage's meter."""
        plan, _ = self._place[outcome.key]
        made: Generated = outcome.record
        return Spent(plan.record.task, made.written.media_seconds if made.written else 0.0, made.seconds)

    def run_of(self, outcome: Outcome) -> str:
        """The run of a unit: its system is loaded for it."""
        return self._place[outcome.key][0].record.id

    def store_outcome(self, outcome: Outcome) -> bool:
        """Keep an output or its failure; returns whether there is an output."""
        plan, clip_id = self._place[outcome.key]
        if outcome.status != "ok":
            kind = outcome.reason if outcome.status == "lost" else "model_error"
            failure = Failure("model_error", f"{kind}: {outcome.detail}" if outcome.detail else kind)
            self.tally.lost += outcome.status == "lost"
            # what a handler lets out is no property of the clip: the next run tries again, as after a loss
            return self._fail(plan, clip_id, failure, final=False)
        made: Generated = outcome.record
        if made.written is None:
            return self._fail(plan, clip_id, made.failure, made.final, made)
        written = made.written
        files: dict[Any, Any] = {"video": written.video, "audio": written.audio}
        record = OutputRecord(
            **_common(plan, clip_id, made, self.how),
            status="ok",
            sha256=written.sha256,
            n_frames=written.n_frames,
            n_samples=written.n_samples,
            sample_rate=written.sample_rate,
            media_seconds=written.media_seconds,
        )
        kept = {name: path for name, path in files.items() if path is not None}
        self.tally.conflicts += self.store.add_output(record, kept, replace=self.how.force) == "conflict"
        self.tally.done += 1
        return True

    def _fail(
        self, plan: RunPlan, clip_id: str, failure: Failure | None, final: bool, made: Generated | None = None
    ) -> bool:
        failure = failure or Failure("missing_output", "the system made nothing")
        detail = printable(failure.detail)
        common = _common(plan, clip_id, made, self.how)
        record = OutputRecord(**common, status="failed", kind=failure.kind, detail=detail, final=final)
        self.store.add_output(record, {}, replace=self.how.force)
        self.progress.detail(f"{plan.record.system} {plan.record.task} {clip_id}: {failure.kind}: {detail}")
        self.tally.failed += 1
        return False


def _common(plan: RunPlan, clip_id: str, made: Generated | None, how: How) -> dict[str, Any]:
    """What outputs and failures have in common."""
    return {
        "run_id": plan.record.id,
        "clip_id": clip_id,
        "seconds": made.seconds if made else 0.0,
        "peak_mib": made.peak_mib if made else 0.0,
        "device": how.device,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
