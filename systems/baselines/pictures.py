"""Length and size of videos: frames are uint8 RGB (T, H, W, 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench import media
from bench.api import Unscorable

if TYPE_CHECKING:
    from bench.records import Frames, Source


def fit_length(frames: Frames, n_frames: int | None) -> Frames:
    """Exactly ``n_frames`` frames: cut, or played forwards and backwards (0 1 2 1 0 1 …); ``None``: as they are."""
    count = len(frames)
    if n_frames is None or n_frames == count or count == 0:
        return frames
    if n_frames < count:
        return frames[:n_frames]
    period = max(1, 2 * (count - 1))
    phase = np.arange(n_frames) % period
    return frames[np.minimum(phase, period - phase)] if count > 1 else np.repeat(frames, n_frames, axis=0)


def fit_size(frames: Frames, size: tuple[int, int]) -> Frames:
    """Frames of ``size`` = (height, width): area averaging to shrink, bilinear to enlarge."""
    height, width = size
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = height < frames.shape[1] or width < frames.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([_resized(frame, width, height, method) for frame in frames])


def quarter_and_back(frames: Frames) -> Frames:
    """Frames at a quarter of the resolution (area averages) and back (bilinear)."""
    height, width = frames.shape[1:3]
    small = (max(1, width // 4), max(1, height // 4))
    return np.stack(
        [_resized(_resized(frame, *small, cv2.INTER_AREA), width, height, cv2.INTER_LINEAR) for frame in frames]
    )


def _resized(frame: Frames, width: int, height: int, method: int) -> Frames:
    resized: Frames = np.asarray(cv2.resize(frame, (width, height), interpolation=method), dtype=np.uint8)
    return resized


def size_of(source: Source) -> tuple[int, int]:
    """(height, width) of the frames of a video. Raises :class:`bench.api.Unscorable` as decoding does."""
    for piece in media.iter_video(source, chunk_bytes=1):
        return int(piece.shape[1]), int(piece.shape[2])
    return 0, 0


def first_frame(source: Source) -> Frames:
    """The first frame (H, W, 3). Raises :class:`bench.api.Unscorable` as decoding does."""
    for piece in media.iter_video(source, chunk_bytes=1):
        picture: Frames = piece[0]
        return picture
    raise Unscorable("too_short", f"{source.path.name}: no frame")
