"""Cutting a face out for the network, and writing what the network made back into the frame.

Pictures are uint8 (H, W, 3) in whatever order of channels the network has; boxes are x1, y1, x2, y2 with the ends
outside. Source: ``Rudrabha/Wav2Lip: inference.py`` (tfg.md 1.8, 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3)
Box = Sequence[int] | NDArray[np.int64]


def crop(frame: Picture, box: Box, size: int = 96) -> Picture:
    """The face in ``box``, squeezed to (size, size, 3) by OpenCV (bilinear)."""
    x1, y1, x2, y2 = (int(edge) for edge in box)
    return _resized(frame[y1:y2, x1:x2], (size, size))


def network_input(faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Faces (n, S, S, 3) to (n, 6, S, S): with the lower half black, and as they are."""
    reference = faces.transpose(0, 3, 1, 2)
    masked = reference.copy()
    masked[:, :, faces.shape[1] // 2 :] = 0
    return np.concatenate([masked, reference], axis=1)


def to_levels(faces: NDArray[np.floating], rounded: bool = False) -> NDArray[np.uint8]:
    """Faces (n, 3, S, S) in 0…1 to uint8 (n, S, S, 3): the fraction of a level is cut off, or rounded."""
    levels = faces.transpose(0, 2, 3, 1) * np.float32(255.0)
    return np.ascontiguousarray((np.rint(levels) if rounded else levels).astype(np.uint8))


def paste(frame: Picture, face: Picture, box: Box, feather: int = 0) -> None:
    """Write ``face`` (S, S, 3), stretched to ``box`` (bilinear), into ``frame``.

    ``feather``: pixels inside the box over which the frame goes over into the face, at most a quarter of the box's
    shorter side, so that a small face has a middle of its own; 0 leaves a hard edge, as the source does. Where the box
    touches the border of the frame there is nothing to go over to.
    """
    x1, y1, x2, y2 = (int(edge) for edge in box)
    made = _resized(face, (x2 - x1, y2 - y1))
    width = min(feather, min(made.shape[:2]) // 4)
    if width > 0:
        weight = _ramp((x1, y1, x2, y2), frame.shape[:2], width)
        there = frame[y1:y2, x1:x2]
        made = np.rint(there + weight[:, :, None] * (made.astype(np.float32) - there)).astype(np.uint8)
    frame[y1:y2, x1:x2] = made


def _ramp(box: tuple[int, int, int, int], size: tuple[int, ...], feather: int) -> NDArray[np.float32]:
    """Weights (h, w) of the face: 1 inside, falling to the edges that lie inside the frame."""
    x1, y1, x2, y2 = box
    down = _sides(y2 - y1, feather, y1 > 0, y2 < size[0])
    across = _sides(x2 - x1, feather, x1 > 0, x2 < size[1])
    return np.minimum.outer(down, across)


def _sides(length: int, feather: int, low: bool, high: bool) -> NDArray[np.float32]:
    places = np.arange(length, dtype=np.float32)
    one = np.float32(feather + 1)
    weights = np.ones(length, np.float32)
    if low:
        weights = np.minimum(weights, (places + 1) / one)
    if high:
        weights = np.minimum(weights, (length - places) / one)
    return weights


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """``picture`` in ``size`` = (width, height)."""
    resized = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
