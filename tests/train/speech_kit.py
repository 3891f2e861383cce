"""Spoken clips as the demo corpus has them, without pictures: sound, words and the times of phonemes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from bench.datasets.demo.clip import place_speech
from bench.datasets.demo.sentences import ClipPlan
from bench.datasets.demo.speakers import SPEAKERS
from bench.media import write_audio
from bench.progress import Progress
from bench.records import Audio, Clip, Source
from bench.train_request import TrainRequest

SENTENCES = (
    ("bin", "blue", "at", "f", "two", "now"),
    ("lay", "red", "in", "v", "six", "soon"),
    ("place", "green", "by", "k", "nine", "please"),
    ("set", "white", "with", "o", "four", "again"),
)
VIDEO_FRAMES = 75


def spoken_clip(root: Path, number: int, speaker: str = "s1", frames: int = VIDEO_FRAMES) -> Clip:
    """``SENTENCES[number]`` by a demo speaker, with its files in ``root``."""
    plan = ClipPlan(f"{speaker}-{number}", "train", speaker, (SENTENCES[number],), frames, number)
    track = place_speech(plan, SPEAKERS[speaker], 0.25 * number)
    times = np.array([(phoneme.start, phoneme.end) for phoneme in track.phonemes])
    np.savez(root / f"{plan.id}.npz", phonemes=[phoneme.name for phoneme in track.phonemes], phoneme_times=times)
    return sound_clip(root, plan.id, track.samples, speaker, plan.transcript)


def sound_clip(root: Path, name: str, samples: np.ndarray, speaker: str | None, transcript: str | None) -> Clip:
    """A clip of any sound at 16 kHz."""
    path = root / f"{name}.wav"
    write_audio(path, Audio(np.asarray(samples, np.float32), 16_000))
    digest = hashlib.sha256(path.read_bytes() + (transcript or "").encode()).hexdigest()
    source = Source(root / f"{name}.mp4")  # no test of speech opens it
    return Clip(name, "demo", "train", source, Source(path), transcript, digest, len(samples) // 640, speaker)


def request(folder: Path, clips: list[Clip], config: str = "tiny", **given: object) -> TrainRequest:
    """A request for a training on ``clips``."""
    quiet = Progress(quiet=True)
    return TrainRequest(config, clips, folder / "cache" / "hierspeech", "test", progress=quiet, **given)  # type: ignore[arg-type]
