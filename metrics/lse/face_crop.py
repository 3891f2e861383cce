"""Cutting a tracked face out of the pictures (metrics.md 4.6).

Source: ``joonson/syncnet_python: run_pipeline.py`` (``crop_video``). The box's half side and centre are
smoothed over time by a median, whose window is filled up with zeros at both ends; the part that is cut
out reaches further below the face than above it, and what lies outside of the picture is grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.signal import medfilt

from bench.api import Unscorable

#: A crop of more than so many times the picture's area is a detector's error; the source would ask for its memory.
LARGEST_SHARE = 64


@dataclass(frozen=True, slots=True)
class CropRules:
    """The settings of a protocol's ``crop``; names as there."""

    crop_scale: float
    medfilt: int
    pad_value: int
    size: int

    @classmethod
    def of(cls, crop: Mapping[str, Any]) -> CropRules:
        """Read from the ``crop`` of a protocol's parameters."""
        return cls(float(crop["crop_scale"]), int(crop["medfilt"]), int(crop["pad_value"]), int(crop["size"]))


@dataclass(frozen=True, slots=True)
class CropPath:
    """Smoothed half side ``s`` and centre ``x``, ``y`` (T,) in pixels, and ``rects`` (T, 5).

    A rect is the width of the grey border, then first row, row after the last, first column and column
    after the last in the picture *with* that border.
    """

    s: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    rects: NDArray[np.int64]


def crop_path(boxes: NDArray[np.float64], rules: CropRules) -> CropPath:
    """Where to cut, for boxes (T, 4) x1, y1, x2, y2 of consecutive frames."""
    x1, y1, x2, y2 = boxes.T
    s = _smooth(np.maximum(y2 - y1, x2 - x1) / 2, rules.medfilt)
    x, y = _smooth((x1 + x2) / 2, rules.medfilt), _smooth((y1 + y2) / 2, rules.medfilt)
    below, beside = 1 + 2 * rules.crop_scale, 1 + rules.crop_scale
    border = np.trunc(s * below)
    middle_y, middle_x = y + border, x + border
    edges = (border, middle_y - s, middle_y + s * below, middle_x - s * beside, middle_x + s * beside)
    return CropPath(s, x, y, np.trunc(np.stack(edges, axis=1)).astype(np.int64))


def _smooth(series: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    return np.asarray(medfilt(series, window), dtype=np.float64)


def cut_out(picture: NDArray[np.uint8], rect: NDArray[np.int64], pad_value: int) -> NDArray[np.uint8]:
    """The part ``rect`` of the picture (H, W, 3) with its border, which is never built as a whole.

    Ends count as in a Python slice of the bordered picture: what reaches over its far edge is cut off.

    Raises:
        Unscorable: ``no_track``, nothing is left, or the box is absurdly large.
    """
    border = int(rect[0])
    height, width = picture.shape[:2]
    top, bottom, _ = slice(int(rect[1]), int(rect[2])).indices(height + 2 * border)
    left, right, _ = slice(int(rect[3]), int(rect[4])).indices(width + 2 * border)
    if bottom <= top or right <= left:
        raise Unscorable("no_track", f"a tracked face lies outside of the picture of {width}x{height}")
    if (bottom - top) * (right - left) > LARGEST_SHARE * height * width:
        size = f"{right - left}x{bottom - top}"
        raise Unscorable("no_track", f"a tracked face of {size} px is no face in a picture of {width}x{height}")
    face = np.full((bottom - top, right - left, 3), pad_value, np.uint8)
    rows = slice(max(top - border, 0), max(min(bottom - border, height), 0))
    columns = slice(max(left - border, 0), max(min(right - border, width), 0))
    part = picture[rows, columns]
    if part.size:
        down, across = rows.start + border - top, columns.start + border - left
        face[down : down + part.shape[0], across : across + part.shape[1]] = part
    return face


def resized(face: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A face (h, w, 3) as (size, size, 3), by OpenCV (bilinear)."""
    return np.asarray(cv2.resize(face, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
