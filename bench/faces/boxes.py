"""Face boxes of a video: padding and smoothing as Wav2Lip does them.

Boxes are int64 (n, 4) x1, y1, x2, y2 in pixels, the right and lower ends outside. Source:
``Rudrabha/Wav2Lip: inference.py`` (tfg.md 1.8).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.int64]  # (n, 4)

SMOOTHED_FRAMES = 5


class Pads(NamedTuple):
    """Pixels that a box grows by on each side; negative ones shrink it."""

    top: int = 0
    bottom: int = 10
    left: int = 0
    right: int = 0


NO_PADS = Pads(0, 0, 0, 0)


def whole(boxes: NDArray[np.floating]) -> Boxes:
    """Detections (n, 4) in whole pixels: negative ones become 0, the rest loses its fraction."""
    return np.maximum(np.asarray(boxes, np.float64), 0.0).astype(np.int64)


def padded(boxes: Boxes, pads: Pads, size: tuple[int, int]) -> Boxes:
    """Boxes grown by ``pads``, inside a picture of ``size`` (height, width)."""
    height, width = size
    out = np.asarray(boxes, np.int64).copy()
    out[:, 0] = np.maximum(out[:, 0] - pads.left, 0)
    out[:, 1] = np.maximum(out[:, 1] - pads.top, 0)
    out[:, 2] = np.minimum(out[:, 2] + pads.right, width)
    out[:, 3] = np.minimum(out[:, 3] + pads.bottom, height)
    return out


def smoothed(boxes: Boxes, length: int = SMOOTHED_FRAMES) -> Boxes:
    """Each box the mean of its window of ``length`` frames, without the fraction.

    As in the source: the mean takes the place of the box before the next window is looked at, the last windows are
    all the last ``length`` boxes, and in a video shorter than that, by the negative beginning of a Python
    slice, the last two of three boxes, the last one of four.
    """
    out = np.asarray(boxes, np.int64).copy()
    count = len(out)
    for index in range(count):
        begin, end = (index, index + length) if index + length <= count else (count - length, count)
        out[index] = out[begin:end].mean(axis=0)
    return out
