"""What a generator sees of a picture, and what becomes of the picture that it makes.

:class:`Whole`: the official way, the whole picture, squeezed; :class:`Restored` brings what is made of it back to the
picture's own size, since metrics compare frames of one size. :class:`FaceView`: a square around the face, and the made
face pasted back; so the small generator, which has only learned faces cut like that, also moves others.

Boxes are x1, y1, x2, y2 in pixels, the ends outside; they may reach beyond the picture.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.faces.detect import Detect
from bench.faces.paste import paste

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Box = tuple[int, int, int, int]

#: Side of a picture of the demo corpus, the square in it that its generator learns from (talker.md 14.2), and the box
#: that dlib puts around its faces (the same one in nine clips of ten), in pixels.
DEMO_SIDE = 224
DEMO_VIEW: Box = (32, 52, 192, 212)
_DEMO_FACE: Box = (55, 80, 164, 188)
#: A face counts as placed like that if its centre is at most so many sides away, and its side at most so many times
#: larger or smaller. dlib's boxes move in steps of a ninth of a side, and grow by steps of a fifth.
_NEAR, _ALIKE = 0.17, 1.25
_FEATHER = 10 / 160  # of the view's side: how far the picture goes over into the made face


class View(Protocol):
    """Where to look, and what to make of the result."""

    def box(self, picture: Picture) -> Box:
        """What the network sees of all pictures of a video, by its first one."""
        ...

    def finished(self, picture: Picture, box: Box, made: Picture) -> Picture:
        """The frame to show: ``made`` (S, S, 3) is the network's picture of ``box``."""
        ...


class Whole:
    """The whole picture; what is made of it is shown as it is, as ``zhenye234/Talker-T2AV: infer.py`` does."""

    def box(self, picture: Picture) -> Box:
        """All of it."""
        return 0, 0, picture.shape[1], picture.shape[0]

    def finished(self, picture: Picture, box: Box, made: Picture) -> Picture:
        """``made`` itself."""
        return made


class Restored(Whole):
    """The whole picture; what is made of it gets the picture's own width and height, by areas where it shrinks and
    bicubically where it grows."""

    def finished(self, picture: Picture, box: Box, made: Picture) -> Picture:
        """``made`` in the size of ``picture``."""
        height, width = picture.shape[:2]
        shrinks = height <= made.shape[0] and width <= made.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(made, (width, height), interpolation=how), np.uint8)


class FaceView:
    """A square around the most certain face.

    A face that stands in a square picture as those of the demo corpus do is seen through the corpus' own square, to
    the pixel as in training. Any other face is seen through a square that lies about its box as that one about theirs.
    """

    def __init__(self, detect: Detect) -> None:
        self._detect = detect

    def box(self, picture: Picture) -> Box:
        """See :class:`FaceView`.

        Raises:
            Unscorable: ``no_face``.
        """
        faces = self._detect(picture[None])[0]
        if not len(faces):
            raise Unscorable("no_face", "no face in the first frame")
        return view_of(np.asarray(faces[0][:4], np.float64), (picture.shape[0], picture.shape[1]))

    def finished(self, picture: Picture, box: Box, made: Picture) -> Picture:
        """The made face, enlarged bicubically, in the picture, with a soft edge."""
        x1, y1, x2, y2 = box
        side = x2 - x1
        face = np.asarray(cv2.resize(made, (side, y2 - y1), interpolation=cv2.INTER_CUBIC), np.uint8)
        left, top = max(0, x1), max(0, y1)
        right, bottom = min(picture.shape[1], x2), min(picture.shape[0], y2)
        frame = picture.copy()
        inside = face[top - y1 : bottom - y1, left - x1 : right - x1]
        paste(frame, inside, (left, top, right, bottom), max(1, round(_FEATHER * side)))
        return frame


def view_of(face: NDArray[np.float64], size: tuple[int, int]) -> Box:
    """The square to look through at the face in the box ``face`` (4,) of a picture of ``size`` (height, width)."""
    centre, side = _centre(face)
    home_centre, home_side = _centre(np.array(_DEMO_FACE, np.float64))
    if size[0] == size[1]:
        scale = size[1] / DEMO_SIDE
        away = np.abs(centre - scale * home_centre).max() / (scale * home_side)
        larger = side / (scale * home_side)
        if away <= _NEAR and 1 / _ALIKE <= larger <= _ALIKE:
            x1, y1, x2, y2 = (round(scale * edge) for edge in DEMO_VIEW)
            return x1, y1, x2, y2
    view_centre, view_side = _centre(np.array(DEMO_VIEW, np.float64))
    wide = max(1, round(view_side / home_side * side))
    x, y = (centre + (view_centre - home_centre) / home_side * side - wide / 2).round().astype(int).tolist()
    return x, y, x + wide, y + wide


def seen(picture: Picture, box: Box, size: int) -> Picture:
    """What lies in ``box``, by area averaging in (size, size, 3); beyond the picture its edge goes on."""
    x1, y1, x2, y2 = box
    height, width = picture.shape[:2]
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        rows, columns = np.clip(np.arange(y1, y2), 0, height - 1), np.clip(np.arange(x1, x2), 0, width - 1)
        cut = picture[rows[:, None], columns]
    else:
        cut = picture[y1:y2, x1:x2]
    resized = cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def _centre(box: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Its middle x, y and the mean of its sides."""
    return (box[:2] + box[2:]) / 2.0, float((box[2:] - box[:2]).mean())
