"""What a face expresses: classes per frame, one class for each half second, and who tells them (hicodit.md B.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.api import FPS, DataError
from bench.systems.hicodit.landmarks import Frames, Points

CLASSES = ("neutral", "happy", "sad", "surprised", "fear", "disgust", "angry")
NULL = len(CLASSES)  # no condition
NEUTRAL = 0
WINDOW = 0.5  # seconds with one class
STRIDE = 25  # codec frames of a window

#: The classes of RAF-DB, in the order of its folders, which is that of the logits of ``Talented-Q/POSTER_V2``.
RAF_DB = ("surprised", "fear", "disgust", "happy", "sad", "angry", "neutral")

Probabilities = NDArray[np.float32]  # (T, 7) in the order of CLASSES


def emotion_windows(
    probabilities: NDArray[np.floating], length: int | None = None, *, fps: float = FPS, window: float = WINDOW
) -> NDArray[np.int64]:
    """The likeliest class of each window of ``window`` seconds, by the mean of ``probabilities`` (T, n) of its frames.

    Frame k counts in the window that its time k/fps lies in. ``length``: codec frames, for ceil(length / 25) windows;
    without it as many as the frames last. One without a frame copies the one before it.

    Raises:
        ValueError: there is no frame.
    """
    if not len(probabilities):
        raise ValueError("no frame to tell an emotion by")
    wide = Fraction(str(fps)) * Fraction(str(window))  # frames
    count = -(-len(probabilities) // wide) if length is None else -(-length // STRIDE)
    classes: list[int] = []
    for number in range(int(count)):
        frames = probabilities[int(-(-number * wide // 1)) : int(-(-(number + 1) * wide // 1))]
        classes.append(int(frames.mean(axis=0).argmax()) if len(frames) else classes[-1])
    return np.array(classes, np.int64)


class EmotionExtractor(Protocol):
    """Tells what the face of each frame expresses."""

    @property
    def identity(self) -> str:
        """A short name without blanks: differs where the numbers may."""

    def probabilities(self, frames: Frames, points: Points) -> Probabilities:
        """Of frames (T, H, W, 3) with landmarks (T, 68, 2), none of them NaN."""


class Poster2:
    """A classifier in a TorchScript file, by default POSTER V2's way: RGB faces (B, 3, 224, 224) to logits (B, 7).

    Mao et al., "POSTER++: A simpler and stronger facial expression recognition network", arXiv 2301.12149; input and
    order of the classes as ``Talented-Q/POSTER_V2: main.py`` with RAF-DB has them. ``order``: of the file's classes.
    """

    SIDE = 224  # pixels
    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    BATCH = 16

    def __init__(self, path: Path, device: str, order: Sequence[str] = RAF_DB) -> None:
        """Load ``path``.

        Raises:
            DataError: no such file, or no TorchScript.
        """
        self._device = torch.device(device)
        self._network = _script(path, self._device)
        self._places = [order.index(name) for name in CLASSES]
        with path.open("rb") as file:
            self.identity = f"poster2-{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"

    @torch.inference_mode()
    def probabilities(self, frames: Frames, points: Points) -> Probabilities:
        """See :class:`EmotionExtractor`.

        Raises:
            DataError: the file gives something else than seven logits a face.
        """
        told = [self._batch(frames[at : at + self.BATCH], points[at : at + self.BATCH]) for at in
                range(0, len(frames), self.BATCH)]  # fmt: skip
        return np.concatenate(told) if told else np.zeros((0, len(CLASSES)), np.float32)

    def _batch(self, frames: Frames, points: Points) -> Probabilities:
        faces = torch.from_numpy(face_squares(frames, points, self.SIDE)).to(self._device).float() / 255.0
        mean, deviation = (torch.tensor(three, device=self._device) for three in (self.MEAN, self.DEVIATION))
        logits = self._network(((faces - mean) / deviation).permute(0, 3, 1, 2).contiguous())
        if not isinstance(logits, torch.Tensor) or logits.shape != (len(frames), len(CLASSES)):
            shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise DataError(
                f"the emotion classifier gives {shape} for {len(frames)} faces",
                f"trace it so that it gives ({len(frames)}, {len(CLASSES)}) logits.",
            )
        return np.asarray(logits.float().softmax(dim=1)[:, self._places].cpu().numpy(), np.float32)


def _script(path: Path, device: torch.device) -> Any:
    if not path.is_file():
        raise DataError(f"no emotion classifier {path}", "save POSTER V2 with torch.jit.trace and name that file.")
    try:
        return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise DataError(f"{path} is no TorchScript file", "save the network with torch.jit.trace.") from error


#: Of the greater extent of the 68 points, which end at the brows: room for the forehead.
_ROOM = 1.3
_UP = 0.1  # of the square's side, by which its centre lies above theirs


def face_squares(frames: Frames, points: Points, side: int) -> NDArray[np.uint8]:
    """The face of each frame (T, H, W, 3) in a square, RGB (T, side, side, 3); beyond the picture black."""
    low, high = points.min(axis=1), points.max(axis=1)  # (T, 2)
    extents = np.maximum((high - low).max(axis=1), 1.0) * _ROOM
    squares = []
    for frame, centre, extent in zip(frames, (low + high) / 2, extents, strict=True):
        scale = side / extent
        corner = centre - extent / 2 - (0.0, _UP * extent)
        matrix = np.array([[scale, 0.0, -scale * corner[0]], [0.0, scale, -scale * corner[1]]])
        squares.append(cv2.warpAffine(np.ascontiguousarray(frame), matrix, (side, side), flags=cv2.INTER_LINEAR))
    return np.asarray(np.stack(squares), np.uint8)
