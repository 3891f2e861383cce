"""Text to speech and redrawn faces against a plain loop as in the official scripts (``reference_way/``), equal outputs.

The texts, voices and videos of demo clips; loading is not timed. The plain loop does everything for every clip and run;
ours keeps voices, faces and identities, asks espeak once per batch, speaks its texts together, and has folded networks.
Two kinds of rows:

- ``CPU, one thread``: processor time, each way in a process of one thread; the row for a machine that others use too.
- ``wall``: what a user waits. The plain loop as the scripts are started: one process with torch's default number of
  threads, or with one where that is faster. Ours as ``bench run`` works: a worker of one thread per core, which share
  the clips.

``first run``: no face is known yet. ``next run``: the same clips once more in new networks, as the conditions
and systems of the paper's tables need them; faces are found on disk then, by whichever worker searched them. The plain
loop keeps nothing and is run once for both.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from speed_kit import Line, Options, fresh, one_thread, own_threads, side_by_side
from speed_media import demo_clips

from bench.media import decode_audio, write_audio
from bench.pairs import other_references
from bench.records import Audio

PART = "hierspeech"
TARGET = 3.0
FPS, RATE = 25, 16_000


@dataclass(frozen=True)
class Case:
    """What is measured; ``tolerance``: steps of 16 bits, or levels of 8, by which outputs may differ by rounding.

    ``clips``: how many by default, quick and tiny; ``alone``: at most so many for processor time. ``seconds``: so much
    of a clip is shown; None: all of it.
    """

    name: str
    subject: str
    tier: str
    clips: tuple[int, int, int]
    tolerance: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[str, ...] = ("",)
    wall: bool = False
    alone: int = 16
    seconds: float | None = None


_TWICE = (", first run", ", next run")
#: The golden of the whole cascade allows 2 and 8 steps too (SpeechSR amplifies rounding).
CASES = (
    Case("TTS, shipped networks", "tts", "embedded", (16, 8, 2), 2, wall=True),
    Case("talking face, shipped networks", "face", "embedded", (16, 4, 2), 1, runs=_TWICE, wall=True, alone=4),
    Case("Wav2Lip, shipped networks", "wav2lip", "embedded", (16, 4, 2), 1, runs=_TWICE, wall=True, alone=4),
    Case("TTS, published sizes", "tts", "canonical", (2, 1, 0), 2),
    Case("TTS, published sizes, 48 kHz", "tts", "canonical", (1, 1, 0), 8, {"output_rate": 48000}),
    Case(
        "TTS, published sizes, 48 kHz, denoised (the script's defaults)",
        "tts",
        "canonical",
        (1, 0, 0),
        8,
        {"output_rate": 48000, "denoise_ratio": 0.8},
    ),
    Case("talking face, published sizes", "face", "canonical", (1, 0, 0), 1, runs=_TWICE, seconds=1.0),
    Case("Wav2Lip, published sizes", "wav2lip", "canonical", (1, 0, 0), 1, runs=_TWICE, seconds=1.0),
)
WAYS = ("plain", "ours")


def run(options: Options) -> list[Line]:
    """The lines of this part; one line that says why where there are no clips to measure on."""
    demo = demo_clips()
    if len(demo) < 3:
        return [Line(PART, "skipped", 0.0, "", note="no demo corpus in the cache: `bench data make demo`")]
    lines = []
    for case in CASES:
        count = options.size(*case.clips)
        if count:
            lines += _measured(case, demo, count)
    return lines if options.tiny else [*lines, *_networks()]


def _measured(case: Case, demo: Any, count: int) -> list[Line]:
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        clips = _clips(demo, count, case, Path(name))
        job = {"subject": case.subject, "tier": case.tier, "settings": dict(case.settings), "clips": clips}
        runs = {"plain": 1, "ours": len(case.runs)}  # the plain loop keeps nothing: its next run is its first
        fewer = clips[: case.alone]
        found = {way: _alone({**job, "clips": fewer, "way": way, "runs": runs[way]}, Path(name)) for way in WAYS}
        apart = difference(case, *(found[way]["made"] for way in WAYS))
        lines = [_line(case, f"{case.name}{label}", found, turn, apart) for turn, label in enumerate(case.runs)]
        if case.wall:
            workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, count)
            walls = {
                "plain": _together({**job, "way": "plain", "runs": 1}, Path(name), 1, 0),
                "ours": _together({**job, "way": "ours", "runs": runs["ours"]}, Path(name), workers, 1),
            }
            apart = difference(case, *(walls[way]["made"] for way in WAYS))
            if len(fewer) == count:
                walls["plain"]["alone"] = found["plain"]["runs"][0][0]
            lines += [_wall_line(case, f"{case.name}{label}", walls, i, apart) for i, label in enumerate(case.runs)]
    print(f"  {case.name}: measured", file=sys.stderr, flush=True)
    return lines


def _written(job: Mapping[str, Any], folder: Path, kind: str, part: tuple[int, int], threads: int) -> tuple[Path, Path]:
    """The file of a job, and that of its outputs. What is kept is for one way, of all its processes."""
    name = f"{kind}-{job['way']}"
    outputs, file = folder / f"{name}-{part[0]}.npz", folder / f"{name}-{part[0]}.json"
    told = {"part": part, "threads": threads, "outputs": str(outputs), "cache": str(folder / f"{name}.cache")}
    file.write_text(json.dumps({**job, **told}))
    return file, outputs


def _alone(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One process with one thread."""
    file, outputs = _written(job, folder, "alone", (0, 1), 1)
    return {**fresh("hier_way.py", file), "made": dict(np.load(outputs))}


def _together(job: Mapping[str, Any], folder: Path, parts: int, threads: int) -> dict[str, Any]:
    """``parts`` processes that share the clips; ``threads`` each, or 0: as many as torch takes."""
    jobs = [_written(job, folder, "wall", (part, parts), threads) for part in range(parts)]
    environment = one_thread() if threads else own_threads()
    seconds, answers = side_by_side("hier_way.py", [file for file, _ in jobs], job["runs"], environment)
    made = {key: one for _, outputs in jobs for key, one in np.load(outputs).items()}
    peak = sum(answer["peak_mb"] for answer in answers)
    return {**answers[0], "seconds": seconds, "made": made, "peak_mb": peak, "workers": parts}


def _seconds_made(case: Case, made: Mapping[str, Any]) -> float:
    rate = FPS if case.subject != "tts" else int(case.settings.get("output_rate", RATE))
    return sum(len(one) for one in made.values()) / rate


def _peaks(found: Mapping[str, Any]) -> str:
    return " against ".join(f"{found[way]['peak_mb']:,.0f}" for way in WAYS)


def _line(case: Case, what: str, found: Mapping[str, Any], turn: int, apart: str) -> Line:
    (_, plain), (wall, cpu) = found["plain"]["runs"][0], found["ours"]["runs"][turn]
    made = found["ours"]["made"]
    note = (
        f"{len(made)} clips, {plain:.2f} s against {cpu:.2f} s of CPU; {cpu / _seconds_made(case, made):.3f} s CPU "
        f"per second made; peak {_peaks(found)} MB; {apart}; {found['ours']['weights']}"
    )
    ratio = plain / cpu
    return Line(
        PART, f"{what} (CPU, one thread)", ratio, "x less CPU", f">= {TARGET:g} x", ratio >= TARGET, wall, cpu, note
    )


def _wall_line(case: Case, what: str, found: Mapping[str, Any], turn: int, apart: str) -> Line:
    plain, ours = found["plain"]["seconds"][0], found["ours"]["seconds"][turn]
    made, alone = found["ours"]["made"], found["plain"].get("alone", math.inf)
    other = f" ({alone:.2f} s with one)" if alone < math.inf else ""
    note = (
        f"{len(made)} clips, {plain:.2f} s in one process of {found['plain']['threads']} threads{other} "
        f"against {ours:.2f} s in {found['ours']['workers']} workers of one thread; "
        f"real-time factor {ours / _seconds_made(case, made):.3f}; peak {_peaks(found)} MB "
        f"in all; {apart}; {found['ours']['weights']}"
    )
    ratio = min(plain, alone) / ours
    return Line(PART, f"{what} (wall)", ratio, "x faster", f">= {TARGET:g} x", ratio >= TARGET, ours, None, note)


def _clips(demo: Any, count: int, case: Case, folder: Path) -> list[dict[str, Any]]:
    """Texts and files of ``count`` clips, every speaker as often; of published sizes, those of the shortest texts.

    The first one names a further clip to get warm with, which says one word.
    """
    voices = other_references(demo)
    by_speaker: dict[Any, list[Any]] = {}
    for clip in demo:
        if voices[clip.id] is not None:
            by_speaker.setdefault(clip.identity, []).append(clip)
    turns = [clip for turn in zip(*by_speaker.values(), strict=False) for clip in turn]
    spare = turns.pop()
    if case.tier == "canonical":
        turns.sort(key=lambda clip: len(clip.transcript or ""))
    chosen = [_told(clip, voices[clip.id], number, case, folder) for number, clip in enumerate(turns[:count])]
    warm = _told(spare, voices[spare.id], count, Case("", "", "", (0, 0, 0), 0, seconds=0.4), folder)
    return [{**chosen[0], "warm": {**warm, "text": "One.", "voice": str(spare.audio.path)}}, *chosen[1:]]


def _told(clip: Any, voice: Any, seed: int, case: Case, folder: Path) -> dict[str, Any]:
    audio, frames = clip.audio.path, clip.n_frames
    if case.seconds is not None:
        sound, audio = decode_audio(clip.audio), folder / f"{clip.id.replace('/', '-')}.wav"
        write_audio(audio, Audio(sound.samples[: round(case.seconds * sound.rate)], sound.rate))
        frames = min(frames, round(case.seconds * FPS))
    told = {"key": clip.id, "seed": seed, "text": clip.transcript, "n": frames}
    return {**told, "voice": str(voice.audio.path), "video": str(clip.video.path), "audio": str(audio)}


def difference(case: Case, plain: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """How far outputs are apart. Raises ``RuntimeError`` beyond the tolerance."""
    if sorted(plain) != sorted(ours) or any(plain[key].shape != ours[key].shape for key in plain):
        shapes = {
            way: {key: one.shape for key, one in made.items()} for way, made in (("plain", plain), ("ours", ours))
        }
        raise RuntimeError(f"{case.name}: {shapes}")
    if not plain:
        raise RuntimeError(f"{case.name}: nothing was made")
    worst = max(int(np.abs(plain[key].astype(int) - ours[key]).max()) for key in plain)
    share = float(np.mean([np.mean(plain[key] != ours[key]) for key in plain]))
    if worst > case.tolerance:
        raise RuntimeError(f"{case.name}: outputs differ by {worst}, {case.tolerance} are allowed")
    return f"differ by at most {worst} of {case.tolerance} steps, in {share:.1%} of values"


def _networks() -> list[Line]:
    """Forward time and peak memory of the published sizes for a clip of 3 s, each in a process of its own."""
    from hier_networks import NETWORKS, devices

    lines = []
    for name in NETWORKS:
        for device, dtype in devices():
            found = fresh("hier_networks.py", name, device, dtype)
            where = f"{device} {dtype}, 1 thread" if device == "cpu" else f"{found['device']} {dtype}"
            told = f"{where}; {found['parameters'] / 1e6:.1f} M parameters; {found['note']}"
            note = f"{told}; peak {found['peak_mb']:,.0f} MB, {found['loaded_mb']:,.0f} MB of it after loading"
            lines.append(Line(PART, f"{name}, 3 s", found["seconds"], "s", cpu=found["cpu"], note=note))
    return lines
