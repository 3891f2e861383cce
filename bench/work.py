"""Doing what a command planned: engines, generating, scoring, and an orderly end when interrupted."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.config import Effective, RunSettings
from bench.contracts import Engine
from bench.engines import get_engine
from bench.errors import InterruptedRunError, UsageError
from bench.generate import How, Tally, generate
from bench.plan import RunPlan
from bench.planning import Work, plan
from bench.progress import Progress
from bench.protocols import Selection
from bench.score import generated_only, score, suited
from bench.store import Store


def ray_device(settings: RunSettings) -> str:
    """The device of Ray's workers, which hand out GPUs themselves: this machine need not have one.

    Raises:
        UsageError: a device by number.
    """
    if settings.device.startswith("cuda:"):
        raise UsageError(f"--device {settings.device}: Ray chooses the devices", "use --device cuda.")
    if settings.device == "auto" and settings.gpus_per_worker:
        return "cuda"
    return settings.device if settings.device == "cuda" else resolve_device(settings.device)


def resolve_device(device: str) -> str:
    """``auto`` is CUDA where an NVIDIA driver and a CUDA build of torch are there, else the CPU."""
    if device == "cpu" or (device == "auto" and shutil.which("nvidia-smi") is None):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda" if device == "auto" else device
    if device == "auto":
        return "cpu"
    raise UsageError(f"--device {device}: this machine has no CUDA device", "use --device cpu; see `bench doctor`.")


def make_engine(settings: RunSettings, store: Store, device: str) -> Engine:
    """The engine of the settings: a worker per core, or one per device; their logs lie in the store."""
    if settings.engine == "ray":
        share = 1.0 if settings.gpus_per_worker is None else settings.gpus_per_worker
        return get_engine(
            "ray",
            workers=settings.workers,
            address=settings.ray_address,
            gpus_per_worker=share if device == "cuda" else 0.0,
            plugins=settings.plugin,
            # of a media root the store's own folder there: all nodes see it
            log_dir=(store.root if settings.media_root is None else store.stage_dir().parent) / "logs",
        )
    gpus: list[str] = []
    workers = os.cpu_count() or 1
    if device.startswith("cuda"):
        import torch

        _, _, number = device.partition(":")
        gpus = [number] if number else [str(index) for index in range(torch.cuda.device_count())]
        workers = len(gpus)
    if settings.workers is not None:
        workers = settings.workers
    return get_engine(settings.engine, workers=workers, plugins=settings.plugin, gpus=gpus, log_dir=store.root / "logs")


class Stages:
    """The stages of a command on one store; ``made`` and ``scored`` count over all calls."""

    def __init__(self, settings: RunSettings, store: Store, progress: Progress) -> None:
        self._settings = settings
        self._store = store
        self._progress = progress
        self._device = ray_device(settings) if settings.engine == "ray" else resolve_device(settings.device)
        self.made, self.scored = Tally(), Tally()
        self._how = How(
            device=self._device.partition(":")[0],  # a worker sees its own device alone
            dtype=settings.dtype,
            batch_size=settings.batch_size,
            attempts=settings.retry,
            timeout_s=settings.timeout,
            force=settings.force,
        )

    def _engine(self) -> Engine:
        return make_engine(self._settings, self._store, self._device)

    def generate_before(self, work: Work) -> None:
        """What others need, which ``--force`` does not do anew."""
        with self._engine() as engine:
            generate(self._store, work.before, engine, replace(self._how, force=False), self._progress)

    def generate(self, plans: Sequence[RunPlan]) -> None:
        """The outputs that the store lacks."""
        with self._engine() as engine:
            self.made += generate(self._store, plans, engine, self._how, self._progress)

    def score(self, plans: Sequence[RunPlan], chosen: Selection) -> None:
        """The scores that the store lacks."""
        with self._engine() as engine:
            self.scored += score(self._store, plans, chosen, engine, self._how, self._progress)


def execute(
    effective: Effective, store: Store, progress: Progress, chosen: Selection | None, generating: bool
) -> tuple[Work, Tally, Tally]:
    """Generate (unless only scoring) and score (unless ``chosen`` is None) what is missing.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; everything finished so far is stored.
    """
    settings = effective.settings
    stages = Stages(settings, store, progress)
    with interruptible():
        work = plan(effective, store, progress)
        for notice in work.notices:
            progress.say(notice)
        if generating:
            if work.before:
                stages.generate_before(work)
                work = plan(effective, store, progress)
            stages.generate(work.plans)
        else:
            work.plans, work.absent = generated_only(store, work.plans)
        if chosen is not None:
            if settings.metrics == ["auto"]:
                chosen, left_out = suited(chosen, work.plans)
                for line in left_out:
                    progress.say(line)
            stages.score(work.plans, chosen)
    return work, stages.made, stages.scored


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the work in an orderly way: workers stopped, what is finished kept."""

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            "interrupted; everything finished so far is stored", "the same command goes on from here."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, previous)
