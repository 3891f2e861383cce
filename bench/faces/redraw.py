"""Drawing a face anew in every frame of a video: frames in, faces made in batches, frames out.

The frames of the output are the work's only copy of the video: they are read into it, and the faces are
painted there. Long videos lie in a file that is mapped into memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench import media
from bench.api import Source, Unscorable
from bench.faces.paste import crop, paste
from bench.faces.tracks import Placed

Frames = NDArray[np.uint8]  # (T, H, W, 3) RGB
#: Makes faces: crops (b, S, S, 3) and the output frames (b,) that they are for, to faces (b, S, S, 3), uint8 RGB.
Make = Callable[[Frames, NDArray[np.intp]], Frames]

#: With more faces the maps leave a core's cache, and each takes up to twice the time.
_ON_CPU = 8
_IN_MEMORY = 1 << 29  # bytes of frames; more go to a file in the request's folder


def read_frames(path: Path, count: int, folder: Path | None, shrink: int = 1) -> tuple[Frames, int]:
    """Room for ``count`` frames, and how many of them the video at ``path`` has filled, from the first on.

    ``shrink`` divides height and width, whole numbers. The rest of the room is for :func:`fill_up`.

    Raises:
        Unscorable: kinds of :mod:`bench.media`; ``too_short`` where nothing is left of the picture.
    """
    room: Frames | None = None
    filled = 0
    for piece in media.iter_video(Source(path)):
        kept = _shrunk(piece[: count - filled], shrink)
        if room is None:
            room = _room((count, *kept.shape[1:]), folder)
        room[filled : filled + len(kept)] = kept
        filled += len(kept)
        if filled == count:
            break
    if room is None:
        raise Unscorable("too_short", f"{path.name}: no frame")
    return room, filled


def fill_up(room: Frames, order: NDArray[np.intp]) -> None:
    """Copy frame ``order[i]`` to place i, where that is another; the sources lie before their copies."""
    for place in np.flatnonzero(order != np.arange(len(order))):
        room[place] = room[order[place]]


def looped(count: int, filled: int) -> NDArray[np.intp]:
    """Which frame is shown when: the video again from its first frame (Wav2Lip)."""
    return np.arange(count) % filled


def forth_and_back(count: int, filled: int) -> NDArray[np.intp]:
    """Which frame is shown when: 0 1 … n-1 n-2 … 1 0 1 … (the shared-latent face, tfg.md 2.4)."""
    period = max(1, 2 * (filled - 1))
    phase = np.arange(count) % period
    return np.minimum(phase, period - phase) if filled > 1 else phase * 0


def redraw(
    room: Frames, order: NDArray[np.intp], placed: Placed, make: Make, *, size: int, batch: int, feather: int = 0
) -> None:
    """Paint faces of ``size`` px into all frames of ``room`` whose face is present; see :data:`Make`.

    Batches begin at the clip's first frame, so that no clip's numbers depend on its neighbours.
    """
    shown = np.flatnonzero(placed.present[order])
    for start in range(0, len(shown), batch):
        places = shown[start : start + batch]
        boxes = placed.boxes[order[places]]
        crops = np.stack([crop(room[i], box, size) for i, box in zip(places, boxes, strict=True)])
        for i, face, box in zip(places, make(crops, places), boxes, strict=True):
            paste(room[i], face, box, feather)


def at_once(asked: int, device: str) -> int:
    """How many faces to make at once on ``device`` (torch's name of its kind) where ``asked`` are allowed."""
    return min(asked, _ON_CPU) if device == "cpu" else asked


def _room(shape: tuple[int, ...], folder: Path | None) -> Frames:
    if folder is None or int(np.prod(shape)) <= _IN_MEMORY:
        return np.empty(shape, np.uint8)
    return np.memmap(folder / "frames.raw", np.uint8, "w+", shape=shape)


def _shrunk(frames: Frames, by: int) -> Frames:
    if by == 1:
        return frames
    size = (frames.shape[2] // by, frames.shape[1] // by)  # width, height
    if min(size) < 1:
        raise Unscorable("too_short", f"nothing is left of {frames.shape[2]}x{frames.shape[1]} px divided by {by}")
    return np.stack([np.asarray(cv2.resize(frame, size), np.uint8) for frame in frames])
