"""Mean squared error of two pictures on the scale 0..255, exact in float64."""

from __future__ import annotations

import cv2
import numpy as np

from bench.metrics.pictures import Picture, to_grey


def rgb_mse(reference: Picture, generated: Picture) -> float:
    """Over all pixels and channels."""
    return _mse(np.ascontiguousarray(reference), np.ascontiguousarray(generated))


def grey_mse(reference: Picture, generated: Picture) -> float:
    """On OpenCV's grey levels (0.299, 0.587, 0.114, rounded)."""
    return _mse(to_grey(reference), to_grey(generated))


def _mse(a: Picture, b: Picture) -> float:
    # OpenCV sums squares of whole numbers without rounding (in blocks of 32-bit integers).
    return float(cv2.norm(a, b, cv2.NORM_L2SQR)) / a.size
