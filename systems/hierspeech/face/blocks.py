"""Layers of the talking face: a convolution ``conv`` with its batch normalisation ``norm`` (tfg.md 2.3)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_Module = TypeVar("_Module", bound=nn.Module)


class ConvBN(nn.Module):
    """``relu(norm(conv(x)))``, or ``relu(norm(conv(x)) + x)`` where ``residual`` (equal channels, stride 1)."""

    def __init__(
        self, inside: int, outside: int, kernel: int = 3, stride: int = 1, padding: int = 1, residual: bool = False
    ) -> None:
        super().__init__()
        if residual and (inside != outside or stride != 1):
            raise ValueError(f"a residual layer keeps its shape: {inside} to {outside} channels, stride {stride}")
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding)
        self.norm: nn.Module = nn.BatchNorm2d(outside)
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        y: torch.Tensor = self.norm(self.conv(x))
        return torch.relu(y + x if self.residual else y)


class DeconvBN(nn.Module):
    """``relu(norm(transposed conv(x)))``."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, padding: int, grow: int = 0) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inside, outside, kernel, stride, padding, grow)
        self.norm: nn.Module = nn.BatchNorm2d(outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        return torch.relu(self.norm(self.conv(x)))


def residuals(width: int, count: int) -> list[nn.Module]:
    """``count`` residual 3x3 layers of ``width`` channels."""
    return [ConvBN(width, width, residual=True) for _ in range(count)]


def folded(network: _Module) -> _Module:
    """The network itself, in evaluation mode, each normalisation multiplied (in float64) into its convolution.

    Equal up to float32 rounding; for inference only.
    """
    network.eval()
    for block in network.modules():
        if isinstance(block, ConvBN | DeconvBN) and isinstance(block.norm, nn.BatchNorm2d):
            kind, norm = block.conv.weight.dtype, block.norm.double()
            if isinstance(block, DeconvBN):
                block.conv = fuse_conv_bn_eval(block.conv.double(), norm, transpose=True).to(kind)
            else:
                block.conv = fuse_conv_bn_eval(block.conv.double(), norm).to(kind)
            block.norm = nn.Identity()
    return network
