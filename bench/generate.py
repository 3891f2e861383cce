"""Requests to outputs: the worker that stages, runs the system and encodes, and the driver's side."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.contracts import Control, Engine, System
from bench.engines.worker import is_disk_error, is_out_of_memory
from bench.errors import Unscorable, in_words, printable
from bench.measure import Meter
from bench.plan import Item, RunPlan
from bench.progress import Progress
from bench.records import Clip, Failure, Job, Outcome, Output, Reference, Request, Unit
from bench.render_output import Written, write_output
from bench.schedule import run as schedule
from bench.specs import SystemSpec
from bench.stage import Staging, stage
from bench.store import Store
from bench.store_records import OutputRecord, RunClip


@dataclass(frozen=True)
class GenerateSetup:
    """What every worker is told once. ``specs`` and ``splits`` are by run id."""

    specs: Mapping[str, SystemSpec]
    splits: Mapping[str, Sequence[Clip]]
    device: str
    dtype: str
    folder: str


@dataclass(frozen=True)
class GeneratePayload:
    """One request of a run; the reference is looked at by controls alone."""

    run_id: str
    staging: Staging
    truth: Reference | None


@dataclass(frozen=True)
class Generated:
    """What became of one request. ``final`` failures are not tried again until an input changes."""

    written: Written | None
    failure: Failure | None
    final: bool
    seconds: float
    peak_mib: float
    device: str


# --------------------------------------------------------------------------- in the worker


def worker(setup: GenerateSetup) -> Callable[[Sequence[GeneratePayload]], list[Generated]]:
    """The handler of a generating worker; keeps one system loaded at a time."""
    loaded: dict[str, System] = {}

    def handler(payloads: Sequence[GeneratePayload]) -> list[Generated]:
        run_id = payloads[0].run_id
        if run_id not in loaded:
            loaded.clear()
            loaded[run_id] = _load(setup, run_id)
        return _generate(loaded[run_id], payloads, setup)

    return handler


def _load(setup: GenerateSetup, run_id: str) -> System:
    system = setup.specs[run_id].build()
    system.load(setup.device, setup.dtype)
    if isinstance(system, Control):
        system.prepare(setup.splits[run_id])
    return system


@dataclass
class _Batch:
    """The requests of a batch that could be staged, and what is already decided for the rest."""

    requests: list[Request] = field(default_factory=list)
    truths: list[Reference] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    results: dict[int, Generated] = field(default_factory=dict)


def _generate(system: System, payloads: Sequence[GeneratePayload], setup: GenerateSetup) -> list[Generated]:
    work = Path(tempfile.mkdtemp(prefix="requests-", dir=setup.folder))
    try:
        batch = _staged(payloads, work, setup.device)
        for place, request, output, seconds, peak in _run(system, batch, setup.device):
            batch.results[place] = _written(system, request, output, seconds, peak, setup)
        return [batch.results[place] for place in range(len(payloads))]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _staged(payloads: Sequence[GeneratePayload], work: Path, device: str) -> _Batch:
    batch = _Batch()
    for place, payload in enumerate(payloads):
        try:
            request = stage(payload.staging, work / payload.staging.key)
        except Unscorable as error:
            failure = Failure("missing_reference", f"input: {error.kind}: {error.detail}")
            batch.results[place] = Generated(None, failure, True, 0.0, 0.0, device)
            continue
        batch.requests.append(request)
        batch.places.append(place)
        if payload.truth is not None:
            batch.truths.append(payload.truth)
    return batch


_Made = tuple[int, Request, "Output | Failure | Generated", float, float]


def _run(system: System, batch: _Batch, device: str) -> Iterator[_Made]:
    """Run the batch; one that raises is run again request by request, so that one clip fails alone."""
    if not batch.requests:
        return
    meter = Meter(device)
    try:
        outputs = _call(system, batch.requests, batch.truths)
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error) or is_disk_error(error):
            raise  # the scheduler's business: a smaller batch, or the end of the run
        seconds, peak = meter.read()
        if len(batch.requests) == 1:
            yield batch.places[0], batch.requests[0], _raised(error, device), seconds, peak
            return
        for index in range(len(batch.requests)):
            alone = _Batch([batch.requests[index]], batch.truths[index : index + 1], [batch.places[index]])
            yield from _run(system, alone, device)
        return
    seconds, peak = meter.read()
    for place, request, output in zip(batch.places, batch.requests, outputs, strict=True):
        yield place, request, output, seconds / len(outputs), peak


def _call(system: System, requests: Sequence[Request], truths: Sequence[Reference]) -> Sequence[Output | Failure]:
    if isinstance(system, Control):
        outputs = system.generate_from_truth(requests, truths)
    else:
        outputs = system.generate(requests)
    if not isinstance(outputs, list | tuple) or len(outputs) != len(requests):
        count = len(outputs) if isinstance(outputs, list | tuple) else type(outputs).__name__
        raise ValueError(f"the system returned {count} outputs for {len(requests)} requests")
    return outputs


def _raised(error: BaseException, device: str) -> Generated:
    """A failure of the system; a missing package is no property of the clip, so it is tried again."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    detail = f"{in_words(error)}{where}"
    return Generated(None, Failure("model_error", detail), not isinstance(error, ImportError), 0.0, 0.0, device)


def _written(
    system: System,
    request: Request,
    output: Output | Failure | Generated,
    seconds: float,
    peak: float,
    setup: GenerateSetup,
) -> Generated:
    if isinstance(output, Generated):
        return output
    if isinstance(output, Failure):
        return Generated(None, output, True, seconds, peak, setup.device)
    folder = Path(tempfile.mkdtemp(prefix="output-", dir=setup.folder))
    try:
        written = write_output(output, request, folder, trusted=isinstance(system, Control))
    except Unscorable as error:
        shutil.rmtree(folder, ignore_errors=True)
        return Generated(None, Failure(error.kind, error.detail), True, seconds, peak, setup.device)
    return Generated(written, None, True, seconds, peak, setup.device)


# --------------------------------------------------------------------------- in the driver


@dataclass
class Tally:
    """Counts of a stage; ``resumed`` were in the store already."""

    done: int = 0
    failed: int = 0
    resumed: int = 0
    conflicts: int = 0
    lost: int = 0


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


def generate(
    store: Store,
    plans: Sequence[RunPlan],
    engine: Engine,
    *,
    device: str,
    dtype: str,
    batch_size: int,
    attempts: int,
    timeout_s: float,
    force: bool,
    progress: Progress,
) -> Tally:
    """Generate what the store lacks of ``plans``; every result is stored as it comes."""
    tally = Tally()
    units: list[Unit] = []
    pending: dict[str, tuple[RunPlan, str]] = {}
    for rank, plan in enumerate(plans):
        register(store, plan)
        missing = todo(store, plan, force)
        tally.resumed += len(plan.items) - len(missing)
        for item in missing:
            if item.staging is None:
                final = not plan.record.audio.startswith("tts")  # speech that failed may come with the next run
                _store_failure(store, plan, item.clip.id, item.failure, final=final, device=device, force=force)
                tally.failed += 1
                continue
            key = f"{plan.record.id}/{item.clip.id}"
            payload = GeneratePayload(plan.record.id, item.staging, item.reference if plan.control else None)
            # runs one after the other (one system loaded at a time), longest clips first within each
            cost = 1e6 * (len(plans) - rank) + item.clip.duration_s
            units.append(Unit(key, payload, cost, plan.record.id))
            pending[key] = (plan, item.clip.id)
    if not units:
        return tally
    folder = str(store.stage_dir())
    setup = GenerateSetup(
        {plan.record.id: plan.spec for plan in plans},
        {plan.record.id: plan.split for plan in plans if plan.control},
        device,
        dtype,
        folder,
    )
    job = Job("bench.generate:worker", setup)
    timeout_s = max([timeout_s, *(plan.request_timeout_s for plan in plans)])
    with progress.stage("generate", len(units), tally.resumed) as bar:
        for outcome in schedule(engine, job, units, batch_size=batch_size, attempts=attempts, timeout_s=timeout_s):
            plan, clip_id = pending[outcome.key]
            ok = _store_outcome(store, plan, clip_id, outcome, tally, device, force)
            bar.advance(ok)
    return tally


def _store_outcome(
    store: Store, plan: RunPlan, clip_id: str, outcome: Outcome, tally: Tally, device: str, force: bool
) -> bool:
    if outcome.status != "ok":
        kind = outcome.reason if outcome.status == "lost" else "model_error"
        failure = Failure("model_error", f"{kind}: {outcome.detail}" if outcome.detail else kind)
        # what a handler lets out is no property of the clip: the next run tries again, as after a loss
        _store_failure(store, plan, clip_id, failure, final=False, device=device, force=force)
        tally.failed += 1
        tally.lost += outcome.status == "lost"
        return False
    made: Generated = outcome.record
    if made.written is None:
        _store_failure(store, plan, clip_id, made.failure, final=made.final, device=device, force=force, made=made)
        tally.failed += 1
        return False
    written = made.written
    files = {name: path for name, path in (("video", written.video), ("audio", written.audio)) if path is not None}
    record = OutputRecord(
        run_id=plan.record.id,
        clip_id=clip_id,
        status="ok",
        sha256=written.sha256,
        video=None,
        audio=None,
        n_frames=written.n_frames,
        n_samples=written.n_samples,
        sample_rate=written.sample_rate,
        seconds=made.seconds,
        peak_mib=made.peak_mib,
        media_seconds=written.media_seconds,
        device=made.device,
        created=_now(),
    )
    result = store.add_output(record, files, replace=force)
    tally.conflicts += result == "conflict"
    tally.done += 1
    return True


def _store_failure(
    store: Store,
    plan: RunPlan,
    clip_id: str,
    failure: Failure | None,
    *,
    final: bool,
    device: str,
    force: bool,
    made: Generated | None = None,
) -> None:
    failure = failure or Failure("missing_output", "the system made nothing")
    record = OutputRecord(
        run_id=plan.record.id,
        clip_id=clip_id,
        status="failed",
        sha256=None,
        video=None,
        audio=None,
        n_frames=None,
        n_samples=None,
        sample_rate=None,
        seconds=made.seconds if made else 0.0,
        peak_mib=made.peak_mib if made else 0.0,
        media_seconds=0.0,
        device=device,
        kind=failure.kind,
        detail=printable(failure.detail),
        final=final,
        created=_now(),
    )
    store.add_output(record, {}, replace=force)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
