"""Detectors of faces: what they are given and give, and dlib's."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Detect(Protocol):
    """Finds faces: frames uint8 RGB (T, H, W, 3) to T arrays (n, 5) of x1, y1, x2, y2 in pixels and score, falling."""

    def __call__(self, frames: NDArray[np.uint8], /) -> list[NDArray[Any]]:
        """The faces of each frame."""
        ...


class DlibDetector:
    """dlib's detector of frontal faces (HOG), which needs no weights but the package's own."""

    _UPSAMPLE = 1  # the picture is doubled once, so that faces of 40 px are found

    def __init__(self) -> None:
        import dlib

        self._detector = dlib.get_frontal_face_detector()
        self.identity = f"dlib-{dlib.__version__}-{self._UPSAMPLE}"

    def __call__(self, frames: NDArray[np.uint8], /) -> list[NDArray[Any]]:
        """The faces of each frame, by falling score."""
        return [self._of(np.ascontiguousarray(frame)) for frame in frames]

    def _of(self, frame: NDArray[np.uint8]) -> NDArray[Any]:
        found, scores, _ = self._detector.run(frame, self._UPSAMPLE)
        rows = [
            (box.left(), box.top(), box.right() + 1, box.bottom() + 1, score)
            for box, score in zip(found, scores, strict=True)
        ]
        rows.sort(key=lambda row: -row[4])
        return np.array(rows, np.float64).reshape(-1, 5)
