"""The layers that Wav2Lip's networks are made of.

Source: ``Rudrabha/Wav2Lip: models/conv.py``. Every layer holds its parameters in ``conv_block``: the convolution
at ``conv_block.0``, its batch normalisation (where it has one) at ``conv_block.1``.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Size = int | tuple[int, int]
_Module = TypeVar("_Module", bound=nn.Module)

_SLOPE = 0.01  # of the leaky ReLU


class ConvBN(nn.Module):
    """``relu(norm(conv(x)))``, or ``relu(norm(conv(x)) + x)`` where ``residual``.

    The skip has no projection: a residual layer keeps channels and size.
    """

    def __init__(
        self, inside: int, outside: int, kernel: Size = 3, stride: Size = 1, padding: Size = 1, residual: bool = False
    ) -> None:
        super().__init__()
        if residual and (inside != outside or stride != 1):
            raise ValueError(f"a residual layer keeps its shape: {inside} to {outside} channels, stride {stride}")
        conv = nn.Conv2d(inside, outside, kernel, stride, padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(outside))
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        y: torch.Tensor = self.conv_block(x)
        return torch.relu(y + x if self.residual else y)


class DeconvBN(nn.Module):
    """``relu(norm(transposed conv(x)))``."""

    def __init__(self, inside: int, outside: int, kernel: Size, stride: Size, padding: Size, grow: Size = 0) -> None:
        super().__init__()
        conv = nn.ConvTranspose2d(inside, outside, kernel, stride, padding, grow)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        return torch.relu(self.conv_block(x))


class ConvLReLU(nn.Module):
    """A convolution and a leaky ReLU, without normalisation."""

    def __init__(self, inside: int, outside: int, kernel: Size, stride: Size = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, padding))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        return nn.functional.leaky_relu(self.conv_block(x), _SLOPE)


def residuals(width: int, count: int) -> list[nn.Module]:
    """``count`` residual 3x3 layers of ``width`` channels."""
    return [ConvBN(width, width, residual=True) for _ in range(count)]


def audio_encoder(widths: tuple[int, int, int, int], embedding: int, last_residuals: int) -> nn.Sequential:
    """Mel windows (B, 1, 80, 16) to (B, E, 1, 1); generator and expert differ in ``last_residuals`` alone."""
    a, b, c, d = widths
    return nn.Sequential(
        ConvBN(1, a),
        *residuals(a, 2),
        ConvBN(a, b, 3, (3, 1)),  # (B, 64, 27, 16)
        *residuals(b, 2),
        ConvBN(b, c, 3, 3),  # (B, 128, 9, 6)
        *residuals(c, 2),
        ConvBN(c, d, 3, (3, 2)),  # (B, 256, 3, 3)
        *residuals(d, last_residuals),
        ConvBN(d, embedding, 3, 1, 0),
        ConvBN(embedding, embedding, 1, 1, 0),
    )


def folded(network: _Module) -> _Module:
    """The network itself, in evaluation mode, each batch normalisation multiplied into its convolution.

    Equal up to float32 rounding; for inference only. The products are made in float64.
    """
    network.eval()
    for block in network.modules():
        parts = list(block.conv_block) if isinstance(block, ConvBN | DeconvBN) else []
        match parts:
            case [nn.Conv2d() | nn.ConvTranspose2d() as conv, nn.BatchNorm2d() as norm]:
                kind, across = conv.weight.dtype, isinstance(conv, nn.ConvTranspose2d)
                block.conv_block = nn.Sequential(fuse_conv_bn_eval(conv.double(), norm.double(), across).to(kind))
    return network
