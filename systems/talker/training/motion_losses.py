"""Losses of the tiny motion autoencoder (specs/talker.md, 14.2): no perceptual network, no adversary.

Pictures are (B, 3, S, S) from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from bench.systems.talker.training.motion_targets import MOUTH

_LEVELS = 4
_CODE = 1e-3  # of the head's loss: codes stay small
_BOX = (0.50, 0.86, 0.30, 0.72)  # the mouth: rows from, to, columns from, to, as parts of the face
_MOUTH_POINTS = 3.0
_INNER = slice(60, 68)  # landmarks of the lips' inner edge
_SHOWN, _HIDDEN = 0.88, 0.05  # masks around the lips and between them
_FINE = 4  # parts of a pixel along each axis


def pyramid(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference, averaged over four levels, each half the size of the one before."""
    total = (made - true).abs().mean()
    for _ in range(_LEVELS - 1):
        made, true = F.avg_pool2d(made, 2), F.avg_pool2d(true, 2)
        total = total + (made - true).abs().mean()
    return total / _LEVELS


def edges(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the first differences along both axes, summed."""
    error = made - true
    return error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()


def mouth_box(pictures: torch.Tensor) -> torch.Tensor:
    """The part that shows the mouth, whatever it does."""
    size = pictures.shape[-1]
    top, bottom, left, right = (round(edge * size) for edge in _BOX)
    return pictures[..., top:bottom, left:right]


def mouth(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference in the mouth's box."""
    return (mouth_box(made) - mouth_box(true)).abs().mean()


def reading(read: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """What the head reads (B, 142) against the truth: squared error by ``weights``, and the size of codes (B, C)."""
    return ((read - wanted).square() * weights).mean() + _CODE * codes.square().mean()


def shape(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Whether the head reads (B, 142) the same mouth in the made picture as in the true one: squared error of landmarks
    and states, in deviations."""
    mouth_only = slice(2 * MOUTH.start, None)
    return (made[:, mouth_only] - true[:, mouth_only]).square().mean()


def mouth_edges(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """:func:`edges` in the mouth's box."""
    return edges(mouth_box(made), mouth_box(true))


def flow_points(flows: Sequence[torch.Tensor], driving: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Whether the decoder fetches each landmark of the driving picture from where the source has it.

    ``flows``: grids (B, N, N, 2) of the stages, as ``grid_sample`` takes them with aligned corners. ``driving`` and
    ``source`` (B, 68, 2) count from edge to edge; from the first pixel's centre to the last one's they are
    N / (N - 1) of that.
    """
    weights = torch.ones(driving.shape[1], 1, device=driving.device)
    weights[MOUTH] = _MOUTH_POINTS
    weights = weights / weights.mean()
    found = []
    for flow in flows:
        stretch = flow.shape[1] / (flow.shape[1] - 1)
        at = (driving * stretch)[:, None]  # (B, 1, 68, 2)
        fetched = F.grid_sample(flow.permute(0, 3, 1, 2), at, mode="bilinear", align_corners=True)[:, :, 0]
        found.append(((fetched.transpose(1, 2) - source * stretch).abs() * weights).mean())
    return torch.stack(found).mean()


def inside(masks: Sequence[torch.Tensor], points: torch.Tensor) -> torch.Tensor:
    """Whether nothing of the source is shown between the driving picture's lips, and most of it around them.

    ``masks``: (B, N, N) of some stages, before the sigmoid. ``points`` (B, 68, 2) count from edge to edge.
    Cross-entropy in the mouth's box, averaged over the stages.
    """
    found = []
    for mask in masks:
        wanted = _SHOWN + (_HIDDEN - _SHOWN) * between_lips(points, mask.shape[-1]).to(mask.device)
        found.append(F.binary_cross_entropy_with_logits(mouth_box(mask), mouth_box(wanted)))
    return torch.stack(found).mean()


def between_lips(points: torch.Tensor, size: int) -> torch.Tensor:
    """How much of each pixel (B, size, size) lies within the lips' inner edge, 0 to 1."""
    fine = size * _FINE
    corners = np.rint((points[:, _INNER].cpu().numpy() + 1) / 2 * fine - 0.5).astype(np.int32)
    areas = np.zeros((len(points), fine, fine), np.float32)
    for area, polygon in zip(areas, corners, strict=True):
        cv2.fillPoly(area, [polygon], (1.0,))
    return torch.from_numpy(areas.reshape(-1, size, _FINE, size, _FINE).mean((2, 4)))
