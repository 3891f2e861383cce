"""Talker-T2AV against a plain loop as in the official script (``reference_way``), equal results; its parts, its growth.

Small networks on demo clips; loading is not timed. Without the shipped checkpoint of backbone and heads they have
weights by rule, and every clip gets as many patches. ``CPU, one thread``: processor time, each way in a process of
one thread. ``wall``: what a user waits: the plain loop as a script is started, in one process with torch's default
number of threads, ours as ``bench run`` works, in a worker of one thread per core.

The published sizes are measured network by network (:mod:`talker_networks`), on CUDA as a whole too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from speed_kit import Line, Options, fresh, one_thread, own_threads, side_by_side
from speed_media import demo_clips

from bench.media import count_frames
from bench.pairs import other_references

PART = "talker"
TARGET = 3.0
FPS = 25
WAYS = ("plain", "ours")
#: By which pictures (levels of 8 bits) and latents may differ. The sound is told, but not held: both ways make it of
#: their latents by the same lines, and Griffin-Lim's 48 rounds enlarge what rounding leaves in them.
LEVELS, LATENTS = 1, 1e-3
#: Without a trained stop predictor: 15 patches for each clip.
_FIXED = {"stop_threshold": 0.999999, "max_seconds": 2.4}


@dataclass(frozen=True)
class Case:
    """``clips``: how many by default, quick and tiny; ``passes``: in which the plain way computes guidance."""

    name: str
    task: str
    clips: tuple[int, int, int]
    settings: Mapping[str, Any] = field(default_factory=dict)
    passes: int = 1
    wall: bool = False
    shares: bool = False


CASES = (
    Case("text to speech and face", "t2av", (16, 4, 2), wall=True, shares=True),
    Case("text to speech and face, guidance 2", "t2av", (8, 2, 0), {"cfg": 2}),
    Case("text to speech and face, guidance 2 in two calls", "t2av", (8, 2, 0), {"cfg": 2}, passes=2),
    Case("audio to face", "a2v", (16, 4, 1), wall=True, shares=True),
)


def run(options: Options) -> list[Line]:
    """The lines of this part; one line that says why where there are no clips to measure on."""
    demo = demo_clips()
    if len(demo) < 3:
        return [Line(PART, "skipped", 0.0, "", note="no demo corpus in the cache: `bench data make demo`")]
    lines = []
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        settings, told = _weights(Path(name))
        for case in CASES:
            count = options.size(*case.clips)
            if count:
                lines += _measured(case, _clips(demo, count), settings, told, Path(name))
    lines += _lengths(options)
    return lines if options.tiny else [*lines, *_networks()]


def _weights(folder: Path) -> tuple[dict[str, Any], str]:
    """Settings for the shipped checkpoint where it is, else for one by rule; and which of the two."""
    from bench.systems.talker.weight_files import TINY_LLM
    from bench.weights import locate

    if locate(TINY_LLM) is not None:
        return {}, "shipped weights"
    from safetensors.torch import save_file

    from bench.detfill import fill_module
    from bench.systems.talker import tiny
    from bench.systems.talker.speech_llm import SpeechLLM

    model = fill_module(SpeechLLM(tiny.LLM), 1.0)
    file = folder / "joint.safetensors"
    save_file({f"joint.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    return {**_FIXED, "joint": str(file)}, "backbone and heads by rule, 15 patches a clip"


def _measured(case: Case, clips: list[dict[str, Any]], own: Mapping[str, Any], told: str, folder: Path) -> list[Line]:
    *clips, warm = clips
    job = {"task": case.task, "passes": case.passes, "settings": {**own, **case.settings}, "clips": clips, "warm": warm}
    found = {way: _alone({**job, "way": way, "shares": False}, folder) for way in WAYS}
    note = f"{told}; {difference(case.name, *(found[way]['made'] for way in WAYS))}"
    lines = [_line(case, found, len(clips), note)]
    if case.shares:
        lines.append(_shared(case, _alone({**job, "way": "ours", "shares": True}, folder)))
    if case.wall:
        workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, len(clips))
        walls = {
            "plain": _together({**job, "way": "plain"}, folder, 1, 0),
            "ours": _together({**job, "way": "ours"}, folder, workers, 1),
        }
        apart = difference(case.name, *(walls[way]["made"] for way in WAYS))
        lines.append(_wall_line(case, walls, found["plain"]["wall"], len(clips), f"{told}; {apart}"))
    print(f"  {case.name}: measured", file=sys.stderr, flush=True)
    return lines


def _written(job: Mapping[str, Any], folder: Path, part: tuple[int, int], threads: int) -> tuple[Path, Path]:
    outputs, file = folder / f"{job['way']}-{part[0]}.npz", folder / f"{job['way']}-{part[0]}.json"
    file.write_text(json.dumps({**job, "part": part, "threads": threads, "outputs": str(outputs)}))
    return file, outputs


def _alone(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    file, outputs = _written(job, folder, (0, 1), 1)
    return {**fresh("talker_way.py", file), "made": dict(np.load(outputs))}


def _together(job: Mapping[str, Any], folder: Path, parts: int, threads: int) -> dict[str, Any]:
    """``parts`` processes that share the clips; ``threads`` each, or 0: as many as torch takes."""
    jobs = [_written({**job, "shares": False, "gated": True}, folder, (part, parts), threads) for part in range(parts)]
    environment = one_thread() if threads else own_threads()
    (seconds,), answers = side_by_side("talker_way.py", [file for file, _ in jobs], 1, environment)
    made = {key: one for _, outputs in jobs for key, one in np.load(outputs).items()}
    peak = sum(answer["peak_mb"] for answer in answers)
    return {**answers[0], "seconds": seconds, "made": made, "peak_mb": peak, "workers": parts}


def _seconds_made(made: Mapping[str, Any]) -> float:
    return sum(len(one) for key, one in made.items() if key.endswith(" frames")) / FPS


def _line(case: Case, found: Mapping[str, Any], count: int, note: str) -> Line:
    plain, cpu = (found[way]["cpu"] for way in WAYS)
    made = _seconds_made(found["ours"]["made"])
    told = (
        f"{count} clips, {count / plain:.3f} against {count / cpu:.3f} clips per second of CPU ({plain:.1f} s, "
        f"{cpu:.1f} s); {cpu / made:.3f} s CPU per second made; peak {found['plain']['peak_mb']:,.0f} against "
        f"{found['ours']['peak_mb']:,.0f} MB; {note}"
    )
    what, target = f"{case.name} (CPU, one thread)", f">= {TARGET:g} x"
    return Line(PART, what, plain / cpu, "x less CPU", target, plain / cpu >= TARGET, found["ours"]["wall"], cpu, told)


def _wall_line(case: Case, walls: Mapping[str, Any], alone: float, count: int, note: str) -> Line:
    """The plain loop has the better of its two ways: torch's own number of threads, or one."""
    plain, ours = walls["plain"]["seconds"], walls["ours"]["seconds"]
    ratio = min(plain, alone) / ours
    told = (
        f"{count} clips, {plain:.1f} s in one process of {walls['plain']['threads']} threads ({alone:.1f} s with one) "
        f"against {ours:.1f} s in {walls['ours']['workers']} workers of one thread; real-time factor "
        f"{ours / _seconds_made(walls['ours']['made']):.3f}; {note}"
    )
    return Line(PART, f"{case.name} (wall)", ratio, "x faster", f">= {TARGET:g} x", ratio >= TARGET, ours, None, told)


def _shared(case: Case, found: Mapping[str, Any]) -> Line:
    shares, whole = found["shares"], sum(found["shares"].values())
    told = ", ".join(f"{part} {shares[part] / whole:.1%}" for part in sorted(shares, key=lambda p: -shares[p]))
    largest = max(shares, key=lambda part: shares[part])
    return Line(PART, f"{case.name}: share of {largest}", shares[largest] / whole, "of CPU", cpu=whole, note=told)


def _clips(demo: Sequence[Any], count: int) -> list[dict[str, Any]]:
    """``count`` clips, every speaker as often, and a further one to get warm with."""
    voices = other_references(demo)
    by_speaker: dict[Any, list[Any]] = {}
    for clip in demo:
        if voices[clip.id] is not None:
            by_speaker.setdefault(clip.identity, []).append(clip)
    turns = [clip for turn in zip(*by_speaker.values(), strict=False) for clip in turn]
    return [_told(clip, voices[clip.id], seed) for seed, clip in enumerate([*turns[:count], turns[-1]])]


def _told(clip: Any, voice: Any, seed: int) -> dict[str, Any]:
    """The motion file of a reference has as many rows as its video frames: the script is given such files."""
    told = {"key": clip.id, "seed": seed, "text": clip.transcript, "n": clip.n_frames}
    paths = {"voice": str(voice.audio.path), "video": str(clip.video.path), "audio": str(clip.audio.path)}
    return {**told, **paths, "reference": count_frames(clip.video)}


def difference(name: str, plain: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """How far results are apart. Raises ``RuntimeError`` beyond the tolerance."""
    if sorted(plain) != sorted(ours) or any(plain[key].shape != ours[key].shape for key in plain):
        shapes = [{key: one.shape for key, one in made.items()} for made in (plain, ours)]
        raise RuntimeError(f"{name}: {shapes}")
    told = []
    for kind, most, unit in (
        ("frames", LEVELS, "levels"),
        ("latents", LATENTS, ""),
        ("wave", None, "steps of 16 bits"),
    ):
        pairs = [(plain[key], ours[key].astype(np.float64)) for key in plain if key.endswith(f" {kind}")]
        if pairs:
            worst = max(float(np.abs(one - other).max()) for one, other in pairs)
            if most is not None and worst > most:
                raise RuntimeError(f"{name}: {kind} differ by {worst:g} {unit}, {most:g} are allowed")
            told.append(f"{kind} differ by at most {worst:.2g} {unit}" + (f" ({most:g} allowed)" if most else ""))
    if not told:
        raise RuntimeError(f"{name}: nothing was made")
    return "; ".join(told)


def _lengths(options: Options) -> list[Line]:
    """What a second costs in clips of 2 to 32 s: backbone and heads, and the sound."""
    longest = options.size(32, 16, 4)
    found = fresh("talker_networks.py", "lengths", longest)["lengths"]
    base = found[0]
    lines = []
    for one in found:
        note = f"{one['patches']} patches; {one['cpu'] / base['cpu']:.2f} times the CPU of {base['seconds']:g} s"
        lines.append(
            Line(PART, f"backbone and heads, a clip of {one['seconds']:g} s", one["cpu"] / one["seconds"],
                 "s CPU per s made", cpu=one["cpu"], note=f"small networks, guidance 2; {note}")
        )  # fmt: skip
    return lines


def _networks() -> list[Line]:
    """Published sizes, each network in a process of its own."""
    from talker_networks import NETWORKS, cuda_jobs

    lines = []
    for name in NETWORKS:
        found = fresh("talker_networks.py", name, "cpu")
        lines.append(_network(f"{name}, published size", found, "CPU float32, 1 thread"))
    jobs = cuda_jobs()
    if not jobs:
        lines.append(Line(PART, "CUDA: not measured here", 0.0, "", note="torch finds no CUDA device"))
    for job in jobs:
        found = fresh("talker_networks.py", *job)
        lines.append(_network(f"{' '.join(map(str, job))}, published size", found, found["device"]))
    return lines


def _network(what: str, found: Mapping[str, Any], where: str) -> Line:
    note = f"{where}; {found['parameters'] / 1e6:.1f} M parameters; {found['note']}"
    peaks = f"peak {found['peak_mb']:,.0f} MB, {found['loaded_mb']:,.0f} MB of it after loading"
    return Line(PART, what, found["seconds"], "s per s made", cpu=found["cpu"], note=f"{note}; {peaks}")
