"""Generating in a worker: requests are staged, the system runs, its outputs are checked and encoded."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.contracts import Control, System
from bench.engines.worker import is_disk_error, is_out_of_memory
from bench.errors import Unscorable, in_words
from bench.measure import Meter
from bench.records import Clip, Failure, Output, Reference, Request
from bench.render_output import Written, write_output
from bench.specs import SystemSpec
from bench.stage import Staging, stage


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
