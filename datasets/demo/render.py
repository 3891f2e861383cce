"""Draws a frame: the warped portrait, blinks, lips, the inside of the mouth, the speaker's colours."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from bench.datasets.demo import geometry, mouth, warp
from bench.datasets.demo.geometry import IOD, MARGIN, SCALE, SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bench.datasets.demo.geometry import Lips, Points, Targets
    from bench.datasets.demo.speakers import Identity

    Floats = NDArray[np.float32]

LIP_TINT = (0.93, 0.70, 0.72)  # so that landmarks and eyes find the lips
INSIDE = (52.0, 18.0, 18.0)
TONGUE = (150.0, 70.0, 68.0)
TEETH = (226.0, 214.0, 204.0)
JOINT = (92.0, 44.0, 40.0)
JOINT_WIDTH = 1.1  # px
JOINT_GAP = 0.06  # IOD: above it the lips are apart and there is no joint line
#: px by which drawn areas are taller on both sides than their curves: what an antialiased polygon
#: adds, and what landmark detectors need to see openings of this size.
LIPS_GROW, INSIDE_GROW, TEETH_GROW, JOINT_GROW = 0.9, 0.5, 0.9, 0.3
TONGUE_SHARE = 0.34  # of the opening, from below
LID_TRAVEL = 0.88  # of the eye's height at full closure
LASHES = (2.5, 2.0)  # px above and below the lid line that move with it as they are
LID_FADE = 5.0  # px at the sides of a blink
BROW_CLEARANCE = 3.0  # px below the brow that a blink leaves alone
_CURVE = 25  # points of a lip curve when drawn


@lru_cache(maxsize=1)
def texture() -> NDArray[np.uint8]:
    """The portrait as the frame shows it at rest, with 48 px more on all sides (320, 320, 3)."""
    import skimage.data

    side = SIZE + 2 * MARGIN
    # texture pixel -> portrait pixel, the inverse of geometry.to_frame
    x0 = (0.5 - MARGIN) / SCALE - 0.5 + geometry.WINDOW_X
    y0 = (0.5 - MARGIN) / SCALE - 0.5 + geometry.WINDOW_Y
    matrix = np.array([[1 / SCALE, 0.0, x0], [0.0, 1 / SCALE, y0]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    load: Callable[[], NDArray[np.uint8]] = skimage.data.astronaut
    return np.asarray(
        cv2.warpAffine(load(), matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT), dtype=np.uint8
    )


@lru_cache(maxsize=1)
def _curve_matrix() -> NDArray[np.float64]:
    """Cubic spline from the 9 points of a lip curve (corners included) to 25 (25, 9)."""
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(np.linspace(-1, 1, 9), np.eye(9))(np.linspace(-1, 1, _CURVE)))


class _Patch:
    """The part of the frame around the mouth, in which everything of the mouth is drawn."""

    def __init__(self, lips: Lips) -> None:
        points = np.concatenate([lips.upper(), lips.lower()])
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 8, 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 9, SIZE)
        self._box = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        self.x = np.arange(low[0], high[0], dtype=np.float64)
        self._y = np.arange(low[1], high[1], dtype=np.float64)[:, None]

    def mask(self, top: Points, bottom: Points, sigma: float, grow: float = 0.0) -> Floats:
        """Coverage 0 … 1 of the area between two curves (n, 2), softened by a Gaussian (h, w, 1).

        ``grow`` moves the curves apart, both by so many px.

        Curves run from left to right and end where the mouth ends. Coverage is exact along y, so
        that nearly level edges have no steps.
        """
        upper = np.interp(self.x, top[:, 0], top[:, 1]) - grow
        lower = np.interp(self.x, bottom[:, 0], bottom[:, 1]) + grow
        covered = np.clip(np.minimum(lower, self._y + 0.5) - np.maximum(upper, self._y - 0.5), 0.0, 1.0)
        across = np.minimum(self.x + 0.5, top[-1, 0]) - np.maximum(self.x - 0.5, top[0, 0])
        mask = (covered * np.clip(across, 0.0, 1.0)).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), dtype=np.float32)[..., None]

    def of(self, frame: NDArray[Any]) -> NDArray[Any]:
        """The view of ``frame`` that the patch covers."""
        return frame[self._box]


def _blend(picture: Floats, colour: tuple[float, float, float], opacity: Floats) -> Floats:
    """``colour`` laid over ``picture`` (h, w, 3)."""
    return picture + (np.array(colour, np.float32) - picture) * opacity


def _smooth(lips: Lips, curve: Points) -> Points:
    """A lip curve with its corners as 25 points."""
    smooth: Points = _curve_matrix() @ np.concatenate([lips.corners[:1], curve, lips.corners[1:]])
    return smooth


def draw_mouth(frame: NDArray[np.uint8], lips: Lips, state: NDArray[np.float64]) -> None:
    """Tint the lips and draw what lies between them, in place; ``state`` (6,), ``lips`` of one frame in px."""
    patch = _Patch(lips)
    picture = patch.of(frame).astype(np.float32)
    upper, lower = _smooth(lips, lips.upper_bottom), _smooth(lips, lips.lower_top)
    tint = np.array(LIP_TINT, np.float32)
    outline = _smooth(lips, lips.upper_top), _smooth(lips, lips.lower_bottom)
    picture *= 1 + (tint - 1) * patch.mask(*outline, 1.1, LIPS_GROW)
    gap = float(state[mouth.GAP])
    content = _inside_of_mouth(patch, picture.shape, lips, upper, lower, state)
    picture += (content - picture) * patch.mask(upper, lower, 0.6, INSIDE_GROW * min(1.0, gap / JOINT_GAP))
    if gap < JOINT_GAP:
        middle = (upper + lower) / 2
        half = np.array([0.0, JOINT_WIDTH / 2])
        line = patch.mask(middle - half, middle + half, 0.4, JOINT_GROW)
        picture = _blend(picture, JOINT, line * np.float32(0.75 * (1 - gap / JOINT_GAP)))
    patch.of(frame)[:] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _inside_of_mouth(
    patch: _Patch, shape: tuple[int, ...], lips: Lips, upper: Points, lower: Points, state: NDArray[np.float64]
) -> Floats:
    """Colours between the lips (h, w, 3): the dark, the tongue low in it, the upper teeth."""
    picture = np.empty(shape, np.float32)
    picture[:] = INSIDE
    gap, teeth = float(state[mouth.GAP]), float(state[mouth.TEETH])
    opening = lower - upper
    if gap > JOINT_GAP:
        left, right = lips.corners[:, 0]
        t = (patch.x - (left + right) / 2) / ((right - left) / 2)
        opacity = 0.75 * min(1.0, (gap - JOINT_GAP) / 0.12) * np.clip(1.0 - t * t, 0.0, 1.0)
        below = lower + np.array([0.0, 3.0])  # hidden by the lip: the blur must not fade the tongue at its foot
        tongue = patch.mask(lower - TONGUE_SHARE * opening, below, 1.5)
        picture = _blend(picture, TONGUE, tongue * opacity.astype(np.float32)[None, :, None])
    across = np.linspace(-1, 1, _CURVE)
    height = np.minimum((0.020 + 0.060 * teeth) * IOD, 0.62 * np.maximum(opening[:, 1], 0.0))
    height *= np.clip(1.25 - 1.1 * across**2, 0.0, 1.0)
    edge = upper + np.stack([np.zeros(_CURVE), height], axis=1)
    behind = upper - np.array([0.0, 2.0])  # behind the upper lip, so that no dark line shows above the teeth
    grow = TEETH_GROW * min(1.0, 2 * teeth) ** 2  # thin where they are faint, or they look like a grey lip
    shown = np.float32(0.9 * min(1.0, 2 * teeth) * min(1.0, gap / 0.05))
    return _blend(picture, TEETH, patch.mask(behind, edge, 0.5, grow) * shown)


def close_lids(field: NDArray[np.float64], landmarks: Points, closed: float) -> None:
    """Draw the lids down in a map (2, 224, 224), in place, by ``closed`` 0 … 1.

    Not a matter of the spline (moving its lid points drags the brows along): in the box between
    brow and lower lid each column is stretched down to the lid line; the lashes move with it, and
    what they have not reached of the eye stays as it is.
    """
    for eye, brow in (
        (geometry.LEFT_EYE, geometry.LEFT_BROW),
        (geometry.RIGHT_EYE, geometry.RIGHT_BROW),
    ):
        _close_lid(field, landmarks[eye], landmarks[brow], closed)


def lid_line(eye: Points, x: NDArray[np.float64], closed: float) -> tuple[NDArray[np.float64], ...]:
    """(upper lid, lower lid, upper lid when closed by ``closed``): y at columns ``x`` for six eye points."""
    upper = np.interp(x, eye[[0, 1, 2, 3], 0], eye[[0, 1, 2, 3], 1])
    lower = np.interp(x, eye[[0, 5, 4, 3], 0], eye[[0, 5, 4, 3], 1])
    return upper, lower, upper + LID_TRAVEL * closed * np.maximum(lower - upper, 0.0)


def _close_lid(field: NDArray[np.float64], eye: Points, brow: Points, closed: float) -> None:
    """One eye of :func:`close_lids`."""
    x0, x1 = int(np.floor(eye[0, 0] - LID_FADE)), int(np.ceil(eye[3, 0] + LID_FADE)) + 1
    x = np.arange(x0, x1, dtype=np.float64)
    upper, lower, lid = lid_line(eye, x, closed)
    open_edge, edge_now = upper - LASHES[0], lid - LASHES[0]
    top = np.minimum(np.interp(x, brow[:, 0], brow[:, 1]) + BROW_CLEARANCE, open_edge - 2.0)
    y0, y1 = int(np.floor(top.min())), int(np.ceil(lower.max())) + 1
    y = np.arange(y0, y1, dtype=np.float64)[:, None]
    skin = top + (y - top) * (open_edge - top) / (edge_now - top)
    lashes = upper + y - lid
    beneath = np.clip(y - lid - LASHES[1] + 0.5, 0.0, 1.0)
    moved = np.where(y < edge_now, skin, lashes + (y - lashes) * beneath)
    moved = np.where((y < top) | (y > np.maximum(lower, lid + LASHES[1])), y, moved)
    edge = np.clip(np.minimum(x - x0, x1 - 1 - x) / LID_FADE, 0.0, 1.0)
    moved = y + (moved - y) * edge
    box_y, box_x = slice(y0, y1), slice(x0, x1)
    row = np.clip(moved, 0.0, SIZE - 1.001)
    base = row.astype(np.intp)
    part = row - base
    columns = np.broadcast_to(np.arange(x0, x1), base.shape)
    field[:, box_y, box_x] = field[:, base, columns] * (1 - part) + field[:, base + 1, columns] * part


class Renderer:
    """Draws the frames of one speaker."""

    def __init__(self, identity: Identity) -> None:
        base = geometry.portrait_face()
        common = geometry.common_points(base.landmarks, base.hair, base.neck)
        self._warper = warp.Warper(common, geometry.portrait_lips())
        levels = (np.arange(256) / 255.0)[:, None] ** identity.gamma * np.array(identity.gain) * 255.0
        self._levels = levels.astype(np.float32)[None]  # (1, 256, 3)
        place = np.arange(SIZE) / SIZE - 0.5
        light = 1 + identity.light[0] * place[None, :] + identity.light[1] * place[:, None]
        self._light = np.repeat(light[..., None], 3, axis=2).astype(np.float32)

    def frame(self, targets: Targets, index: int, state: NDArray[np.float64], closed: float) -> NDArray[np.uint8]:
        """Frame ``index`` of ``targets`` (224, 224, 3) RGB; ``state`` (6,) of the mouth, ``closed`` of the lids."""
        lips = targets.lips.frame(index)
        field = self._warper.map(targets.common[index], lips)
        if closed > 0:
            close_lids(field, targets.landmarks[index], closed)
        x, y = (field + MARGIN).astype(np.float32)
        picture = np.asarray(cv2.remap(texture(), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), dtype=np.uint8)
        draw_mouth(picture, lips, state)
        return self._colour(picture)

    def _colour(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The speaker's gain, gamma and light."""
        lit = cv2.multiply(cv2.LUT(picture, self._levels), self._light)
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)
