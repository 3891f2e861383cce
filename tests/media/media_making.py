"""Real media files for the tests, written with PyAV: each says by its pictures which frame is which."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8  # a frame of `marked` shows its index in as many black or white columns


def marked(n: int, width: int = 64, height: int = 48) -> np.ndarray:
    """``n`` frames (up to 256), each showing its index in binary."""
    bits = (np.arange(n)[:, None] >> np.arange(BITS)) & 1
    columns = np.repeat(bits * 200 + 20, width // BITS, axis=1).astype(np.uint8)
    return np.broadcast_to(columns[:, None, :, None], (n, height, width, 3)).copy()


def which(frames: np.ndarray) -> list[int]:
    """The index that each decoded frame of :func:`marked` shows."""
    columns = frames.reshape(*frames.shape[:2], BITS, -1).mean(axis=(1, 3)) > 120
    return (columns @ (1 << np.arange(BITS))).tolist()


def gradient(width: int, height: int, n: int = 3) -> np.ndarray:
    """Smooth colour pictures that differ at every corner."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), 0 * x + 60], axis=-1)
    return np.stack([np.clip(picture + 5 * i, 0, 255).astype(np.uint8) for i in range(n)])


def tone(seconds: float, rate: int, hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    """A sine (N,) float32."""
    t = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def make_video(
    path: Path,
    frames: np.ndarray | None,
    rate: Fraction = Fraction(25),
    *,
    times: Sequence[Fraction] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    quarter_turns: int = 0,
    audio: np.ndarray | None = None,
    audio_rate: int = 16000,
    audio_codec: str = "aac",
    layout: str = "mono",
    audio_start: Fraction = Fraction(0),
    video_start: Fraction = Fraction(0),
    container_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write ``frames`` at ``rate`` (or at ``times`` seconds) and ``audio`` (channels, N) to ``path``."""
    with av.open(str(path), "w", options=container_options or {}) as out:
        out.metadata.update(metadata or {})
        video = sound = None
        if frames is not None:
            video = out.add_stream(codec, rate=rate)
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = "yuv420p"
            video.options = {"crf": "8", "threads": "1", **(options or {})} if codec == "libx264" else options or {}
            base = time_base or 1 / rate
            video.codec_context.time_base = base
            if quarter_turns:
                video.set_display_rotation(90 * quarter_turns)
        if audio is not None:
            sound = out.add_stream(audio_codec, rate=audio_rate, layout=layout)
        packets = []
        if video is not None:
            for i, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
                time = (times[i] if times is not None else i / rate) + video_start
                frame.pts, frame.time_base = round(time / base), base
                packets += video.encode(frame)
            packets += video.encode(None)
        if sound is not None:
            packets += _sound_packets(sound, audio, audio_rate, layout, audio_start)
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            out.mux(packet)
    return path


def _sound_packets(sound, audio, rate, layout, start) -> list:
    block = 1024
    planar = "fltp" if sound.codec_context.name in {"aac", "ac3"} else None
    packets = []
    for first in range(0, audio.shape[1], block):
        piece = np.ascontiguousarray(audio[:, first : first + block])
        if planar:
            frame = av.AudioFrame.from_ndarray(piece.astype(np.float32), format=planar, layout=layout)
        else:
            flat = np.ascontiguousarray((piece.T * 32767).round().astype(np.int16).reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(flat, format="s16", layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = first + round(start * rate)
        packets += sound.encode(frame)
    return packets + list(sound.encode(None))


def write_wav(path: Path, samples: np.ndarray, rate: int, kind: str = "pcm_s16le", layout: str = "mono") -> Path:
    """A WAV of (channels, N) samples as they are: int16 for ``pcm_s16le``, float32 for ``pcm_f32le``."""
    import soundfile

    del layout
    subtype = {"pcm_s16le": "PCM_16", "pcm_f32le": "FLOAT", "pcm_u8": "PCM_U8", "pcm_s24le": "PCM_24"}[kind]
    soundfile.write(str(path), samples.T, rate, subtype=subtype, format="WAV")
    return path
