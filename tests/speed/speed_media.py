"""Media to measure with: clips of the demo corpus where it has been made, else invented ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.media import decode_audio, decode_video, write_audio, write_video
from bench.records import Audio, Clip, Source

RATE = 16_000
FRAMES = 75
SIDE = 224


@dataclass(frozen=True)
class Shot:
    """75 frames (T, 224, 224, 3) uint8 and three seconds of sound at 16 kHz."""

    frames: NDArray[np.uint8]
    audio: Audio


def demo_clips() -> list[Clip]:
    """The test split of the demo corpus in the cache; empty where it has not been made."""
    from bench.planning import open_dataset

    try:
        return open_dataset("demo", None).clips("test")
    except BenchError:
        return []


def shots(n: int, demo: Sequence[Clip]) -> list[Shot]:
    """``n`` clips of :data:`FRAMES` frames, of the demo corpus if it has enough of them."""
    chosen = [clip for clip in demo if clip.n_frames >= FRAMES and clip.video and clip.audio][:n]
    if len(chosen) == n:
        return [_of_clip(clip) for clip in chosen]
    return [_invented(number) for number in range(n)]


def _of_clip(clip: Clip) -> Shot:
    from bench.media import resample

    assert clip.video is not None and clip.audio is not None
    sound = decode_audio(clip.audio)
    samples = resample(sound.samples, sound.rate, RATE)[: FRAMES * RATE // 25]
    samples = np.pad(samples, (0, FRAMES * RATE // 25 - len(samples)))
    return Shot(decode_video(clip.video).frames[:FRAMES].copy(), Audio(samples, RATE))


def _invented(number: int) -> Shot:
    """A soft pattern that drifts, with a little grain, and a tone."""
    generator = np.random.default_rng(number)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    frames = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
    for index in range(FRAMES):
        for channel in range(3):
            wave = np.sin(6 * x + 4 * y * (channel + 1) + 0.1 * index + number)
            grain = generator.normal(0, 2, (SIDE, SIDE))
            frames[index, ..., channel] = np.clip(128 + 90 * wave + grain, 0, 255)
    time = np.arange(FRAMES * RATE // 25) / RATE
    return Shot(frames, Audio((0.3 * np.sin(2 * np.pi * (150 + 20 * number) * time)).astype(np.float32), RATE))


def write_clip(folder: Path, name: str, shot: Shot) -> Clip:
    """``shot`` as a clip of a data set: a silent mp4 and a WAV beside it."""
    video, audio = folder / f"{name}.mp4", folder / f"{name}.wav"
    write_video(video, shot.frames)
    write_audio(audio, shot.audio)
    return Clip(
        id=name,
        dataset="speed",
        split="test",
        video=Source(video),
        audio=Source(audio),
        transcript="a text to speak",
        content_sha256=name.encode().hex().ljust(64, "0"),
        n_frames=len(shot.frames),
        speaker=name,
    )
