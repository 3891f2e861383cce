"""Tiny talking portraits for the training of faces, and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.media import write_video
from bench.records import Audio

FRAMES = 30
SIDE = 160


def portrait() -> NDArray[np.uint8]:
    """A public-domain photograph of an astronaut, cut to her head."""
    from skimage import data

    return np.asarray(data.astronaut()[:240:1, 100:340], np.uint8)


def moving(frames: int, phase: float) -> NDArray[np.uint8]:
    """(frames, SIDE, SIDE, 3): the portrait, wandering a few pixels."""
    picture = portrait()
    room = picture.shape[0] - SIDE
    at = np.rint(room / 2 * (1 + 0.5 * np.sin(np.arange(frames) / 4 + phase))).astype(int)
    return np.stack([picture[y // 2 : y // 2 + SIDE, y : y + SIDE] for y in at])


def make_faces(root: Path, frames: int = FRAMES) -> Path:
    """A folder data set: ``a`` and ``b`` show a face, ``grey`` none, ``short`` one for too few frames."""
    root.mkdir(parents=True, exist_ok=True)
    grey = np.full((frames, SIDE, SIDE, 3), 128, np.uint8)
    for number, (name, pictures) in enumerate(
        {"a": moving(frames, 0.0), "b": moving(frames, 2.0), "grey": grey, "short": moving(10, 1.0)}.items()
    ):
        at = np.arange(len(pictures) * 640) / 16_000
        sound = 0.3 * np.sin(2 * np.pi * (150 + 90 * number) * at) * np.sin(2 * np.pi * 3 * at)
        write_video(root / f"{name}.mp4", pictures, audio=Audio(sound.astype(np.float32), 16_000))
    return root
