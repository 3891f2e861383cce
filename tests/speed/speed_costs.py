"""The cost model held against measurements: rates from a few clips foretell what the other clips take.

A folder of clips of 1 to 3 s; ``ground-truth`` and ``still-face`` draw them (``a2v``) and SSIM and PSNR judge. Some are
run, the store's rates foretell the others (seconds of devices, wall time, bytes of media), then the others are run too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from speed_kit import Line, Options
from speed_media import Shot, demo_clips, shots, write_clip

from bench.config import Effective, effective
from bench.cost_plan import Bill, Estimator, Scene, projected
from bench.planning import plan
from bench.progress import Progress
from bench.protocols import select
from bench.records import Audio
from bench.score import applicable
from bench.stage_meter import kept
from bench.store import Store
from bench.work import execute

PART = "costs"
SYSTEMS = ("ground-truth", "still-face")
METRICS = ("ssim/skimage-gaussian@1", "psnr/rgb@1")
WORKERS = 2
LIMIT = 1.5  # how many times more or less than foretold is still well foretold


def run(options: Options) -> list[Line]:
    """Device seconds, wall time and bytes, as measured over foretold."""
    few, many = (options.size(a, b, c) for a, b, c in ((12, 10, 4), (60, 40, 10)))
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        folder = Path(name)
        lengths = _write(folder / "data", many)
        _run(folder, few)
        with Store.open(folder / "store", write=False) as store:
            before = _state(store)
            bill, wall = _foretold(folder, store, Scene("the others", many - few, sum(lengths) / many))
        took = _run(folder, many)
        with Store.open(folder / "store", write=False) as store:
            found = {name: count - before[name] for name, count in _state(store).items()}
    note = f"{many - few} clips after {few}, {WORKERS} workers"
    pairs = {
        "seconds of workers": (found["busy"], bill.device_s, "s"),
        "wall time": (took, wall, "s"),
        "media, MiB": (found["bytes"] / 2**20, bill.bytes.media / 2**20, "MiB"),
    }
    return [_line(what, *pair, note, options) for what, pair in pairs.items()]


def _line(what: str, measured: float, foretold: float, unit: str, note: str, options: Options) -> Line:
    ratio = measured / foretold
    met = None if options.tiny else 1 / LIMIT <= ratio <= LIMIT
    told = f"foretold {foretold:.2f} {unit}, measured {measured:.2f}; {note}"
    return Line(PART, f"{what}: measured / foretold", ratio, "x", f"{1 / LIMIT:.2f} to {LIMIT}", met, note=told)


def _write(folder: Path, n: int) -> list[float]:
    """``n`` clips of three lengths, no two with one content, which would be scored once; their seconds."""
    folder.mkdir()
    sources = shots(4, demo_clips())
    lengths = []
    for number in range(n):
        frames = (25, 50, 75)[number % 3]
        whole = sources[number % 4]
        samples = whole.audio.samples[: frames * whole.audio.rate // 25]
        write_clip(
            folder,
            f"clip{number:03}",
            Shot(np.roll(whole.frames[:frames], number, axis=2), Audio(samples, whole.audio.rate)),
        )
        lengths.append(frames / 25)
    return lengths


def _settings(folder: Path, clips: int) -> Effective:
    given = {
        "system": ",".join(SYSTEMS), "dataset": "folder", "task": "a2v", "metrics": ",".join(METRICS),
        "data_root": folder / "data", "out": folder / "store", "workers": WORKERS, "batch_size": 2, "device": "cpu",
        "clips": ",".join(f"clip{number:03}" for number in range(clips)),
    }  # fmt: skip
    return effective(given, environ={})


def _run(folder: Path, clips: int) -> float:
    """Wall seconds of ``bench run`` on the first clips, without what it has done before."""
    begin = time.perf_counter()
    with Store.open(folder / "store") as store:
        _, made, scored = execute(_settings(folder, clips), store, Progress(quiet=True), select(list(METRICS)), True)
    if made.failed or scored.failed:
        raise RuntimeError(f"{made.failed} outputs and {scored.failed} scores failed")
    return time.perf_counter() - begin


def _foretold(folder: Path, store: Store, scene: Scene) -> tuple[Bill, float]:
    work = plan(_settings(folder, 1), store, Progress(quiet=True))
    chosen = select(list(METRICS))
    estimator = Estimator(store, "cpu")
    bill = estimator.bill(projected(scene, [(run, applicable(chosen, run)) for run in work.plans]))
    return bill, estimator.wall(bill, WORKERS)


def _state(store: Store) -> Mapping[str, float]:
    """Seconds that workers have worked so far, and bytes of all media."""
    stages: Sequence[float] = [stage.busy_s for name in ("generate", "score") for stage in kept(store, name, "cpu")]
    return {
        "busy": sum(stages),
        "bytes": sum(path.stat().st_size for path in (store.root / "media").rglob("*") if path.is_file()),
    }
