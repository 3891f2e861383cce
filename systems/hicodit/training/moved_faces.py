"""Faces that are moved into an expression, for a corpus that has none but neutral ones.

Each class is a prototype of the Facial Action Coding System (Ekman, Friesen and Hager 2002, table of emotion
predictions), written as shifts of dlib's 68 landmarks in units of the distance of the eyes; the picture follows them
smoothly. These are caricatures by a rule: what is learnt from them knows the rule, not people.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.systems.hicodit.emotion import CLASSES

Shift = tuple[float, float]  # to the outside of the face, and up; of the distance of the eyes

_INNER_BROWS, _BROWS = (20, 21, 22, 23), tuple(range(17, 27))
_UPPER_LIDS, _LOWER_LIDS = (37, 38, 43, 44), (40, 41, 46, 47)
_CORNERS, _UPPER_LIP, _LOWER_LIP = (48, 54, 60, 64), (50, 51, 52, 61, 62, 63), (56, 57, 58, 65, 66, 67)
_CHIN, _NOSTRILS = (6, 7, 8, 9, 10), (31, 32, 33, 34, 35)

#: Which landmarks go where, by class, with the action units that this stands for.
PROTOTYPES: Mapping[str, tuple[tuple[tuple[int, ...], Shift], ...]] = {
    "neutral": (),
    # 6 + 12
    "happy": ((_CORNERS, (0.12, 0.12)), (_LOWER_LIDS, (0.0, 0.04))),
    # 1 + 4 + 15
    "sad": ((_INNER_BROWS, (-0.03, 0.10)), (_CORNERS, (0.02, -0.12))),
    # 1 + 2 + 5 + 26
    "surprised": ((_BROWS, (0.0, 0.18)), (_UPPER_LIDS, (0.0, 0.05)), (_LOWER_LIP + _CHIN, (0.0, -0.18))),
    # 1 + 2 + 4 + 5 + 20
    "fear": ((_BROWS, (-0.06, 0.12)), (_UPPER_LIDS, (0.0, 0.06)), (_CORNERS, (0.14, -0.02))),
    # 9 + 10
    "disgust": ((_BROWS, (0.0, -0.06)), (_NOSTRILS, (0.02, 0.07)), (_UPPER_LIP, (0.0, 0.10))),
    # 4 + 7 + 23
    "angry": (
        (_BROWS, (-0.05, -0.12)),
        (_UPPER_LIDS, (0.0, -0.03)),
        (_UPPER_LIP, (0.0, -0.04)),
        (_LOWER_LIP, (0.0, 0.04)),
    ),
}
if tuple(PROTOTYPES) != CLASSES:
    raise RuntimeError("the prototypes are not those of the classes")

_GRID = 8  # pixels from one point of the displacement's grid to the next
_REACH = 0.22  # of the distance of the eyes: deviation of a landmark's influence
_STILL = 0.05  # weight of staying where it is: the picture beyond the face does


def moved(frame: NDArray[np.uint8], points: NDArray[np.float64], name: str, strength: float) -> NDArray[np.uint8]:
    """``frame`` (H, W, 3) with its face, which has ``points`` (68, 2), in the expression ``name``.

    ``strength``: 1 is the prototype, 0 the frame as it is.
    """
    if not PROTOTYPES[name] or strength == 0:
        return frame
    eyes = float(np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0)))
    shifts = strength * eyes * _shifts(points, name)
    height, width = frame.shape[:2]
    y, x = np.mgrid[0 : height + _GRID : _GRID, 0 : width + _GRID : _GRID].astype(np.float64)
    square = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2  # (h, w, 68)
    weights = np.exp(-square / (2 * (_REACH * eyes) ** 2))
    field = weights @ shifts / (weights.sum(axis=-1, keepdims=True) + _STILL)  # (h, w, 2)
    places = np.mgrid[0:height, 0:width].astype(np.float32)
    fine = [
        cv2.remap(field[..., axis].astype(np.float32), places[1] / _GRID, places[0] / _GRID, cv2.INTER_LINEAR)
        for axis in (0, 1)
    ]
    source = (places[1] - fine[0], places[0] - fine[1])  # where what is seen there comes from
    return np.asarray(cv2.remap(frame, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _shifts(points: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """(68, 2), (x, y) in distances of the eyes, y downwards."""
    middle = points[27:31, 0].mean()  # the bridge of the nose
    shifts = np.zeros_like(points)
    for places, (outside, up) in PROTOTYPES[name]:
        chosen = list(places)
        shifts[chosen, 0] += outside * np.sign(points[chosen, 0] - middle)
        shifts[chosen, 1] -= up
    return shifts
