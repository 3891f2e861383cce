"""Doing what a command planned: engines, generating, scoring, and an orderly end when interrupted."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.config import Effective, RunSettings
from bench.contracts import Engine
from bench.engines import get_engine
from bench.errors import InterruptedRunError, UsageError
from bench.generate import How, Tally, generate
from bench.planning import Work, plan
from bench.progress import Progress
from bench.protocols import Selection
from bench.score import generated_only, score, suited
from bench.store import Store


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


def execute(
    effective: Effective, store: Store, progress: Progress, chosen: Selection | None, generating: bool
) -> tuple[Work, Tally, Tally]:
    """Generate (unless only scoring) and score (unless ``chosen`` is None) what is missing.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; everything finished so far is stored.
    """
    settings = effective.settings
    device = resolve_device(settings.device)
    made, scored = Tally(), Tally()
    how = How(
        device=device.partition(":")[0],  # a worker sees its own device alone
        dtype=settings.dtype,
        batch_size=settings.batch_size,
        attempts=settings.retry,
        timeout_s=settings.timeout,
        force=settings.force,
    )
    with interruptible():
        work = plan(effective, store, progress)
        for notice in work.notices:
            progress.say(notice)
        if generating:
            if work.before:
                with make_engine(settings, store, device) as engine:
                    generate(store, work.before, engine, replace(how, force=False), progress)
                work = plan(effective, store, progress)
            with make_engine(settings, store, device) as engine:
                made = generate(store, work.plans, engine, how, progress)
        else:
            work.plans, work.absent = generated_only(store, work.plans)
        if chosen is not None:
            if settings.metrics == ["auto"]:
                chosen, left_out = suited(chosen, work.plans)
                for line in left_out:
                    progress.say(line)
            with make_engine(settings, store, device) as engine:
                scored = score(store, work.plans, chosen, engine, how, progress)
    return work, made, scored


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
