"""Harness overhead: ``generate`` with prepared media against a bare loop over the same encode calls.

The bare loop (``bare_loop.py``) writes each file under a temporary name, syncs it, renames it and syncs
the folder, as any loop must that does not lose results. The harness has in addition: opening the
store, the plan, the engine, staging, hashes, rows, commits. Like is held against like: ``workers=0``
against the loop in this process, one worker, which is a process of its own, against the loop in a
process of its own. Two tasks: ``t2av`` makes 75 frames and 3 s of sound from text; ``a2v`` makes the
frames and stages a silent copy of the face video and the 16 kHz driving audio for every request.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from bare_loop import bare_loop, clip_ids
from speed_kit import HERE, Line, Options, Race, fresh, race
from speed_media import Shot, demo_clips, shots, write_clip

from bench import registry
from bench.conditions import condition_for
from bench.engines.local import LocalEngine
from bench.generate import How, generate
from bench.plan import gather_inputs, make_run
from bench.progress import Progress
from bench.records import Clip, Task
from bench.specs import SystemSpec
from bench.store import Store

PLUGIN = HERE / "prepared_plugin.py"
DISTINCT = 4  # prepared clips; the others are these again
LIMIT = 1.05


def run(options: Options) -> list[Line]:
    """The lines of this part."""
    if "prepared" not in registry.names("systems"):
        registry.load_file(PLUGIN)
    n = options.size(40, 12, 2)
    demo = demo_clips()
    made = shots(options.size(DISTINCT, DISTINCT, 1), demo)
    lines = []
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        work = Path(name)
        clips = _clips(work, made, n)
        for task in ("t2av", "a2v"):
            found = race(_contenders(work, task, made, clips), options.rounds)
            source = "demo corpus" if demo else "invented"
            lines += _lines(task, found, f"{n} clips of {len(made[0].frames)} frames, {source}")
    return lines


def _lines(task: Task, found: Race, note: str) -> list[Line]:
    what = {"t2av": "text to video and sound", "a2v": "sound to video, with staging"}[task]
    lines = []
    for name, base in (("workers=0", "bare"), ("workers=1", "own process")):
        loop = "bare loop" if base == "bare" else "bare loop in a process of its own"
        lines.append(Line("overhead", f"{what}: {loop}", 1.0, "x", "", None, found.wall(base), found.cpu(base), note))
        wall, cpu = found.ratio(name, base, "wall"), found.ratio(name, base, "cpu")
        told = f"CPU {cpu:.3f} x"
        label = f"{what}: generate, {name}"
        met = wall <= LIMIT
        lines.append(Line("overhead", label, wall, "x", f"<= {LIMIT} x", met, found.wall(name), found.cpu(name), told))
    return lines


def _clips(work: Path, made: Sequence[Shot], n: int) -> list[Clip]:
    """``n`` clips whose media are those of ``made`` in turn; also the arrays for the plug-in."""
    originals = []
    for number, shot in enumerate(made):
        np.save(work / f"frames-{number}.npy", shot.frames)
        np.save(work / f"audio-{number}.npy", shot.audio.samples)
        originals.append(write_clip(work, f"original{number}", shot))
    return [
        replace(originals[i % len(made)], id=clip_id, content_sha256=f"{i:064x}", speaker=f"s{i % 5}")
        for i, clip_id in enumerate(clip_ids(n))
    ]


def _contenders(work: Path, task: Task, made: Sequence[Shot], clips: Sequence[Clip]) -> dict[str, object]:
    ids = [clip.id for clip in clips]
    return {
        "bare": lambda: bare_loop(work / "bare", task, made, ids),
        "own process": lambda: fresh("bare_loop.py", work, task, len(ids), len(made)),
        "workers=0": lambda: _harness(work / "store", task, clips, 0, work),
        "workers=1": lambda: _harness(work / "store", task, clips, 1, work),
    }


def _harness(root: Path, task: Task, clips: Sequence[Clip], workers: int, media: Path) -> None:
    spec = SystemSpec("prepared", "prepared", {"folder": str(media)})
    condition = condition_for(task, "matched", "real", "none")
    inputs = gather_inputs(clips, condition.pairing, condition.reference, None)
    facts = SimpleNamespace(dataset_sha256="d", seed=0, dtype="float32", weights={}, config={}, environment={})
    plan = make_run(spec, spec.build(), clips, clips, task, condition, inputs, **vars(facts))
    with Store.open(root) as store, LocalEngine(workers, plugins=[PLUGIN]) as engine:
        tally = generate(store, [plan], engine, How(batch_size=1, attempts=1), Progress(quiet=True))
    if tally.done != len(clips):
        raise RuntimeError(f"{tally.done} of {len(clips)} clips were generated; {tally.failed} failed")
    shutil.rmtree(root)
