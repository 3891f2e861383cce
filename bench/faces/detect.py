"""Finding faces once per video: the detectors, and what is kept of their work."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.faces.kept_faces import KeptFaces

#: Videos whose faces are kept; a clip of 10 s takes about 20 kB.
_VIDEOS_KEPT = 4096


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


class KnownFaces:
    """A detector that looks at each frame of a video once, as long as it is asked for under one key.

    What a detector with an ``identity`` (a name for its numbers) has found is kept on disk too.
    """

    def __init__(self, detect: Detect) -> None:
        identity: str | None = getattr(detect, "identity", None)
        self._detect = detect if identity is None else KeptFaces(detect, identity)
        self._known: OrderedDict[str, list[NDArray[Any]]] = OrderedDict()

    def of(self, frames: NDArray[np.uint8], key: str | None) -> list[NDArray[Any]]:
        """The faces of each of ``frames``, the first ones of the video ``key`` (``None``: nothing is kept)."""
        found = [] if key is None else self._known.pop(key, [])
        if len(found) < len(frames):
            found = [*found, *self._detect(frames[len(found) :])]
        if key is not None:
            self._known[key] = found
            while len(self._known) > _VIDEOS_KEPT:
                self._known.popitem(last=False)
        return found[: len(frames)]
