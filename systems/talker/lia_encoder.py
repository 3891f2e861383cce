"""LIA-X's encoder: a picture to its style code, its motion code and the maps that the decoder warps.

Source: ``wyhsirius/LIA-X: networks/encoder.py``, for any size and widths (:class:`~.lia_sizes.LiaSizes`).
"""

from __future__ import annotations

import torch
from torch import nn

from bench.systems.talker import lia_fast
from bench.systems.talker.lia_ops import ConvLayer, EqualConv2d, EqualLinear
from bench.systems.talker.lia_sizes import LiaSizes

_HALF_POWER = 0.5**0.5  # the sum of two maps of equal power


class ResBlock(nn.Module):
    """Half the size: two convolutions, and a halved 1x1 projection beside them."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(inside, outside, 3)
        self.conv2 = ConvLayer(outside, outside, 3, downsample=True, factor=_HALF_POWER)
        self.skip = ConvLayer(inside, outside, 1, downsample=True, activate=False, bias=False, factor=_HALF_POWER)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) to (B, O, H / 2, W / 2)."""
        y: torch.Tensor = self.conv2(self.conv1(x))
        return torch.add(y, self.skip(x), out=lia_fast.room(y))


class Pyramid(nn.Module):
    """``enc_2r``: a picture to its style code, with one map per size on the way.

    ``block1`` has the picture's size, ``block2`` … ``block{n}`` half of the one before, ``block_512`` and ``block8``
    close the last 8 x 8 map.
    """

    def __init__(self, sizes: LiaSizes) -> None:
        super().__init__()
        widths = sizes.widths
        self.stages = sizes.stages
        self.block1 = ConvLayer(3, widths[-1], 1)
        for number in range(2, sizes.stages + 1):
            self.add_module(f"block{number}", nn.Sequential(ResBlock(widths[1 - number], widths[-number])))
        self.block_512 = ResBlock(widths[0], widths[0])
        self.block8 = EqualConv2d(widths[0], sizes.style_dim, 4, bias=False)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(B, 3, S, S) in -1…1 to style codes (B, style) and n maps, the smallest (B, C, 8, 8) first."""
        x = pictures.contiguous(memory_format=torch.channels_last)
        maps: list[torch.Tensor] = []
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"block{number}")(x)
            maps.append(x)
        z = self.block8(self.block_512(x))
        return z.flatten(1), maps[::-1]


class Encoder(nn.Module):
    """Style code, maps and motion code."""

    def __init__(self, sizes: LiaSizes) -> None:
        super().__init__()
        self.enc_2r = Pyramid(sizes)
        self.enc_r2t = nn.Sequential(EqualLinear(sizes.style_dim, sizes.motion_dim))

    def alpha(self, z: torch.Tensor) -> torch.Tensor:
        """Style codes (B, style) to motion codes (B, motion)."""
        codes: torch.Tensor = self.enc_r2t(z)
        return codes

    def get_alpha(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, S, S) to motion codes (B, motion)."""
        return self.alpha(self.enc_2r(pictures)[0])
