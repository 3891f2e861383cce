"""The mouth of a video, upright, of one size and steady: what lip readers look at (hicodit.md B.1 and B.5).

Frames without landmarks are filled in; a similarity transform brings five steady points of the face, averaged over
twelve frames, to a mean face; a square around the frame's own mouth is cut out and made grey. After
``facebookresearch/av_hubert: avhubert/preparation/align_mouth.py``; the mean face's points are those of
``mpc001/Lipreading_using_Temporal_Convolutional_Networks: preprocessing/20words_mean_face.npy``.

The official way warps the whole picture to 256x256 and cuts then; here only the pixels of the square are computed,
which are the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.systems.hicodit.landmarks import MOUTH, Frames, Points

Picture = NDArray[np.uint8]  # (H, W, 3)
Matrix = NDArray[np.float64]  # (2, 3)

_FULL_SCALE = 255
_OF_FULL_SCALE = np.arange(_FULL_SCALE + 1) * (1.0 / _FULL_SCALE)  # as scikit-image turns pixels into numbers


@dataclass(frozen=True)
class CropConfig:
    """``stable``: the points of 68 that are aligned, ``mean_face`` (5, 2) where they go on a canvas of ``canvas``
    pixels; ``window`` frames are averaged; ``size``: side of the square, even.
    """

    size: int = 96
    canvas: int = 256
    window: int = 12
    stable: tuple[int, ...] = (33, 36, 39, 42, 45)
    mean_face: Points = field(
        default_factory=lambda: np.array(
            [
                [128.87017961, 137.30253356],
                [92.52245553, 94.36876014],
                [112.77241724, 94.94360870],
                [145.52511509, 94.53499862],
                [166.67710071, 93.56562296],
            ]
        )
    )


DEFAULT = CropConfig()


@dataclass(frozen=True)
class CropPlan:
    """Where the squares of F frames are: ``matrices`` (F, 2, 3) from the frame to the canvas, ``corners`` (F, 2) x, y
    of their left upper pixels there; ``lost``: frames whose landmarks were filled in.
    """

    matrices: NDArray[np.float64]
    corners: NDArray[np.int64]
    size: int
    lost: int

    def __len__(self) -> int:
        return len(self.matrices)

    def cut(self, frame: Picture, index: int) -> Picture:
        """The square (size, size, 3) of frame ``index``, in the colours of ``frame``; 0 beyond the picture."""
        return _sampled(frame, self.matrices[index], self.corners[index], self.size)


def plan_crops(points: Points, config: CropConfig = DEFAULT) -> CropPlan:
    """Where to cut a video with the landmarks ``points`` (F, 68, 2), NaN in frames without a face.

    Raises:
        Unscorable: ``no_face``, no frame has landmarks.
    """
    lost = int(np.isnan(points).any(axis=(1, 2)).sum())
    whole = filled(points)
    matrices = _matrices(whole, config)
    mouths = whole[:, MOUTH].mean(axis=1)  # (F, 2)
    centres = np.einsum("fij,fj->fi", matrices[:, :, :2], mouths) + matrices[:, :, 2]
    half = config.size // 2
    corners = np.rint(np.clip(centres, half, config.canvas - half)).astype(np.int64) - half
    return CropPlan(matrices, corners, config.size, lost)


def filled(points: Points) -> Points:
    """``points`` without NaN: on straight lines between the frames around them, the nearest ones at the ends.

    Raises:
        Unscorable: ``no_face``, there is no frame to begin with.
    """
    known = ~np.isnan(points).any(axis=(1, 2))
    if not known.any():
        raise Unscorable("no_face", f"no face with a mouth in any of {len(points)} frames")
    every = np.arange(len(points))
    columns = points.reshape(len(points), -1).T
    lines = [np.interp(every, every[known], column[known]) for column in columns]
    return np.stack(lines, axis=1).reshape(points.shape)


def _matrices(points: Points, config: CropConfig) -> NDArray[np.float64]:
    """(F, 2, 3): each frame's transform is that of the mean of the window that begins with it; the last frames, which
    begin none, have the last window's.
    """
    window = min(config.window, len(points))
    stable = points[:, list(config.stable)]
    starts = range(len(points) - window + 1)
    found = [similarity(stable[at : at + window].mean(axis=0), config.mean_face) for at in starts]
    return np.array(found + [found[-1]] * (window - 1))


def similarity(source: Points, target: Points) -> Matrix:
    """Rotation, one scale and shift (2, 3) that bring ``source`` (N, 2) nearest to ``target``, by least squares.

    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991. Never a
    reflection; points that all coincide are only shifted.
    """
    means = source.mean(axis=0), target.mean(axis=0)
    a, b = source - means[0], target - means[1]
    u, singular, vt = np.linalg.svd(b.T @ a / len(a))
    signs = np.array([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1.0])
    variance = float(a.var(axis=0).sum())
    scale = float(singular @ signs) / variance if variance > 0 else 1.0
    turned = scale * ((u * signs) @ vt)
    return np.hstack([turned, (means[1] - turned @ means[0])[:, None]])


def _sampled(frame: Picture, matrix: Matrix, corner: NDArray[np.int64], size: int) -> Picture:
    """Pixels ``corner`` to ``corner + size`` of ``frame`` under ``matrix``: bilinear, 0 outside, truncated."""
    back = np.linalg.inv(matrix[:, :2])
    column, row = np.meshgrid(corner[0] + np.arange(size), corner[1] + np.arange(size))
    places = np.stack([column - matrix[0, 2], row - matrix[1, 2]], axis=-1) @ back.T  # (size, size, 2) x, y
    whole = np.floor(places)
    share = places - whole
    taps = [_tap(whole[..., axis], share[..., axis], frame.shape[1 - axis]) for axis in (0, 1)]
    value = np.zeros((size, size, frame.shape[2]))
    for x, in_x in taps[0]:
        for y, in_y in taps[1]:
            value += (in_x * in_y)[..., None] * _OF_FULL_SCALE[frame[y, x]]
    # weights that sum to one but for rounding must not make 254 of 255
    return np.asarray(np.clip(value * _FULL_SCALE + 1e-9, 0, _FULL_SCALE), np.uint8)


def _tap(
    whole: NDArray[np.float64], share: NDArray[np.float64], length: int
) -> Sequence[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """The two pixels beside each place along one axis: where, and with which weight, which is 0 outside."""
    found = []
    for at, weight in ((whole, 1.0 - share), (whole + 1, share)):
        inside = (at >= 0) & (at < length)
        found.append((np.where(inside, at, 0).astype(np.intp), np.where(inside, weight, 0.0)))
    return found


def grey(crops: Frames) -> NDArray[np.uint8]:
    """RGB squares (n, S, S, 3) in grey (n, S, S), as OpenCV weighs the colours."""
    return np.stack([np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8) for crop in crops])


def shrunk(crops: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Grey squares (n, S, S) by area averaging in (n, side, side)."""
    resized = [cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) for crop in crops]
    return np.asarray(np.stack(resized), np.uint8)


@dataclass(frozen=True)
class LipInput:
    """What AV-HuBERT sees of a grey square: its middle of ``side`` pixels, with this mean and deviation."""

    side: int = 88
    mean: float = 0.421
    deviation: float = 0.165

    def of(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Grey squares (n, S, S) as (n, side, side) float32."""
        offset = round((crops.shape[1] - self.side) / 2)
        middle = crops[:, offset : offset + self.side, offset : offset + self.side]
        scaled = (middle / np.float32(_FULL_SCALE) - np.float32(self.mean)) / np.float32(self.deviation)
        return np.asarray(scaled, np.float32)
