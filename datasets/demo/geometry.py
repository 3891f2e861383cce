"""The portrait in numbers, and where its points go: identity, pose, brows, jaw.

Units: px are pixels of the 224×224 frame, x to the right, y down, (0, 0) the centre of the first
pixel; "portrait" coordinates are pixels of scikit-image's astronaut picture. Points were measured
once (dlib on an enlarged picture; the mouth by hand) and are constants, so making the corpus needs
no landmark detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.datasets.demo.head import HeadMotion
    from bench.datasets.demo.speakers import Identity

    Points = NDArray[np.float64]  # (..., 2) x, y

SIZE = 224  # px, side of a frame
IOD = 50.0  # px between the eye centres of the portrait in the frame: the unit of face lengths
WINDOW_X, WINDOW_Y, WINDOW_SIDE = 127, 12, 194  # portrait pixels: the whole head with hair and collar
SCALE = SIZE / WINDOW_SIDE
MARGIN = 48  # px of texture around the frame, more than any warp of the recipe reaches

_JAW = (
    *((179.3, 103.0), (179.7, 114.7), (180.3, 126.0), (181.3, 137.3), (184.3, 149.3), (190.7, 159.7), (199.7, 168.0)),
    *((209.0, 175.7), (220.3, 178.3), (232.7, 176.7), (243.7, 170.7), (253.7, 162.7), (260.7, 153.0), (265.0, 141.7)),
    *((268.0, 130.3), (270.3, 118.7), (271.7, 107.0)),
)
_BROWS = (
    *((186.3, 94.3), (192.0, 88.3), (200.3, 87.0), (209.0, 88.7), (216.7, 92.3)),
    *((235.7, 93.7), (243.7, 91.0), (252.0, 90.7), (260.0, 92.3), (265.3, 98.7)),
)
_NOSE = (
    *((225.7, 102.3), (225.3, 110.7), (225.3, 118.7), (225.0, 127.3)),
    *((214.3, 131.0), (219.0, 132.3), (224.0, 134.3), (229.3, 133.0), (234.3, 131.7)),
)
_EYES = (
    *((195.0, 101.0), (200.3, 97.7), (207.0, 98.3), (212.7, 103.7), (206.0, 104.3), (199.7, 103.7)),
    *((237.7, 105.0), (243.7, 100.3), (250.0, 100.3), (255.3, 104.0), (250.0, 106.3), (243.7, 106.0)),
)
_HAIR = ((224, 15), (180, 28), (268, 28), (150, 62), (303, 62), (160, 110), (290, 112))
_NECK = ((196, 186), (252, 186))
_CORNERS = ((203.7, 139.5), (243.8, 140.3))
_UPPER_TOP = (
    *((209.2, 138.4), (213.9, 138.5), (218.6, 138.8), (223.7, 139.9), (228.8, 139.2), (234.3, 139.0), (239.0, 139.2)),
)
_UPPER_BOTTOM = (
    *((208.4, 140.4), (213.9, 141.7), (218.6, 143.1), (223.7, 143.7), (228.8, 143.2), (234.3, 142.2), (239.8, 140.9)),
)
_LOWER_TOP = (
    *((208.4, 145.1), (213.1, 147.8), (217.8, 149.4), (223.7, 149.8), (229.6, 149.2), (235.1, 147.2), (239.0, 144.3)),
)
_LOWER_BOTTOM = (
    *((207.6, 147.3), (212.3, 151.3), (217.8, 153.8), (223.7, 154.4), (229.6, 153.8), (235.1, 150.9), (239.8, 146.9)),
)
_MOUTH_DROP = 3.0  # px from the middle of the corners to where closed lips meet
_FIXED = (-14.0, 40.0, 112.0, 184.0, 238.0)  # px: the border of this 5×5 grid stays where it is

#: Landmarks (of 0–47) that control the warp: outline, six of the brows, six of the nose, the eyes.
CONTROLS = (*range(17), 17, 19, 21, 22, 24, 26, 27, 29, 30, 31, 33, 35, *range(36, 48))
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
LEFT_BROW, RIGHT_BROW, BROWS = slice(17, 22), slice(22, 27), slice(17, 27)
JAW, NOSE, NOSTRILS = slice(0, 17), slice(27, 36), slice(31, 36)
CHIN, NOSE_ROOT, NOSTRIL_MIDDLE = 8, 27, 33
ROLL_PIVOT = 25.0  # px below the chin
NECK_FOLLOWS = 0.4  # of dx and dy
MOUTH_DEPTH, HAIR_DEPTH = 0.72, -0.1


def to_frame(points: object) -> Points:
    """Portrait pixels -> frame px."""
    portrait = np.asarray(points, dtype=np.float64)
    return (portrait - (WINDOW_X, WINDOW_Y) + 0.5) * SCALE - 0.5


@dataclass(frozen=True)
class Face:
    """Points of a face at rest, in px.

    ``landmarks`` 0–47 (48, 2), ``hair`` (7, 2), ``neck`` (2, 2), ``mouth`` its centre (2,).
    """

    landmarks: Points
    hair: Points
    neck: Points
    mouth: Points


@dataclass(frozen=True)
class Lips:
    """Mouth contour in px: ``corners`` (…, 2, 2), each curve (…, 7, 2) from the picture's left to its right."""

    corners: Points
    upper_top: Points
    upper_bottom: Points
    lower_top: Points
    lower_bottom: Points

    def frame(self, index: int) -> Lips:
        """The contour of one frame of a clip's contours."""
        return Lips(
            self.corners[index],
            self.upper_top[index],
            self.upper_bottom[index],
            self.lower_top[index],
            self.lower_bottom[index],
        )

    def upper(self) -> Points:
        """Corners and the curves of the upper lip (…, 16, 2)."""
        return np.concatenate([self.corners, self.upper_top, self.upper_bottom], axis=-2)

    def lower(self) -> Points:
        """Corners and the curves of the lower lip (…, 16, 2)."""
        return np.concatenate([self.corners, self.lower_top, self.lower_bottom], axis=-2)

    def landmarks(self) -> Points:
        """The 20 mouth points (…, 20, 2) in the order of landmarks 48–67."""
        left, right = self.corners[..., :1, :], self.corners[..., 1:, :]
        outer = [left, self.upper_top[..., 1:6, :], right, self.lower_bottom[..., 5:0:-1, :]]
        inner = [left, self.upper_bottom[..., 2:5, :], right, self.lower_top[..., 4:1:-1, :]]
        return np.concatenate([*outer, *inner], axis=-2)


@lru_cache(maxsize=1)
def portrait_face() -> Face:
    """The portrait's own points."""
    corners = to_frame(_CORNERS)
    landmarks = to_frame((*_JAW, *_BROWS, *_NOSE, *_EYES))
    return Face(landmarks, to_frame(_HAIR), to_frame(_NECK), corners.mean(axis=0) + np.array([0.0, _MOUTH_DROP]))


@lru_cache(maxsize=1)
def portrait_lips() -> Lips:
    """The portrait's smiling mouth, with its lips apart."""
    curves = (_CORNERS, _UPPER_TOP, _UPPER_BOTTOM, _LOWER_TOP, _LOWER_BOTTOM)
    return Lips(*(to_frame(curve) for curve in curves))


@lru_cache(maxsize=1)
def fixed_points() -> Points:
    """The 16 points that hold the border of the frame (16, 2)."""
    edge = (_FIXED[0], _FIXED[-1])
    return np.array([(x, y) for y in _FIXED for x in _FIXED if x in edge or y in edge])


def common_points(face: Points, hair: Points, neck: Points) -> Points:
    """The 66 control points beside the mouth, from landmarks (…, 48, 2), hair (…, 7, 2) and neck (…, 2, 2)."""
    fixed = np.broadcast_to(fixed_points(), (*face.shape[:-2], 16, 2))
    return np.concatenate([face[..., CONTROLS, :], hair, neck, fixed], axis=-2)


def identity_face(identity: Identity) -> Face:
    """The face at rest of a speaker."""
    base = portrait_face()
    points = base.landmarks.copy()
    for eye, brow, side in ((LEFT_EYE, LEFT_BROW, -1.0), (RIGHT_EYE, RIGHT_BROW, 1.0)):
        centre = points[eye].mean(axis=0)
        points[eye] = centre + (points[eye] - centre) * (identity.eyesize**0.5, identity.eyesize)
        points[eye, 0] += side * identity.eyes / 2 * IOD
        points[brow, 0] += side * 0.8 * identity.eyes / 2 * IOD
    points[BROWS, 1] -= identity.brow * IOD
    points[JAW] = _outline(points[JAW], identity, float(points[NOSE_ROOT, 0]))
    nostrils = points[NOSTRILS, 0]
    points[NOSTRILS, 0] = points[NOSTRIL_MIDDLE, 0] + (nostrils - points[NOSTRIL_MIDDLE, 0]) * identity.nosew
    points[NOSE, 1] += identity.nose * IOD * np.array([0.0, 0.35, 0.7, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    down = 0.75 * identity.nose + 0.35 * max(identity.chin, 0.0) + identity.mouthy
    root = base.landmarks[NOSE_ROOT]
    hair = root + (base.hair - root) * identity.hair
    return Face(points, hair, base.neck, base.mouth + np.array([0.0, down * IOD]))


def _outline(jaw: Points, identity: Identity, middle: float) -> Points:
    """Landmarks 0–16 with another width of jaw and cheeks and another length of chin."""
    u = np.arange(-8, 9) / 8.0
    jaw_part = np.clip(1.0 - np.abs(np.abs(u) - 0.45) / 0.55, 0.0, None)
    cheek_part = np.clip(2.0 * np.abs(u) - 1.0, 0.0, None)
    widened = jaw.copy()
    widened[:, 0] = middle + (jaw[:, 0] - middle) * (1.0 + identity.jaw * jaw_part + identity.cheek * cheek_part)
    widened[:, 1] += identity.chin * IOD * np.cos(u * np.pi / 2) ** 2
    return widened


@lru_cache(maxsize=1)
def landmark_depth() -> NDArray[np.float64]:
    """How far yaw and pitch move each of landmarks 0–47, the nose tip being 1 (48,)."""
    depth = np.full(48, 0.5)  # brows and eyes
    depth[JAW] = 0.15 + 0.45 * np.exp(-(((np.arange(17) - 8) / 3.5) ** 2))
    depth[NOSE] = (0.55, 0.72, 0.9, 1.0, 0.8, 0.8, 0.8, 0.8, 0.8)
    return depth


class Posing:
    """Moves points of a face by the pose of every frame (T, 5): dx, dy, roll, yaw, pitch."""

    def __init__(self, face: Face, pose: NDArray[np.float64]) -> None:
        self._pivot = face.landmarks[CHIN] + np.array([0.0, ROLL_PIVOT])
        self._shift = pose[:, None, :2]
        self._turn = pose[:, None, 3:5]
        angle = np.deg2rad(pose[:, 2])
        self._cos, self._sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def head(self, points: Points, depth: float | NDArray[np.float64]) -> Points:
        """Points of the head (N, 2) or (T, N, 2), at ``depth`` (scalar or (N,)) -> (T, N, 2)."""
        depths = np.broadcast_to(np.asarray(depth, dtype=np.float64), points.shape[-2:-1])[:, None]
        arm = points + self._turn * depths - self._pivot
        x = self._cos * arm[..., 0] - self._sin * arm[..., 1]
        y = self._sin * arm[..., 0] + self._cos * arm[..., 1]
        moved: Points = np.stack([x, y], axis=-1) + self._pivot + self._shift
        return moved

    def neck(self, points: Points) -> Points:
        """Points of the neck (N, 2) -> (T, N, 2)."""
        return points + NECK_FOLLOWS * self._shift


@dataclass(frozen=True)
class Targets:
    """Where the points are in every frame, px: ``common`` (T, 66, 2), ``landmarks`` (T, 48, 2), ``lips``."""

    common: Points
    landmarks: Points
    lips: Lips


def frame_targets(face: Face, lips: Lips, jaw: NDArray[np.float64], motion: HeadMotion) -> Targets:
    """Targets of all frames.

    ``lips`` (T, …) is relative to the mouth centre; ``jaw`` (T,) is the drop of the jaw in IOD.
    """
    posing = Posing(face, motion.pose)
    points = np.repeat(face.landmarks[None], motion.pose.shape[0], axis=0)
    points[:, BROWS, 1] -= motion.brow[:, None] * IOD
    u = np.arange(17) - 8.0
    points[:, JAW, 1] += jaw[:, None] * IOD * np.exp(-((u / 4.2) ** 4))
    inwards = 0.10 * jaw[:, None] * IOD * np.exp(-(((np.abs(u) - 5.0) / 2.5) ** 2))
    points[:, JAW, 0] -= np.sign(u) * inwards
    landmarks = posing.head(points, landmark_depth())
    common = common_points(landmarks, posing.head(face.hair, HAIR_DEPTH), posing.neck(face.neck))
    curves = (lips.corners, lips.upper_top, lips.upper_bottom, lips.lower_top, lips.lower_bottom)
    posed = Lips(*(posing.head(curve + face.mouth, MOUTH_DEPTH) for curve in curves))
    return Targets(common, landmarks, posed)
