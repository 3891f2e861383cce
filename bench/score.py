"""Outputs to scores: what is missing, in which units, and what is stored of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.contracts import Engine
from bench.errors import UsageError, blaming, printable
from bench.generate import How, Tally
from bench.plan import Item, RunPlan
from bench.progress import Progress
from bench.protocols import Selection, weights_sha256
from bench.records import Failure, Job, Outcome, Protocol, Score, Source, Unit
from bench.score_worker import ScorePayload, ScoreSetup
from bench.stage_meter import Spent, StageMeter
from bench.store import Store
from bench.store_records import OutputRecord, ScoreKey, ScoreRecord, cost_reference


@dataclass(frozen=True)
class _Pending:
    name: str  # for people
    output_sha256: str
    reference_sha256: Mapping[str, str]  # by protocol
    media_s: float


def score(
    store: Store, plans: Sequence[RunPlan], selection: Selection, engine: Engine, how: How, progress: Progress
) -> Tally:
    """Score every stored output of ``plans`` under every selected protocol that applies and is missing."""
    work = _Work(store, selection, how, progress)
    for plan in plans:
        work.add(plan)
    if not work.units:
        return work.tally
    # on a GPU two runs may round differently, which is no conflict worth telling
    job = Job(
        "bench.score_worker:worker", ScoreSetup(selection.by_metric(), how.device), repeatable=how.device == "cpu"
    )
    meter = StageMeter("score", how.device)
    with progress.stage("score", work.total, work.tally.resumed) as bar:
        for outcome in meter.watch(how.outcomes(engine, job, work.units), work.spent, lambda _: "metrics"):
            for record in work.store_outcome(outcome):
                bar.advance(record.status == "ok")
    meter.keep(store)
    return work.tally


class _Work:
    """The units of a stage and what became of them."""

    def __init__(self, store: Store, selection: Selection, how: How, progress: Progress) -> None:
        self.store, self.selection, self.how, self.progress = store, selection, how, progress
        self.tally = Tally()
        self.units: list[Unit] = []
        self._pending: dict[str, _Pending] = {}
        self._claimed: set[ScoreKey] = set()  # equal outputs of equal clips are scored once

    @property
    def total(self) -> int:
        """Scores to be made."""
        return sum(len(pending.reference_sha256) for pending in self._pending.values())

    def add(self, plan: RunPlan) -> None:
        """Units for what a plan's outputs lack."""
        protocols = applicable(self.selection, plan)
        self.store.add_run_protocols(plan.record.id, [p.id for p in protocols])
        outputs = self.store.outputs(plan.record.id)
        states = {} if self.how.force else _states(self.store, plan, outputs, protocols)
        for item in plan.items:
            output = outputs.get(item.clip.id)
            if output is None or output.status != "ok":
                continue
            keys = {p.id: score_key(p, plan, item, output) for p in protocols}
            asked = [
                p for p, key in keys.items() if states.get(key) not in {"ok", "failed"} and key not in self._claimed
            ]
            self._claimed |= {keys[pid] for pid in asked}
            self.tally.resumed += len(keys) - len(asked)
            if asked:
                unit = _unit(self.store, plan, item, output, asked)
                self.units.append(unit)
                references = {p: keys[p].reference_sha256 for p in asked}
                name = f"{plan.record.system} {plan.record.task} {item.clip.id}"
                self._pending[unit.key] = _Pending(name, output.sha256 or "", references, item.clip.duration_s)

    def spent(self, outcome: Outcome) -> Spent:
        """What a unit that went well tells of its time, for the stage's meter."""
        told = sum(seconds for _, seconds, _ in outcome.record.results.values())
        return Spent("score", self._pending[outcome.key].media_s, told)

    def store_outcome(self, outcome: Outcome) -> list[ScoreRecord]:
        """Keep the scores and failures of a unit, and the new features of its truth.

        A second record of a unit is held against what is stored, and is no more than that: none is returned.
        """
        pending = self._pending[outcome.key]
        records = []
        for pid, reference in pending.reference_sha256.items():
            result, seconds, final, versions = _result(outcome, pid)
            protocol = self.selection.get(pid)
            records.append(_record(protocol, pending.output_sha256, reference, result, seconds, final, versions))
            if isinstance(result, Failure) and not outcome.again:
                self.progress.detail(f"{pending.name} {pid}: {result.kind}: {result.detail}")
        if outcome.status == "ok":
            for media_sha, features in outcome.record.features.items():
                for key, arrays in features.items():
                    self.store.put_features(media_sha, key, arrays)
        added = self.store.add_scores(records, replace=self.how.force and not outcome.again)
        self.tally.conflicts += sum(what == "conflict" for what in added)
        if outcome.again:
            return []
        self.tally.done += sum(record.status == "ok" for record in records)
        self.tally.failed += sum(record.status == "failed" for record in records)
        self.tally.lost += outcome.status == "lost"
        return records


def generated_only(store: Store, plans: Sequence[RunPlan]) -> tuple[list[RunPlan], list[str]]:
    """The plans that have a run in the store, and the names of the others.

    Raises:
        UsageError: none has.
    """
    known = {run.id for run in store.runs()}
    absent = [f"{plan.record.system} {plan.record.task}" for plan in plans if plan.record.id not in known]
    if len(absent) == len(plans):
        raise UsageError(
            f"nothing has been generated yet under these options for {', '.join(absent)}",
            "`bench generate` with the same options makes outputs; `bench runs list` shows what there is.",
        )
    return [plan for plan in plans if plan.record.id in known], absent


def applicable(selection: Selection, plan: RunPlan) -> list[Protocol]:
    """The selected protocols that judge what the run's task makes."""
    task = plan.items[0].reference.task
    return [protocol for protocol in selection.protocols if protocol.applies_to(task)]


def suited(selection: Selection, plans: Sequence[RunPlan]) -> tuple[Selection, list[str]]:
    """The selection without protocols that cannot judge these data at all, and a line for each of those."""
    transcripts = [item.reference.transcript or "" for plan in plans for item in plan.items]
    reasons: dict[str, str] = {}
    for pid, entry in selection.entries.items():
        with blaming(f"metric {entry.metric!r} cannot say whether {pid} suits these data", UsageError):
            reasons[pid] = selection.metric(pid).unsuited(pid, transcripts)
    entries = {pid: entry for pid, entry in selection.entries.items() if not reasons[pid]}
    lines = [f"{pid} is left out: {reason}" for pid, reason in reasons.items() if reason]
    return Selection(entries, selection.skipped), lines


def score_key(protocol: Protocol, plan: RunPlan, item: Item, output: OutputRecord) -> ScoreKey:
    """The key of a score."""
    cost = "cost" in protocol.needs
    reference = cost_reference(plan.record.id, item.clip.id) if cost else item.reference.sha256
    return ScoreKey(output.sha256 or "", reference, protocol.id, weights_sha256(protocol))


def _states(
    store: Store, plan: RunPlan, outputs: Mapping[str, OutputRecord], protocols: Sequence[Protocol]
) -> Mapping[ScoreKey, str]:
    keys = [
        score_key(protocol, plan, item, outputs[item.clip.id])
        for item in plan.items
        if item.clip.id in outputs and outputs[item.clip.id].status == "ok"
        for protocol in protocols
    ]
    return store.have_scores(keys)


def _unit(store: Store, plan: RunPlan, item: Item, output: OutputRecord, asked: Sequence[str]) -> Unit:
    def stored(relative: str | None, given: Source | None) -> Source | None:
        # of a media root the file itself: workers of other machines may not see the store's link to it
        return Source((store.root / relative).resolve()) if relative else given

    payload = ScorePayload(
        truth=item.reference,
        video_key=item.clip.content_sha256,
        audio_key=item.audio_key,
        output_sha256=output.sha256 or "",
        video=stored(output.video, item.given_video),
        audio=stored(output.audio, item.given_audio),
        cost={"seconds": output.seconds, "peak_mib": output.peak_mib, "media_seconds": output.media_seconds},
        protocols=list(asked),
        store=str(store.shared),
        verify=True,
    )
    # outputs of one clip share a batch, and so the decoded truth
    return Unit(f"{plan.record.id}/{item.clip.id}", payload, item.clip.duration_s, item.reference.sha256)


def _result(outcome: Outcome, pid: str) -> tuple[Score | Failure, float, bool, Mapping[str, str]]:
    if outcome.status == "ok":
        result, seconds, final = outcome.record.results[pid]
        return result, seconds, final, outcome.record.versions
    reason = outcome.reason if outcome.status == "lost" else "worker"
    detail = f"{reason}: {outcome.detail}" if outcome.detail else reason
    # what a handler lets out is no property of the clip: the next run tries again, as after a loss
    return Failure("model_error", detail), outcome.seconds, False, {}


def _record(
    protocol: Protocol,
    output_sha256: str,
    reference_sha256: str,
    result: Score | Failure,
    seconds: float,
    final: bool,
    versions: Mapping[str, str],
) -> ScoreRecord:
    common: dict[str, Any] = {
        "output_sha256": output_sha256,
        "reference_sha256": reference_sha256,
        "protocol": protocol.id,
        "weights_sha256": weights_sha256(protocol),
        "seconds": seconds,
        "versions": versions,
    }
    if isinstance(result, Failure):
        return ScoreRecord(status="failed", kind=result.kind, detail=printable(result.detail), final=final, **common)
    arrays = None
    if result.arrays:
        import numpy as np
        from safetensors.numpy import save

        arrays = save({name: np.ascontiguousarray(array) for name, array in result.arrays.items()})
    return ScoreRecord(status="ok", values=result.values, parts=result.parts, text=result.text, arrays=arrays, **common)
