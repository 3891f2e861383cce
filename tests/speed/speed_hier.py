"""Text to speech and redrawn faces against a plain loop as in the official scripts (``reference_way/``), equal outputs.

The texts, voices and videos of demo clips. Each way is a process of its own with one thread; loading is not timed. The
plain loop does everything for every clip and run; ours keeps voices, faces and identities, asks espeak
once per batch, and has folded networks. ``next run``: the same videos and voices once more, as the four
conditions of the paper's tables need them. Targets are about processor time, for a machine that others use too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from speed_kit import Line, Options, fresh
from speed_media import demo_clips

from bench.pairs import other_references

PART = "hierspeech"
TARGET = 3.0
FPS, RATE = 25, 16_000


@dataclass(frozen=True)
class Case:
    """What is measured; ``tolerance``: steps of 16 bits, or levels of 8, by which outputs may differ by rounding."""

    name: str
    subject: str
    tier: str
    clips: tuple[int, int, int]
    tolerance: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    runs: int = 1


#: The golden of the whole cascade allows 2 and 8 steps too (SpeechSR amplifies rounding).
CASES = (
    Case("TTS, small networks", "tts", "embedded", (16, 16, 2), 2),
    Case("TTS, published sizes", "tts", "canonical", (16, 8, 0), 2),
    Case("TTS, published sizes, 48 kHz", "tts", "canonical", (16, 2, 0), 8, {"output_rate": 48000}),
    Case(
        "TTS, published sizes, 48 kHz, denoised (the script's defaults)",
        "tts",
        "canonical",
        (16, 4, 0),
        8,
        {"output_rate": 48000, "denoise_ratio": 0.8},
    ),
    Case("talking face, small networks", "face", "embedded", (16, 16, 1), 1, runs=2),
    Case("Wav2Lip, small networks", "wav2lip", "embedded", (16, 16, 1), 1, runs=2),
    Case("talking face, published sizes", "face", "canonical", (4, 1, 0), 1, runs=2),
    Case("Wav2Lip, published sizes", "wav2lip", "canonical", (4, 1, 0), 1, runs=2),
)


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
    return lines if options.tiny else [*lines, *_networks(options)]


def _measured(case: Case, demo: Any, count: int) -> list[Line]:
    clips = _clips(demo, count)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        for way in ("plain", "ours"):
            outputs, job = Path(name) / f"{way}.npz", Path(name) / "job.json"
            told = {"subject": case.subject, "tier": case.tier, "settings": dict(case.settings), "runs": case.runs}
            job.write_text(json.dumps({**told, "way": way, "clips": clips, "outputs": str(outputs)}))
            found[way] = {**fresh("hier_way.py", job), "made": dict(np.load(outputs))}
            print(f"  {case.name}, {way}: {found[way]['runs']} s wall, CPU", file=sys.stderr, flush=True)
    apart = difference(case, found["plain"]["made"], found["ours"]["made"])
    labels = ["", ", next run"][: case.runs]
    return [_line(case, f"{case.name}{label}", found, turn, apart) for turn, label in enumerate(labels)]


def _line(case: Case, what: str, found: Mapping[str, Any], turn: int, apart: str) -> Line:
    (plain_wall, plain_cpu), (wall, cpu) = (found[way]["runs"][turn] for way in ("plain", "ours"))
    made = found["ours"]["made"]
    rate = FPS if case.subject != "tts" else int(case.settings.get("output_rate", RATE))
    seconds = sum(len(one) for one in made.values()) / rate
    peaks = " and ".join(f"{found[way]['peak_mb']:,.0f}" for way in ("plain", "ours"))
    note = (
        f"{len(made)} clips, {plain_cpu:.1f} s CPU against {cpu:.1f} s; wall {plain_wall / wall:.1f} x; "
        f"{cpu / seconds:.3f} s CPU per second made; peak {peaks} MB; {apart}; {found['ours']['weights']}"
    )
    ratio = plain_cpu / cpu
    return Line(PART, what, ratio, "x less CPU", f">= {TARGET:g} x", ratio >= TARGET, wall, cpu, note)


def _clips(demo: Any, count: int) -> list[dict[str, Any]]:
    """Texts and files of ``count`` clips, every speaker as often; a further clip is there to get warm with."""
    voices = other_references(demo)
    by_speaker: dict[Any, list[Any]] = {}
    for clip in demo:
        if voices[clip.id] is not None:
            by_speaker.setdefault(clip.identity, []).append(clip)
    turns = [clip for turn in zip(*by_speaker.values(), strict=False) for clip in turn]
    chosen, spare = turns[:count], turns[-1]
    return [
        {
            "key": clip.id,
            "seed": number,
            "text": clip.transcript,
            "voice": str(voices[clip.id].audio.path),
            "video": str(clip.video.path),
            "audio": str(clip.audio.path),
            "n": clip.n_frames,
            "warm": str(spare.video.path),
            "warm_voice": str(spare.audio.path),
        }
        for number, clip in enumerate(chosen)
    ]


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


def _networks(options: Options) -> list[Line]:
    """Forward time and peak memory of the published sizes for a clip of 3 s, each in a process of its own."""
    from hier_networks import NETWORKS, devices

    lines = []
    for name in NETWORKS:
        for device, dtype in devices():
            found = fresh("hier_networks.py", name, device, dtype, 1 if options.quick else 3)
            where = f"{device} {dtype}, 1 thread" if device == "cpu" else f"{found['device']} {dtype}"
            told = f"{where}; {found['parameters'] / 1e6:.1f} M parameters; {found['note']}"
            note = f"{told}; peak {found['peak_mb']:,.0f} MB, {found['loaded_mb']:,.0f} MB of it after loading"
            lines.append(Line(PART, f"{name}, 3 s", found["seconds"], "s", cpu=found["cpu"], note=note))
    return lines
