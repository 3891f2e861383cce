"""What a file says about itself, without decoding all of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import Unscorable
from bench.media.container import audio_stream, opened, reading, video_stream
from bench.media.picture import Renderer
from bench.records import Source

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Probe:
    """Facts of a container. Sizes are those of the upright picture; ``duration`` is in seconds.

    ``frames`` is what the header claims (0: it does not say); absent streams have zeros.
    """

    has_video: bool = False
    has_audio: bool = False
    width: int = 0
    height: int = 0
    fps: float = 0.0
    frames: int = 0
    duration: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    video_codec: str = ""
    audio_codec: str = ""


def probe(path: Path) -> Probe:
    """Read the header and the first frame. Raises ``decode_error`` when the file does not open."""
    with opened(path) as container, reading(path):
        video, audio = video_stream(container), audio_stream(container)
        height, width = (0, 0) if video is None else _size(container, video, path)
        return Probe(
            has_video=video is not None,
            has_audio=audio is not None,
            width=width,
            height=height,
            fps=float(video.average_rate or 0) if video is not None else 0.0,
            frames=video.frames if video is not None else 0,
            duration=_duration(container, video if video is not None else audio),
            sample_rate=audio.codec_context.sample_rate if audio is not None else 0,
            channels=audio.codec_context.channels if audio is not None else 0,
            video_codec=video.codec_context.name if video is not None else "",
            audio_codec=audio.codec_context.name if audio is not None else "",
        )


def _size(container: Any, stream: Any, path: Path) -> tuple[int, int]:
    for frame in container.decode(stream):
        height, width = Renderer(Source(path), container.metadata)(frame).shape[:2]
        return height, width
    raise Unscorable("decode_error", f"{path.name}: no frame could be decoded")


def _duration(container: Any, stream: Any | None) -> float:
    if stream is not None and stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else 0.0  # libav counts in microseconds


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
