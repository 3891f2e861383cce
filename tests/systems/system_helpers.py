"""Tiny clips and requests for the systems' tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import media
from bench.api import Audio, Clip, Reference, Request, Source

RATE = 16_000


@dataclass(frozen=True)
class Made:
    """A clip on disk with what was written."""

    clip: Clip
    frames: np.ndarray
    samples: np.ndarray

    @property
    def truth(self) -> Reference:
        return reference(self.clip)


def reference(clip: Clip, audio: Source | None = None) -> Reference:
    return Reference(
        clip_id=clip.id,
        sha256=clip.content_sha256,
        video=clip.video,
        audio=audio or clip.audio,
        transcript=clip.transcript,
        speaker=clip.identity,
    )


def make_clip(
    folder: Path, clip_id: str, *, frames: int = 10, size: tuple[int, int] = (48, 64), speaker: str | None = None
) -> Made:
    """A moving gradient whose hue, and a tone whose pitch, depend on the id."""
    rng = np.random.default_rng(list(clip_id.encode()))
    height, width = size
    base = rng.integers(40, 200, 3)
    ramp = np.linspace(0, 50, width)[None, None, :, None] + 3 * np.arange(frames)[:, None, None, None]
    pictures = np.broadcast_to(base + ramp, (frames, height, width, 3)).clip(0, 255).astype(np.uint8)
    times = np.arange(frames * RATE // 25) / RATE
    samples = (0.3 * np.sin(2 * np.pi * rng.uniform(150, 400) * times)).astype(np.float32)
    stem = folder / clip_id.replace("/", "-")
    media.write_video(stem.with_suffix(".mp4"), pictures)
    media.write_audio(stem.with_suffix(".wav"), Audio(samples, RATE))
    clip = Clip(
        id=clip_id,
        dataset="toy",
        split="test",
        video=Source(stem.with_suffix(".mp4")),
        audio=Source(stem.with_suffix(".wav")),
        transcript="place red at b nine again",
        content_sha256=media.file_sha256(stem.with_suffix(".mp4")),
        n_frames=frames,
        speaker=speaker,
        width=width,
        height=height,
    )
    return Made(clip, pictures, samples)


def a2v(made: Made, workdir: Path | None = None, **changes: object) -> Request:
    """A dubbing request: the clip's video and audio, staged."""
    fields: dict[str, object] = {
        "key": f"k{made.clip.id.encode().hex()}",
        "task": "a2v",
        "seed": 7,
        "audio": made.clip.audio.path if made.clip.audio else None,
        "identity": made.clip.video.path if made.clip.video else None,
        "n_frames": made.clip.n_frames,
        "workdir": workdir,
    }
    if workdir is not None:
        workdir.mkdir(parents=True, exist_ok=True)
    return Request(**(fields | changes))  # type: ignore[arg-type]


def vts(made: Made) -> Request:
    """A silent-video request."""
    return Request(key="v", task="vts", seed=7, video=made.clip.video.path if made.clip.video else None)
