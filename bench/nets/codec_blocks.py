"""Building blocks of waveform codecs in the manner of DAC: Snake, residual units, encoder and decoder.

Names are the official ones (``descriptinc/descript-audio-codec: dac/nn/layers.py, dac/model/dac.py``;
``zhenye234/Talker-T2AV: whisperx_vae.py``; specs/talker.md 6.2). All convolutions are weight-normalised;
:func:`bench.nets.weight_norm.fold_weight_norm` makes them plain for inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.weight_norm import WNConv1d, WNConvTranspose1d

_DILATIONS = (1, 3, 9)
_EPSILON = 1e-9  # keeps 1 / alpha finite


class Snake(nn.Module):
    """x + sin²(αx) / α with an α for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` to the same shape."""
        return torch.addcmul(x, (self.alpha + _EPSILON).reciprocal(), torch.sin(self.alpha * x).square())


class ResidualUnit(nn.Module):
    """Two convolutions, the first one dilated, beside the identity; keeps width and length."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake(width),
            WNConv1d(width, width, 7, padding=3 * dilation, dilation=dilation),
            Snake(width),
            WNConv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` to the same shape."""
        y: Tensor = self.block(x)
        return x + y


class EncoderBlock(nn.Module):
    """Residual units at half of ``width``, then a convolution that takes one step in ``stride``."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *(ResidualUnit(width // 2, dilation) for dilation in _DILATIONS),
            Snake(width // 2),
            WNConv1d(width // 2, width, 2 * stride, stride=stride, padding=ceil(stride / 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, width / 2, T)`` to ``(B, width, T / stride)``, rounded down for even strides."""
        y: Tensor = self.block(x)
        return y


class WNUpsampling(WNConvTranspose1d):
    """A transposed convolution that makes exactly ``stride`` samples of each, odd strides included."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 2 * stride, stride=stride, padding=ceil(stride / 2))
        self.output_padding = (stride % 2,)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """``(B, in, T)`` to ``(B, out, stride * T)``; ``output_size`` must be None.

        Raises:
            ValueError: an output size is asked for.
        """
        if output_size is not None:
            raise ValueError("the length follows from the stride")
        weight, stride, pad = self.effective_weight(), self.stride[0], int(self.padding[0])
        return F.conv_transpose1d(x, weight, self.bias, stride, pad, int(self.output_padding[0]))

    def fold(self) -> nn.ConvTranspose1d:
        """A plain transposed convolution that does the same."""
        plain = super().fold()
        plain.output_padding = self.output_padding
        return plain


class DecoderBlock(nn.Module):
    """An upsampling by ``stride`` and residual units."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake(in_channels),
            WNUpsampling(in_channels, out_channels, stride),
            *(ResidualUnit(out_channels, dilation) for dilation in _DILATIONS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, T)`` to ``(B, out, stride * T)``."""
        y: Tensor = self.block(x)
        return y


class CodecEncoder(nn.Module):
    """Waveform to features; the width doubles with each stride, from ``width``."""

    def __init__(self, width: int, strides: Sequence[int], out_channels: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(len(strides) + 1)]
        self.block = nn.Sequential(
            WNConv1d(1, width, 7, padding=3),
            *(EncoderBlock(wide, stride) for wide, stride in zip(widths[1:], strides, strict=True)),
            Snake(widths[-1]),
            WNConv1d(widths[-1], out_channels, 3, padding=1),
        )

    def forward(self, wave: Tensor) -> Tensor:
        """``(B, 1, T)`` to ``(B, out, L)``, L = T / product of the strides, rounded down for even ones."""
        y: Tensor = self.block(wave)
        return y


class CodecDecoder(nn.Module):
    """Features to waveform; the width halves with each stride, from ``width``."""

    def __init__(self, in_channels: int, width: int, strides: Sequence[int]) -> None:
        super().__init__()
        widths = [width // 2**i for i in range(len(strides) + 1)]
        pairs = zip(widths, widths[1:], strides, strict=False)
        self.model = nn.Sequential(
            WNConv1d(in_channels, width, 7, padding=3),
            *(DecoderBlock(wide, narrow, stride) for wide, narrow, stride in pairs),
            Snake(widths[-1]),
            WNConv1d(widths[-1], 1, 7, padding=3),
            nn.Tanh(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in, L)`` to a waveform ``(B, 1, T)`` in (-1, 1), T = L times the product of the strides."""
        y: Tensor = self.model(features)
        return y

    def before_tanh(self, features: Tensor) -> Tensor:
        """The waveform before it is squashed."""
        y: Tensor = self.model[:-1](features)
        return y
