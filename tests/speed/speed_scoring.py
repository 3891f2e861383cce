"""Scoring in one pass against the naive way (``naive.py``), with equal numbers.

The one pass is the worker of ``bench score`` on its payloads. ``first system``: nothing is kept yet;
``next system``: features of the truth are found in the store, as for every system after the first.
Both ways have their models loaded, and one thread.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import naive
import numpy as np
from speed_kit import Line, Options, race
from speed_media import FRAMES, Shot, demo_clips, shots, write_clip

from bench.media import decode_audio, decode_video, file_sha256, write_audio, write_video
from bench.protocols import select
from bench.records import Audio, Clip, Failure, Reference, Source
from bench.score_worker import Scored, ScorePayload, ScoreSetup, worker
from bench.store_features import FeatureFolder

TARGET = 3.0
TOLERANCE = 1e-6
PART = "scoring"

Handler = Callable[[Sequence[ScorePayload]], list[Scored]]


def run(options: Options) -> list[Line]:
    """The lines of this part; one line that says why where there are no faces to measure on."""
    demo = demo_clips()
    if not demo:
        return [skipped()]
    n = options.size(6, 3, 1)
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        folder = Path(name)
        truths = [write_clip(folder, f"truth{i}", _cut(shot, options)) for i, shot in enumerate(shots(n, demo))]
        outputs = [_write_output(folder, number, _cut(shot, options)) for number, shot in enumerate(shots(n, demo))]
        lines = _compare(folder, truths, outputs, naive.HEADLINE, "headline protocols", options)
        return lines + _compare(folder, truths, outputs, naive.ALL_FORMS, "all forms", options)


def skipped() -> Line:
    """What stands in place of the figures."""
    return Line(PART, "skipped", 0.0, "", note="no demo corpus in the cache: `bench data make demo --splits test`")


def _cut(shot: Shot, options: Options) -> Shot:
    """Whole shots, but for a tiny run, whose pictures are cut to 10 frames (the sound is needed whole)."""
    return Shot(shot.frames[: options.size(FRAMES, FRAMES, 10)], shot.audio)


def _write_output(folder: Path, number: int, shot: Shot) -> tuple[Path, Path]:
    """What a system might make: the clip a little blurred, moved by a pixel, with noise in the sound."""
    import cv2

    frames = np.stack([np.roll(cv2.GaussianBlur(frame, (0, 0), 1.2), 1, axis=1) for frame in shot.frames])
    noise = np.random.default_rng(number).normal(0, 0.01, len(shot.audio.samples)).astype(np.float32)
    video, audio = folder / f"output{number}.mp4", folder / f"output{number}.wav"
    write_video(video, frames)
    write_audio(audio, Audio(shot.audio.samples + noise, shot.audio.rate))
    return video, audio


def _warm_up(folder: Path, clip: Clip) -> tuple[list[Clip], list[tuple[Path, Path]]]:
    """A clip of five frames under a name of its own, and itself as output."""
    shot = Shot(decode_video(Source(_path(clip.video))).frames[:5], decode_audio(Source(_path(clip.audio))))
    short = write_clip(folder, "warm-up", shot)
    return [short], [(_path(short.video), _path(short.audio))]


def payloads(
    truths: Sequence[Clip], outputs: Sequence[tuple[Path, Path]], protocols: Sequence[str], store: Path
) -> list[ScorePayload]:
    """What the driver of ``bench score`` sends to a worker for these outputs."""
    made = []
    for clip, (video, audio) in zip(truths, outputs, strict=True):
        truth = Reference(clip.id, clip.content_sha256, clip.video, clip.audio, clip.transcript, clip.speaker, "t2av")
        made.append(
            ScorePayload(
                truth=truth,
                video_key=clip.content_sha256,
                audio_key=clip.content_sha256,
                output_sha256=file_sha256(video),
                video=Source(video),
                audio=Source(audio),
                cost={},
                protocols=list(protocols),
                store=str(store),
            )
        )
    return made


def ready_handler(warm_up: Sequence[ScorePayload]) -> Handler:
    """A scoring worker that has its models loaded, by scoring something else, and nothing decoded."""
    score = worker(ScoreSetup(select(",".join(warm_up[0].protocols)).by_metric(), "cpu"))
    score(warm_up)
    return score


def keep_features(scored: Sequence[Scored], store: Path) -> None:
    """What the driver does with new features of the truth."""
    for one in scored:
        for sha, features in one.features.items():
            for key, arrays in features.items():
                FeatureFolder(store).put(sha, key, arrays)


def _compare(
    folder: Path,
    truths: Sequence[Clip],
    outputs: Sequence[tuple[Path, Path]],
    measures: Mapping[str, naive.Measure],
    label: str,
    options: Options,
) -> list[Line]:
    protocols, store, empty = list(measures), folder / "store", folder / "empty"
    naive.load()
    warm_up = payloads(*_warm_up(folder, truths[0]), protocols, empty)
    keep_features(ready_handler(warm_up)(payloads(truths, outputs, protocols, empty)), store)
    found: dict[str, list[dict[str, float]]] = {}
    ready: list[Handler] = []

    def prepare() -> None:
        ready[:] = [ready_handler(warm_up)]

    def one_pass(name: str, kept: Path) -> None:
        found[name] = [_numbers(scored) for scored in ready[0](payloads(truths, outputs, protocols, kept))]

    def naively() -> None:
        found["naive"] = [
            {pid: measure(*output, _path(clip.video), _path(clip.audio)) for pid, measure in measures.items()}
            for clip, output in zip(truths, outputs, strict=True)
        ]

    contenders: dict[str, Callable[[], object]] = {
        "naive": naively,
        "first": lambda: one_pass("first", empty),
        "next": lambda: one_pass("next", store),
    }
    times = race(contenders, options.rounds, before={"first": prepare, "next": prepare})
    for name in ("first", "next"):
        worst = difference(found[name], found["naive"])
        if worst > TOLERANCE:
            raise RuntimeError(f"{label}, {name} system: numbers differ from the naive ones by {worst:.2g}")
    shutil.rmtree(store)
    note = f"{len(truths)} clips, {len(measures)} protocols"
    lines = [Line(PART, f"{label}: naive", 1.0, "x", "", None, times.wall("naive"), times.cpu("naive"), note)]
    for name in ("first", "next"):
        wall, cpu = times.ratio("naive", name, "wall"), times.ratio("naive", name, "cpu")
        told = f"CPU {cpu:.2f} x; numbers differ by at most {difference(found[name], found['naive']):.1g}"
        what = f"{label}: one pass, {name} system"
        met = wall >= TARGET
        lines.append(
            Line(PART, what, wall, "x faster", f">= {TARGET:g} x", met, times.wall(name), times.cpu(name), told)
        )
    return lines


def _path(source: Source | None) -> Path:
    if source is None:
        raise ValueError("a clip of this benchmark has both streams")
    return source.path


def _numbers(scored: Scored) -> dict[str, float]:
    """The first value of each protocol."""
    numbers = {}
    for pid, (result, _, _) in scored.results.items():
        if isinstance(result, Failure):
            raise RuntimeError(f"{pid}: {result.kind}: {result.detail}")
        if result.arrays:  # one value per set: the clip's part of it, as `naive.fd` sums it
            numbers[pid] = float(sum(np.abs(array.astype(np.float64)).sum() for array in result.arrays.values()))
        else:
            numbers[pid] = result.values[pid.split("/", 1)[0]]
    return numbers


def difference(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> float:
    """The greatest difference, relative to numbers beyond 1."""
    return max(
        abs(one[pid] - other[pid]) / max(1.0, abs(other[pid]))
        for one, other in zip(ours, theirs, strict=True)
        for pid in other
    )
