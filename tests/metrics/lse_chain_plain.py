"""The way from a clip's pictures and sound to LSE as loops, after metrics.md 4.2 to 4.6; nothing is kept or shared.

Only dlib, OpenCV's resize and colour conversion, SciPy's median and torch's layers are called; SyncNet is the published
network with its three-dimensional convolutions, one window at a time (:func:`lse_helpers.plain_lse`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from lse_helpers import plain_lse
from scipy.signal import medfilt

Box = tuple[float, float, float, float]
Faces = Callable[[int, Any], list[Box]]  # index of a frame and its picture (H, W, 3) to boxes in its pixels


class PlainTrack(NamedTuple):
    """First frame, boxes (T, 4) of all its frames, and what SyncNet says of it."""

    first: int
    boxes: Any
    lse_c: float
    lse_d: float
    offset: int


def plain_chain(frames: Any, pcm: Any, faces: Faces, least: int = 100) -> list[PlainTrack]:
    """All tracks of RGB ``frames`` (T, H, W, 3) and 16 kHz ``pcm``, by their last frames.

    ``least``: a shot has at least as many frames, a track more detections.
    """
    tracks = []
    for first, end in plain_scenes(frames, least):
        boxes = [(k, faces(k, frames[k])) for k in range(first, end)]
        tracks += [track for track in plain_tracks(boxes, least) if plain_size(track[1]) > 100]
    results = []
    for numbers, boxes in sorted(tracks, key=lambda track: track[0][-1]):
        crops = np.stack([plain_crop(frames[k], boxes, k - numbers[0]) for k in numbers])
        sound = pcm[640 * numbers[0] : 640 * (numbers[-1] + 1)]
        results.append(PlainTrack(numbers[0], boxes, *plain_lse(crops, sound)))
    return results


def plain_scenes(frames: Any, least: int) -> list[tuple[int, int]]:
    """Stretches between cuts: where hue, saturation and value change by 30 levels on average."""
    thin = 1 if frames.shape[2] < 400 else 2  # wider pictures do not occur in these tests
    cuts: list[int] = []
    for k in range(1, len(frames)):
        a, b = (cv2.cvtColor(frames[i][::thin, ::thin].copy(), cv2.COLOR_RGB2HSV).astype(float) for i in (k - 1, k))
        change = sum(np.abs(a[:, :, c] - b[:, :, c]).mean() for c in range(3)) / 3
        if change >= 30 and (not cuts or k - cuts[-1] >= 15):
            cuts.append(k)
    edges = [0, *cuts, len(frames)]
    return [(a, b) for a, b in pairwise(edges) if b - a >= least]


def plain_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_tracks(found: list[tuple[int, list[Box]]], least: int) -> list[tuple[list[int], Any]]:
    """Lists shrink while they are walked over, so that the box behind one that joins is passed over."""
    lists = [[(frame, box) for box in boxes] for frame, boxes in found]
    tracks = []
    while any(lists):
        track: list[tuple[int, Box]] = []
        for faces in lists:
            for face in faces:
                if not track:
                    track.append(face)
                    faces.remove(face)
                elif face[0] - track[-1][0] > 25:
                    break
                elif plain_overlap(face[1], track[-1][1]) > 0.5:
                    track.append(face)
                    faces.remove(face)
        if len(track) > least:
            numbers = list(range(track[0][0], track[-1][0] + 1))
            tracks.append((numbers, np.array([plain_between(track, k) for k in numbers])))
    return tracks


def plain_between(track: list[tuple[int, Box]], frame: int) -> list[float]:
    """The box of a frame, on the line between the detections before and after it."""
    before = max((face for face in track if face[0] <= frame), key=lambda face: face[0])
    after = min((face for face in track if face[0] >= frame), key=lambda face: face[0])
    share = (frame - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
    return [(1 - share) * a + share * b for a, b in zip(before[1], after[1], strict=True)]


def plain_size(boxes: Any) -> float:
    return max(float(np.mean(boxes[:, 2] - boxes[:, 0])), float(np.mean(boxes[:, 3] - boxes[:, 1])))


def plain_crop(picture: Any, boxes: Any, index: int) -> Any:
    """The face and what lies around it, from the picture with its grey border built as a whole, as 224x224."""
    s = medfilt([max(b[3] - b[1], b[2] - b[0]) / 2 for b in boxes], 13)[index]
    x = medfilt([(b[0] + b[2]) / 2 for b in boxes], 13)[index]
    y = medfilt([(b[1] + b[3]) / 2 for b in boxes], 13)[index]
    pad = int(s * 1.8)
    bordered = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    face = bordered[int(y + pad - s) : int(y + pad + s * 1.8), int(x + pad - s * 1.4) : int(x + pad + s * 1.4)]
    return cv2.resize(face, (224, 224))


def dlib_faces(index: int, picture: Any) -> list[Box]:
    """dlib's frontal faces after one doubling of the picture; the far edges lie behind the last pixel."""
    return [(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in _detector()(picture, 1)]


@lru_cache(maxsize=1)
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def plain_decoded(offsets: Any, scores: Any, size: tuple[int, int], whole: tuple[int, int], maps: Any) -> list[Box]:
    """Boxes in pixels of ``whole`` (height, width) from S3FD's outputs (P, 4), (P, 2) for a picture of ``size``."""
    rows, place = [], 0
    for k, (height, width) in enumerate(maps):
        step, side = 4 * 2**k, 16 * 2**k
        for i in range(height):
            for j in range(width):
                (dx, dy, dw, dh), sure = (float(v) for v in offsets[place]), float(scores[place, 1])
                place += 1
                if sure <= 0.05:
                    continue
                px, py, pw, ph = (j + 0.5) * step / size[1], (i + 0.5) * step / size[0], side / size[1], side / size[0]
                w, h = pw * np.exp(0.2 * dw), ph * np.exp(0.2 * dh)
                x, y = px + 0.1 * dx * pw, py + 0.1 * dy * ph
                rows.append((sure, x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    kept = [row for row in plain_nms(rows, 0.3) if row[0] > 0.9]
    large = [(s, whole[1] * a, whole[0] * b, whole[1] * c, whole[0] * d) for s, a, b, c, d in kept]
    return [(a, b, c, d) for _, a, b, c, d in plain_nms(large, 0.1)]


def plain_nms(rows: list[Any], most: float) -> list[Any]:
    """Keep the best row, strike out what overlaps it, repeat. Rows: (score, x1, y1, x2, y2)."""
    left, kept = sorted(rows, key=lambda row: -row[0]), []
    while left:
        kept.append(left.pop(0))
        left = [row for row in left if plain_overlap(kept[-1][1:], row[1:]) <= most]
    return kept
