"""The talking face's discriminator: is this whole face a real one? Frame by frame (tfg.md 2.3)."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

CHANNELS = (32, 64, 128, 256, 512, 512, 1)  # 3.9 million parameters; maps of 48, 24, 12, 6, 3, 2 and 1 for 96 px
TINY_CHANNELS = (16, 32, 48, 64, 64, 1)
_SLOPE = 0.2


class FaceDiscriminator(nn.Module):
    """Faces (B, 3, S, S) in 0…1 to logits (B,): strided convolutions of bounded spectral norm, the mean over places."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        pairs = itertools.pairwise((3, *channels))
        self.convs = nn.ModuleList([spectral_norm(nn.Conv2d(a, b, 3, stride=2, padding=1)) for a, b in pairs])

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Greater than 0: rather real."""
        x = faces
        for place, conv in enumerate(self.convs):
            x = conv(x if place == 0 else nn.functional.leaky_relu(x, _SLOPE))
        return x.mean(dim=(1, 2, 3))
