"""Pictures as the FID's Inception wants them (metrics.md 5).

uint8 RGB -> [0, 1] float32 -> bilinear resize without antialiasing, corners not aligned -> 2x - 1,
as ``mseitzer/pytorch-fid: src/pytorch_fid/{fid_score,inception}.py`` do. Without antialiasing a large
picture is sampled, not averaged; that belongs to the protocol.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

FULL_SCALE = 255.0


def prepare(pictures: NDArray[np.uint8], side: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Pictures (B, H, W, 3) uint8 RGB to (B, 3, side, side) float32 in [-1, 1], channels-last in memory."""
    whole: NDArray[Any] = np.ascontiguousarray(pictures)
    if not whole.flags.writeable:  # decoded frames are shared and read-only; torch warns of those
        whole = whole.copy()
    small = torch.from_numpy(whole).to(device).permute(0, 3, 1, 2)  # (B, 3, H, W), a channels-last view
    scaled = small.to(torch.float32).div_(FULL_SCALE)
    resized = F.interpolate(scaled, size=(side, side), mode="bilinear", align_corners=False, antialias=False)
    return resized.mul_(2.0).sub_(1.0)
