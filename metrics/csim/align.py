"""Faces brought to ArcFace's position: five points, a similarity transform, a warp (metrics.md 8).

S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991;
use as in ``deepinsight/insightface: python-package/insightface/utils/face_align.py``. The five points are
those of insightface's detectors (eyes, nose, mouth corners, in the picture's left-right order), taken
from dlib's 68. Points are (x, y) in pixels of the picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.metrics.pictures import Picture

Points = NDArray[np.floating[Any]]  # (N, 2)
Matrix = NDArray[np.float64]  # (2, 3)

CENTRE, HALF = 0.5, 0.5  # of the scale [0, 1]: what the networks see is (x / 255 - 0.5) / 0.5
FULL_SCALE = 255.0


@dataclass(frozen=True)
class Alignment:
    """Where the five points of a face go. ``groups``: per point the dlib points whose mean it is."""

    template: Points
    size: int  # px, height and width of an aligned face
    groups: tuple[slice, ...]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Alignment:
        """The alignment of ``csim/arcface-r100@1`` and its like.

        Raises:
            ValueError: template and five points do not fit together.
        """
        template = np.array(parameters["template"], dtype=np.float64)
        groups = point_groups(parameters["five_points"])
        if template.shape != (len(groups), 2):
            raise ValueError(f"{len(groups)} points, but a template of shape {template.shape}")
        return cls(template, int(parameters["size"]), groups)

    def points(self, landmarks: NDArray[Any]) -> Points:
        """The points (N, 2) of 68 landmarks (68, 2)."""
        whole = landmarks.astype(np.float64)
        return np.array([whole[group].mean(axis=0) for group in self.groups])

    def face(self, picture: Picture, landmarks: NDArray[Any]) -> Picture:
        """The aligned face (size, size, 3) of a picture with 68 landmarks (68, 2)."""
        return warp(picture, similarity(self.points(landmarks), self.template), self.size)


def point_groups(text: str) -> tuple[slice, ...]:
    """``dlib68: mean 36-41, mean 42-47, 30, 48, 54`` as slices of the 68 points, last ones included in the text."""
    ends = re.findall(r"(\d+)(?:-(\d+))?", text.partition(":")[2])
    return tuple(slice(int(first), int(last or first) + 1) for first, last in ends)


def similarity(source: Points, target: Points) -> Matrix:
    """Scale, rotation and shift (2, 3) that bring ``source`` (N, 2) to ``target`` with the least squared error.

    A reflection is never used. Source points that all coincide are only shifted (their scale is
    undetermined). Points are float32 and what follows the decomposition float64, as in the reference: in the
    last digits that decides single grey levels of the warped picture.
    """
    src, dst = source.astype(np.float32), target.astype(np.float32)
    src_mean, dst_mean = src.mean(axis=0), dst.mean(axis=0)
    src_centred, dst_centred = src - src_mean, dst - dst_mean
    u, singular, vt = np.linalg.svd(dst_centred.T @ src_centred / len(src))
    signs = np.array([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1.0])
    variance = src_centred.var(axis=0).sum()
    scale = 1.0 / variance * (singular @ signs) if variance > 0 else 1.0
    rotation = (u * signs) @ vt
    shift = dst_mean - scale * (rotation @ src_mean)
    return np.hstack([rotation * scale, shift[:, None]])


def warp(picture: Picture, matrix: Matrix, size: int) -> Picture:
    """A picture (H, W, 3) under ``matrix`` (source to target), (size, size, 3); outside of it 0, bilinear."""
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(np.ascontiguousarray(picture), matrix, (size, size), flags=flags, borderMode=border)
    return np.asarray(warped, dtype=np.uint8)


def network_input(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Aligned RGB faces (B, S, S, 3) uint8 as the network sees them: (B, 3, S, S) float32 in [-1, 1], a view."""
    scaled = (faces.astype(np.float32) / np.float32(FULL_SCALE) - np.float32(CENTRE)) / np.float32(HALF)
    return scaled.transpose(0, 3, 1, 2)
