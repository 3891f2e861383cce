"""Staging: from what the harness knows of a clip to the files that a system may see.

A request's media are written to a private folder under plain names (``video.mp4``, ``audio.wav``,
``voice.wav``, ``identity.mp4`` or ``identity.png``), so that neither a name, nor a stream, nor
metadata tells what the task hides. This runs in the worker, just before the system does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from bench.records import FPS, Audio, Request, Source, Task

SYSTEM_RATE = 16_000  # Hz of the audio that systems are given (datasets.md 2.5)
SAMPLES_PER_FRAME = SYSTEM_RATE // FPS


@dataclass(frozen=True, slots=True)
class Staging:
    """What to stage for one request; picklable. Audio is cut or padded to ``n_frames`` where it is set."""

    key: str
    task: Task
    seed: int
    video: Source | None = None
    audio: Source | None = None
    text: str | None = None
    voice: Source | None = None
    voice_key: str | None = None
    identity: Source | None = None
    identity_key: str | None = None
    portrait: bool = False
    n_frames: int | None = None


def stage(staging: Staging, folder: Path) -> Request:
    """Write the media of one request into ``folder`` (made here) and return the request.

    Raises:
        Unscorable: a source cannot be decoded (kinds of ``bench.media``).
    """
    folder.mkdir(parents=True)
    return Request(
        key=staging.key,
        task=staging.task,
        seed=staging.seed,
        video=_silent_video(staging.video, folder / "video.mp4"),
        audio=_driving_audio(staging.audio, folder / "audio.wav", staging.n_frames),
        text=staging.text,
        voice=_driving_audio(staging.voice, folder / "voice.wav", None),
        voice_key=staging.voice_key,
        identity=_identity(staging, folder),
        identity_key=staging.identity_key,
        n_frames=staging.n_frames,
        workdir=folder,
    )


def _silent_video(source: Source | None, target: Path) -> Path | None:
    if source is None:
        return None
    from bench import media

    media.strip_audio(source, target)
    return target


def _driving_audio(source: Source | None, target: Path, n_frames: int | None) -> Path | None:
    """16 kHz mono WAV, cut or zero-padded at the end to 640 samples a frame where a length is set."""
    if source is None:
        return None
    import numpy as np

    from bench import media

    audio = media.decode_audio(source)
    samples = media.resample(audio.samples, audio.rate, SYSTEM_RATE)
    if n_frames is not None:
        length = n_frames * SAMPLES_PER_FRAME
        samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    media.write_audio(target, Audio(samples, SYSTEM_RATE))
    return target


def _identity(staging: Staging, folder: Path) -> Path | None:
    if staging.identity is None:
        return None
    if not staging.portrait:
        return _silent_video(staging.identity, folder / "identity.mp4")
    from bench import media

    path = folder / "identity.png"
    first = next(iter(media.iter_video(staging.identity, chunk_bytes=1)))  # one frame is decoded, not the clip
    media.write_png(path, first[0])
    return path


def cut(source: Source, frames: int, n_frames: int | None) -> Source:
    """The first ``n_frames`` of a source of ``frames`` frames; the source itself where that is all."""
    if n_frames is None or n_frames >= frames:
        return source
    return replace(source, end=(source.start or 0.0) + n_frames / FPS)


def driving_frames(video_frames: int, audio_seconds: float) -> int:
    """Length in frames of a pair of streams: the shorter of the two (datasets.md 3.5)."""
    return max(1, min(video_frames, math.floor(audio_seconds * FPS + 1e-6)))
