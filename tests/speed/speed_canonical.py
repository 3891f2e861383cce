"""The canonical metrics: the reference scripts' way (``reference_way/``) against one pass, with equal numbers.

Every way is a set of processes of its own, timed from start to end, loading its weights (by rule
``detfill-1``) from the same files. The reference way starts two processes for *every clip* for LSE with
tracks, and one per metric otherwise, for the whole set. Ours is one process (or the engine's two workers)
with all metrics. ``first system``: nothing is kept; ``next system``: the features of the truth are in the store.
Clips are demo clips of 75 frames, shown on backwards to 105, since a face track needs more than 100. One thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from canonical_plugin import VARIABLE
from speed_kit import HERE, Line, Options, Taken, one_thread, timed
from speed_media import FRAMES, RATE, Shot, demo_clips, shots, write_clip
from speed_scoring import _write_output

from bench.metrics.csim.arcface import ARCFACE
from bench.metrics.fid import FULL as FID
from bench.metrics.lse.protocols import PIPELINE, WAV2LIP
from bench.metrics.seeded import twin_of
from bench.metrics.utmos import Utmos
from bench.metrics.whisper_declare import WER_LARGE_V3
from bench.records import Audio

PART = "canonical"
TARGET = 10.0
LONG = 105  # frames
TINY = 12  # frames
FIRST, NEXT = "first system", "next system"


@dataclass(frozen=True)
class Measured:
    """A protocol: our id, the reference's scripts, the greatest relative difference that is documented, and why."""

    pid: str
    scripts: tuple[str, ...]
    tolerance: float
    values: tuple[str, ...]
    per_clip: bool = False  # processes for every clip
    of_set: bool = False  # one value per set

    @property
    def label(self) -> str:
        """A short name."""
        return self.pid.removeprefix("seeded/").removeprefix("seeded-tracks/").split("@")[0]


#: Tolerances are ten times what was found, those of float32 networks. LSE-C, a difference of two distances, is
#: held against LSE-D.
MEASURED = (
    Measured(twin_of(PIPELINE).id, ("lse_pipeline.py", "lse_evaluate.py"), 1e-6, ("lse_d", "lse_c"), per_clip=True),
    Measured(twin_of(WAV2LIP).id, ("lse_lrs.py",), 1e-6, ("lse_d", "lse_c")),
    Measured(twin_of(FID).id, ("fid.py",), 1e-5, ("fid",), of_set=True),
    Measured(twin_of(ARCFACE).id, ("csim.py",), 1e-6, ("csim",)),
    Measured(twin_of(Utmos.protocols[0]).id, ("utmos.py",), 1e-5, ("utmos",)),
    Measured(twin_of(WER_LARGE_V3).id, ("wer.py",), 1e-6, ("wer",)),
    Measured("ssim/skimage-gaussian@1", ("packages.py ssim",), 1e-6, ("ssim",)),
    Measured("psnr/rgb@1", ("packages.py psnr",), 1e-6, ("psnr",)),
    Measured("secs/resemblyzer@1", ("packages.py secs",), 1e-5, ("secs",)),
    Measured("lmd/mouth20-iod@1", ("packages.py lmd",), 1e-6, ("lmd",)),
)


def run(options: Options) -> list[Line]:
    """The lines of this part; one line that says why where there are no faces to measure on."""
    demo = demo_clips()
    if not demo:
        return [Line(PART, "skipped", 0.0, "", note="no demo corpus in the cache: `bench data make demo`")]
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        work = Path(name)
        save_weights(work / "weights")
        os.environ[VARIABLE] = str(work / "weights")
        clips = _clips(work, demo, options)
        expected, ways = _measure(work, clips)
        _require_equal(expected, ways)
        return _lines(expected, ways, len(clips))


def save_weights(folder: Path) -> None:
    """Filled networks as the files that the scripts load."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    from bench.detfill import fill_module
    from bench.metrics.csim.arcface_net import IResNet
    from bench.metrics.inception_net import Inception
    from bench.metrics.lse.s3fd_net import S3FD
    from bench.metrics.lse.syncnet_net import SyncNet
    from bench.metrics.seeded import GAINS, SMALL_WHISPER
    from bench.metrics.utmos import PARAMETERS
    from bench.metrics.utmos_net import Sizes, StrongLearner
    from bench.metrics.whisper_declare import dims_of

    folder.mkdir(parents=True)
    face: Any = ARCFACE.parameters["network"]
    dims = {**dims_of(WER_LARGE_V3.parameters), **SMALL_WHISPER}
    makers: dict[str, Callable[[], Any]] = {
        "syncnet_v2.model": SyncNet,
        "sfd_face.pth": S3FD,
        "pt_inception-2015-12-05-6726825d.pth": Inception,
        "backbone.pth": lambda: IResNet(face["layers"], face["num_features"]),
        "utmos22_strong_step7459_v1.pt": lambda: StrongLearner(Sizes.of(PARAMETERS)),
        "large-v3.pt": lambda: Whisper(ModelDimensions(**dims)),
    }
    for name, make in makers.items():
        state: Any = fill_module(make(), GAINS.get(name, 1.0)).state_dict()
        torch.save({"dims": dims, "model_state_dict": state} if name == "large-v3.pt" else state, folder / name)


def _clips(work: Path, demo: Any, options: Options) -> list[dict[str, str]]:
    """Truths and outputs on disk."""
    found = []
    n = options.size(32, 4, 1)
    for number, (shot, clip) in enumerate(zip(shots(n, demo), demo, strict=False)):
        shown = _cut(shot) if options.tiny else _long(shot)
        truth = write_clip(work, f"truth{number}", shown)
        video, audio = _write_output(work, number, shown)
        assert truth.video is not None and truth.audio is not None
        paths = {"video": video, "audio": audio, "ref_video": truth.video.path, "ref_audio": truth.audio.path}
        found.append({**{key: str(path) for key, path in paths.items()}, "transcript": str(clip.transcript)})
    return found


def _long(shot: Shot) -> Shot:
    more = LONG - FRAMES
    frames = np.concatenate([shot.frames, shot.frames[-2 : -2 - more : -1]])
    samples = np.concatenate([shot.audio.samples, shot.audio.samples[: more * RATE // 25]])
    return Shot(frames, Audio(samples, RATE))


def _cut(shot: Shot) -> Shot:
    return Shot(shot.frames[:TINY], shot.audio)


@dataclass
class Found:
    """Values by protocol and place (clip, or 0 for a set), times, seconds by protocol, peaks after each clip."""

    values: dict[str, list[dict[str, float] | None]]
    taken: Taken
    seconds: Mapping[str, float]
    peaks: list[float]


def _measure(work: Path, clips: list[dict[str, str]]) -> tuple[Found, dict[str, Found]]:
    """The reference way, and ours by what it begins with."""
    expected = reference_way(work, clips)
    return expected, {
        FIRST: one_pass(work, clips, "store", keep=True),
        NEXT: one_pass(work, clips, "store"),
        f"{FIRST}, 2 workers": one_pass(work, clips, "empty", workers=2),
        f"{NEXT}, 2 workers": one_pass(work, clips, "store", workers=2),
    }


def _require_equal(expected: Found, ways: Mapping[str, Found]) -> None:
    worst = [
        (w, one, difference(one, way.values[one.pid], expected.values[one.pid]))
        for w, way in ways.items()
        for one in MEASURED
    ]
    wrong = [f"{label}, {one.pid}: {found:.2g}" for label, one, found in worst if not found <= one.tolerance]
    if wrong:
        raise RuntimeError("numbers differ from the reference way:\n" + "\n".join(wrong))


def _lines(expected: Found, ways: Mapping[str, Found], n: int) -> list[Line]:
    times = expected.taken
    note = f"{n} clips, {len(MEASURED)} protocols, {2 * n + len(MEASURED) - 1} processes"
    lines = [Line(PART, "reference way", 1.0, "x", "", None, times.wall, times.cpu, note)]
    for label, way in ways.items():
        ratio = times.wall / way.taken.wall
        told = f"CPU {times.cpu / way.taken.cpu:.2f} x; {way.taken.wall / n:.1f} s per clip"
        target, met = f">= {TARGET:g} x", ratio >= TARGET
        lines.append(Line(PART, label, ratio, "x faster", target, met, way.taken.wall, way.taken.cpu, told))
    return [*lines, *(_of_metric(one, expected, ways) for one in MEASURED), _memory(ways[FIRST].peaks)]


def _of_metric(one: Measured, expected: Found, ways: Mapping[str, Found]) -> Line:
    """CPU seconds of a metric: the reference's processes against our share of the pass (loading apart)."""
    theirs = expected.seconds[one.pid]
    first, following = (ways[label].seconds[one.pid] for label in (FIRST, NEXT))
    worst = max(difference(one, way.values[one.pid], expected.values[one.pid]) for way in ways.values())
    note = f"first {first:.1f} s ({theirs / max(first, 1e-3):.1f} x), next {following:.1f} s; differs {worst:.1g}"
    ratio = theirs / max(following, 1e-3)
    return Line(PART, f"  {one.label}, next system", ratio, "x less CPU", cpu=theirs, note=note)


def _memory(peaks: list[float]) -> Line:
    """Peak memory of the first pass after a quarter of the clips and after all."""
    early, late = peaks[max(0, len(peaks[:-1]) // 4 - 1)], peaks[-2]
    note = f"{early:,.0f} MB after {max(1, len(peaks[:-1]) // 4)}, {late:,.0f} MB after {len(peaks) - 1} clips"
    return Line(
        PART,
        "peak memory",
        late / early,
        "x",
        "<= 1.1 x",
        late <= 1.1 * early,
        note=f"{note}; set value {peaks[-1]:,.0f}",
    )


def reference_way(work: Path, clips: list[dict[str, str]]) -> Found:
    """Every script's processes, one after the other."""
    values: dict[str, list[dict[str, float] | None]] = {}
    seconds: dict[str, float] = {}
    wall = cpu = 0.0
    for one in MEASURED:
        answers: list[dict[str, Any]] = []
        batches = [[clip] for clip in clips] if one.per_clip else [clips]
        taken = timed(lambda one=one, batches=batches, answers=answers: answers.extend(_scripts(work, one, batches)))
        values[one.pid] = _reference_values(one, answers)
        seconds[one.pid] = taken.cpu
        wall, cpu = wall + taken.wall, cpu + taken.cpu
        print(
            f"  reference way, {one.label}: {taken.wall:.1f} s wall, {taken.cpu:.1f} s CPU", file=sys.stderr, flush=True
        )
    return Found(values, Taken(wall, cpu), seconds, [])


def _scripts(work: Path, one: Measured, batches: list[list[dict[str, str]]]) -> list[dict[str, Any]]:
    """The last script's answer of each batch."""
    answers = []
    folder = work / "reference"
    folder.mkdir(exist_ok=True)
    for batch in batches:
        job = folder / "job.json"
        job.write_text(json.dumps({"weights": str(work / "weights"), "work": str(folder), "clips": batch}))
        answer: dict[str, Any] = {}
        for script in one.scripts:
            name, *rest = script.split()
            answer = _process(HERE / "reference_way" / name, job, *rest)
        answers.append(answer)
    return answers


def _reference_values(one: Measured, answers: list[dict[str, Any]]) -> list[dict[str, float] | None]:
    if one.of_set:
        return [{one.values[0]: answers[0]["value"]}]
    if one.per_clip:  # a clip's value is the mean over its tracks
        tracks = [answer["values"] for answer in answers]
        return [
            {name: float(np.mean([t[name] for t in found])) for name in one.values} if found else None
            for found in tracks
        ]
    found = answers[0]["values"]
    return [value if isinstance(value, dict) else {one.values[0]: value} for value in found]


def one_pass(work: Path, clips: list[dict[str, str]], store: str, *, keep: bool = False, workers: int = 1) -> Found:
    """Our way; ``keep``: the driver's part, features of the truth go to the store, is done and timed too."""
    job = work / "pass.json"
    pids = [one.pid for one in MEASURED]
    settings = {"protocols": pids, "clips": clips, "store": str(work / store), "keep": keep, "workers": workers}
    job.write_text(json.dumps({**settings, "work": str(work / f"pass-{store}-{workers}-{keep}")}))
    answers: list[dict[str, Any]] = []
    taken = timed(lambda: answers.append(_process(HERE / "canonical_pass.py", job)))
    print(
        f"  one pass, {store}, {workers} workers: {taken.wall:.1f} s wall, {taken.cpu:.1f} s CPU",
        file=sys.stderr,
        flush=True,
    )
    found = answers[0]
    values = {pid: [clip[pid] for clip in found["values"]] for pid in pids}
    for one in MEASURED:
        if one.of_set:
            values[one.pid] = [{one.values[0]: found["sets"][one.pid]}]
    return Found(values, taken, found["seconds"], found["peaks"])


def _process(script: Path, *arguments: object) -> dict[str, Any]:
    env = {**one_thread(), "PYTHONPATH": str(HERE)}
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise RuntimeError(f"{script.name}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def difference(one: Measured, ours: list[Any], theirs: list[Any]) -> float:
    """The greatest difference, relative to the protocol's first value (or to 1 where that is less)."""
    if [value is None for value in ours] != [value is None for value in theirs]:
        raise RuntimeError(f"{one.pid}: {ours} against {theirs}")
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None]
    return max(
        (abs(a[name] - b[name]) / max(1.0, abs(b[one.values[0]])) for a, b in pairs for name in one.values), default=0.0
    )
