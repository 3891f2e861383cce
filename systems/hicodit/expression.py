"""The small classifier of expressions: four convolutions over a grey face of 48 by 48 (hicodit.md B.3, ``tiny``)."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.hicodit.emotion import CLASSES, Probabilities, face_squares
from bench.systems.hicodit.landmarks import Frames, Points

SIDE = 48  # pixels of what the network reads
_CUT = 2 * SIDE  # pixels of the square that is cut, before it is shrunk
_WIDTHS = (1, 16, 32, 64, 64)
_BATCH = 64


class ExpressionNet(nn.Module):
    """Grey faces (B, 1, 48, 48) in 0 … 1 to logits (B, 7) in the order of :data:`.emotion.CLASSES`."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(_WIDTHS))
        self.head = nn.Linear(_WIDTHS[-1] * (SIDE // 16) ** 2, len(CLASSES))

    def forward(self, faces: Tensor) -> Tensor:
        """Each face is brought to mean 0 and deviation 1 first, so that light and contrast say nothing."""
        mean = faces.mean(dim=(1, 2, 3), keepdim=True)
        deviation = faces.std(dim=(1, 2, 3), keepdim=True, correction=0).clamp_min(1e-3)
        x = (faces - mean) / deviation
        for conv in self.convs:
            x = F.gelu(conv(x))
        logits: Tensor = self.head(x.flatten(1))
        return logits


def grey_faces(frames: Frames, points: Points) -> NDArray[np.uint8]:
    """The faces of frames (T, H, W, 3) with landmarks (T, 68, 2): grey (T, 48, 48)."""
    squares = face_squares(frames, points, _CUT)
    shrunk = [
        cv2.resize(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        for square in squares
    ]
    return np.asarray(np.stack(shrunk), np.uint8)


class TinyExpression:
    """An :class:`.emotion.EmotionExtractor`. ``told`` names the weights of ``network``."""

    def __init__(self, network: ExpressionNet, told: str, device: str = "cpu") -> None:
        self._network, self._device = network.to(device).eval(), torch.device(device)
        self.identity = f"expression-{told}"

    @torch.inference_mode()
    def probabilities(self, frames: Frames, points: Points) -> Probabilities:
        """See :class:`.emotion.EmotionExtractor`."""
        told = []
        for at in range(0, len(frames), _BATCH):
            faces = torch.from_numpy(grey_faces(frames[at : at + _BATCH], points[at : at + _BATCH]))
            logits = self._network(faces[:, None].to(self._device).float() / 255.0)
            told.append(logits.softmax(dim=1).cpu().numpy())
        return np.concatenate(told) if told else np.zeros((0, len(CLASSES)), np.float32)
