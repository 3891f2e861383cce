"""Outputs to scores: what is missing, in which units, and what is stored of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.contracts import Engine
from bench.errors import UsageError, printable
from bench.generate import Tally
from bench.plan import Item, RunPlan
from bench.progress import Progress
from bench.protocols import Selection, weights_sha256
from bench.records import Failure, Job, Outcome, Protocol, Score, Source, Unit
from bench.schedule import run as schedule
from bench.score_worker import ScorePayload, ScoreSetup
from bench.store import Store
from bench.store_records import OutputRecord, ScoreKey, ScoreRecord, cost_reference


@dataclass(frozen=True)
class _Pending:
    output_sha256: str
    reference_sha256: Mapping[str, str]  # by protocol


def score(
    store: Store,
    plans: Sequence[RunPlan],
    selection: Selection,
    engine: Engine,
    *,
    device: str,
    batch_size: int,
    attempts: int,
    timeout_s: float,
    force: bool,
    progress: Progress,
) -> Tally:
    """Score every stored output of ``plans`` under every selected protocol that applies and is missing."""
    tally = Tally()
    units: list[Unit] = []
    pending: dict[str, _Pending] = {}
    claimed: set[ScoreKey] = set()  # equal outputs of equal clips are scored once
    for plan in plans:
        protocols = applicable(selection, plan)
        store.add_run_protocols(plan.record.id, [p.id for p in protocols])
        outputs = store.outputs(plan.record.id)
        states = {} if force else _states(store, plan, outputs, protocols)
        for item in plan.items:
            output = outputs.get(item.clip.id)
            if output is None or output.status != "ok":
                continue
            keys = {p.id: score_key(p, plan, item, output) for p in protocols}
            asked = [pid for pid, key in keys.items() if states.get(key) not in {"ok", "failed"} and key not in claimed]
            claimed |= {keys[pid] for pid in asked}
            tally.resumed += len(keys) - len(asked)
            if asked:
                unit = _unit(store, plan, item, output, asked)
                units.append(unit)
                pending[unit.key] = _Pending(output.sha256 or "", {p: keys[p].reference_sha256 for p in asked})
    if not units:
        return tally
    job = Job("bench.score_worker:worker", ScoreSetup(selection.by_metric(), device))
    total = sum(len(p.reference_sha256) for p in pending.values())
    with progress.stage("score", total, tally.resumed) as bar:
        for outcome in schedule(engine, job, units, batch_size=batch_size, attempts=attempts, timeout_s=timeout_s):
            for record in _store_outcome(store, outcome, pending[outcome.key], selection, tally, force):
                bar.advance(record.status == "ok")
    return tally


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
    reasons = {pid: selection.metric(pid).unsuited(pid, transcripts) for pid in selection.entries}
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
        return Source(store.root / relative) if relative else given

    payload = ScorePayload(
        truth=item.reference,
        video_key=item.clip.content_sha256,
        audio_key=item.audio_key,
        output_sha256=output.sha256 or "",
        video=stored(output.video, item.given_video),
        audio=stored(output.audio, item.given_audio),
        cost={"seconds": output.seconds, "peak_mib": output.peak_mib, "media_seconds": output.media_seconds},
        protocols=list(asked),
        store=str(store.root),
        verify=True,
    )
    # outputs of one clip share a batch, and so the decoded truth
    return Unit(f"{plan.record.id}/{item.clip.id}", payload, item.clip.duration_s, item.reference.sha256)


def _store_outcome(
    store: Store, outcome: Outcome, pending: _Pending, selection: Selection, tally: Tally, force: bool
) -> list[ScoreRecord]:
    records = []
    for pid, reference in pending.reference_sha256.items():
        result, seconds, final, versions = _result(outcome, pid)
        records.append(_record(selection.get(pid), pending.output_sha256, reference, result, seconds, final, versions))
    if outcome.status == "ok":
        for media_sha, features in outcome.record.features.items():
            for key, arrays in features.items():
                store.put_features(media_sha, key, arrays)
    added = store.add_scores(records, replace=force)
    tally.conflicts += sum(what == "conflict" for what in added)
    tally.done += sum(record.status == "ok" for record in records)
    tally.failed += sum(record.status == "failed" for record in records)
    tally.lost += outcome.status == "lost"
    return records


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
