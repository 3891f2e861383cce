"""Positions of wav2vec 2.0 and what was built on it: a wide grouped convolution over time.

Names and layout are those of fairseq's checkpoints with the old ``torch.nn.utils.weight_norm`` over dimension 2:
``weight_g`` (1, 1, kernel), ``weight_v`` and ``bias``; other weight-normalised convolutions are in
:mod:`bench.nets.weight_norm`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PositionalConv(nn.Module):
    """A grouped convolution, its weight normalised tap by tap; an even kernel gives a frame too many, the last."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups, self.kernel = groups, kernel
        self.bias = nn.Parameter(torch.zeros(width))
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.randn(width, width // groups, kernel) * (4 / (kernel * width)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` to the same, after exact GELU."""
        norm = torch.linalg.vector_norm(self.weight_v, dim=(0, 1), keepdim=True)
        y = F.conv1d(
            x.transpose(1, 2),
            self.weight_v * (self.weight_g / norm),
            self.bias,
            padding=self.kernel // 2,
            groups=self.groups,
        )
        y = y[..., : x.shape[1]]
        return F.gelu(y).transpose(1, 2)
