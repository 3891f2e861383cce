"""Good and bad media, as small as they can be: 64x64 pixels, a few frames."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.media import write_video
from bench.records import Audio

RATE = 16_000
FRAMES = 10
TEXT = "bin blue at {letter} one now"


def picture(number: int, frames: int = FRAMES, size: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    """(T, H, W, 3): a bar that moves over a plain background."""
    height, width = size
    film = np.full((frames, height, width, 3), 60 + 40 * number, np.uint8)
    for index in range(frames):
        left = (4 * index) % (width - width // 4)
        film[index, :, left : left + width // 4] = (200, 90, 30)
    return film


def tone(number: int, seconds: float = FRAMES / 25, rate: int = RATE) -> Audio:
    """A tone of its own for each clip."""
    time = np.arange(round(seconds * rate)) / rate
    return Audio((0.3 * np.sin(2 * np.pi * 170 * (number + 1) * time)).astype(np.float32), rate)


def clip(path: Path, number: int = 0, text: str | bytes | None = None, **kind: object) -> Path:
    """``path`` with a good video and sound, and its transcript beside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    film = kind.get("film")
    sound = kind.get("sound", tone(number))
    write_video(path, picture(number) if film is None else film, audio=sound)  # type: ignore[arg-type]
    words = TEXT.format(letter="abcdefghij"[number]) if text is None else text
    path.with_suffix(".txt").write_bytes(words if isinstance(words, bytes) else words.encode())
    return path


def wav(
    path: Path,
    samples: NDArray[np.float32],
    rate: int = RATE,
    *,
    kind: str = "int16",
) -> Path:
    """A RIFF file of (N,) or (N, channels) samples in [-1, 1], written byte by byte (``int16`` or ``float32``)."""
    channels = samples.shape[1] if samples.ndim > 1 else 1
    table = samples.reshape(len(samples), channels)
    if kind == "int16":
        data, code, width = np.round(np.clip(table, -1, 1) * 32767).astype("<i2").tobytes(), 1, 2
    else:
        data, code, width = table.astype("<f4").tobytes(), 3, 4
    head = struct.pack("<HHIIHH", code, channels, rate, rate * channels * width, channels * width, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def faces(count: int, frames: int = 4) -> NDArray[np.uint8]:
    """(T, 128, 128 * max(count, 1), 3): the public-domain portrait of scikit-image, ``count`` times side by side."""
    import cv2
    from skimage.data import astronaut

    face = cv2.resize(astronaut()[:260, 90:350], (128, 128), interpolation=cv2.INTER_AREA)
    still = np.concatenate([face] * count, axis=1) if count else np.full((128, 128, 3), 127, np.uint8)
    return np.stack([np.roll(still, index % 2, axis=0) for index in range(frames)]).astype(np.uint8)
