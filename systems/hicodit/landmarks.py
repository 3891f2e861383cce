"""Where the face of a video is: dlib's 68 points in every frame, quickly (hicodit.md E.4.1).

The detector looks at every fifth frame. Where it sees one face at both ends of such a stretch, the box between them
lies on the straight line; where not, at each frame. The points are then found in every frame with a box. Points are
float64 (F, 68, 2), (x, y) in pixels of the frame; NaN in a frame without a usable face: none was found, or the mouth's
centre lies outside the picture.

Other ways than the LMD metric's, on purpose: that one detects in every frame, at 18 ms each, and is a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.metrics.faces import Box, landmarks, largest

Points = NDArray[np.float64]  # (F, 68, 2)
Frames = NDArray[np.uint8]  # (F, H, W, 3) RGB
_Grey = NDArray[np.uint8]  # (H, W)

N_POINTS = 68
MOUTH = slice(48, 68)
EVERY = 5  # frames from one look of the detector to the next
#: A longer side is shrunk to so many pixels before the detector looks: it costs 60 ns a pixel, and four times as much
#: when the picture is doubled.
DETECT_SIDE = 640
#: The least share of their union that the boxes at the ends of a stretch have in common, if they are of one face.
LEAST_OVERLAP = 0.4


def find_points(chunks: Iterable[Frames]) -> Points:
    """The points of each frame of a video that comes in pieces; (0, 68, 2) where there is no frame."""
    found = [points for frames in chunks for points in _of_chunk([_grey(frame) for frame in frames])]
    return np.array(found, np.float64).reshape(-1, N_POINTS, 2)


def _of_chunk(pictures: list[_Grey]) -> Iterator[Points]:
    for picture, box in zip(pictures, _boxes(pictures), strict=True):
        yield _points(picture, box)


def _points(picture: _Grey, box: Box | None) -> Points:
    """(68, 2); NaN where there is no box, or no mouth inside the picture."""
    if box is None:
        return np.full((N_POINTS, 2), np.nan)
    points = landmarks(picture, box).astype(np.float64)
    x, y = points[MOUTH].mean(axis=0)
    height, width = picture.shape
    inside = 0 <= x < width and 0 <= y < height
    return points if inside else np.full((N_POINTS, 2), np.nan)


def _boxes(pictures: list[_Grey]) -> list[Box | None]:
    """The face of each frame of a piece of a video."""
    if not pictures:
        return []
    last = len(pictures) - 1
    keys = sorted({*range(0, last, EVERY), last})
    seen = {key: detect(pictures[key]) for key in keys}
    boxes: list[Box | None] = [seen[0]]
    for begin, end in pairwise(keys):
        a, b = seen[begin], seen[end]
        inner = range(begin + 1, end)
        if a is not None and b is not None and _overlap(a, b) >= LEAST_OVERLAP:
            boxes += [_between(a, b, (at - begin) / (end - begin)) for at in inner]
        elif a is None and b is None:
            boxes += [None for _ in inner]
        else:  # a face comes, goes, or another one takes its place
            boxes += [detect(pictures[at]) for at in inner]
        boxes.append(b)
    return boxes


def detect(picture: _Grey) -> Box | None:
    """The largest face of a grey picture: one of at least 80 px, else one of at least 40 px; ``None``: no face.

    A picture with a longer side than :data:`DETECT_SIDE` is shrunk to it first.
    """
    scale = max(1.0, max(picture.shape) / DETECT_SIDE)
    small = picture
    if scale > 1:
        size = (max(1, round(picture.shape[1] / scale)), max(1, round(picture.shape[0] / scale)))
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    for doublings in (0, 1):
        found = [(box.left(), box.top(), box.right(), box.bottom()) for box in _detector()(small, doublings)]
        if found:
            left, top, right, bottom = (round(edge * scale) for edge in largest(found))
            return left, top, right, bottom
    return None


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def _grey(frame: Frames) -> _Grey:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _between(a: Box, b: Box, share: float) -> Box:
    """The box ``share`` of the way from ``a`` to ``b``."""
    left, top, right, bottom = (round(p + share * (q - p)) for p, q in zip(a, b, strict=True))
    return left, top, right, bottom


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of boxes whose ends lie inside them."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return shared / (sum(areas) - shared)
