"""Which frame of a video shows the identity best: the one with the lips closed (tfg.md 2.3, ``closed_frame``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_LANDMARKS = 68
_UPPER_LIP, _LOWER_LIP = 62, 66  # the middle of the inner lips
_LEFT_CORNER, _RIGHT_CORNER = 48, 54


def mouth_opening(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance of the inner lips over the width of the mouth, (n,), of landmarks (n, 68, 2) in pixels.

    Infinite where the mouth has no width.
    """
    points = np.asarray(landmarks, np.float64)
    gap = np.linalg.norm(points[:, _LOWER_LIP] - points[:, _UPPER_LIP], axis=1)
    width = np.linalg.norm(points[:, _RIGHT_CORNER] - points[:, _LEFT_CORNER], axis=1)
    opening: NDArray[np.float64] = np.divide(gap, width, out=np.full(len(points), np.inf), where=width > 0)
    return opening


def closed_frame(landmarks: NDArray[np.floating], found: NDArray[np.bool_]) -> int:
    """The frame with the mouth closed most, among those whose landmarks were ``found`` (n,); of equal ones the first.

    Frame 0 where none was found.
    """
    if not found.any():
        return 0
    return int(np.where(found, mouth_opening(landmarks), np.inf).argmin())
