"""The small lip reader that is trained jointly with the model: mouths to features (hicodit.md E.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 44  # pixels of a mouth
MEAN, DEVIATION = 0.45, 0.2  # of pixels on the scale 0 to 1
_FULL_SCALE = 255.0
_WIDTHS = (16, 32, 64)
_END_SIDE = 3  # what is left of 44 pixels after four halvings


class LipFront(nn.Module):
    """Grey mouths (B, F, 44, 44), uint8 or as numbers of the same scale, to features (B, F, width) at 25 Hz."""

    def __init__(self, width: int = 160) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.stem = nn.Sequential(
            nn.Conv3d(1, first, 5, stride=(1, 2, 2), padding=2),
            nn.BatchNorm3d(first),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
        )
        self.trunk = nn.Sequential(
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, stride=2, padding=1),
            nn.BatchNorm2d(third),
            nn.ReLU(),
        )
        self.proj = nn.Linear(third * _END_SIDE**2, width)
        self.time = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in (1, 2))

    def forward(self, mouths: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``lengths`` (B,): how many frames of each clip count; the others change nothing, and their features are 0."""
        count, frames = mouths.shape[:2]
        valid = None if lengths is None else _valid(lengths, frames)  # (B, F)
        x = (mouths.to(self.proj.weight.dtype) / _FULL_SCALE - MEAN) / DEVIATION
        x = _kept(x[:, None], valid, (count, 1, frames, 1, 1))
        x = self.stem(x).transpose(1, 2).flatten(0, 1)  # (B * F, 16, 11, 11)
        x = self.proj(self.trunk(x).flatten(1)).unflatten(0, (count, frames)).mT  # (B, width, F)
        for conv in self.time:
            x = _kept(x, valid, (count, 1, frames))
            x = x + F.gelu(conv(x))
        return _kept(x, valid, (count, 1, frames)).mT


def _valid(lengths: Tensor, frames: int) -> Tensor:
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def _kept(x: Tensor, valid: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """``x`` with zeros in frames that do not count, as beyond the ends of a clip."""
    return x if valid is None else x.masked_fill(~valid.view(shape), 0.0)
