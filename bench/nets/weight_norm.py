"""Weight-normalised convolutions: weight = g * v / |v|, with the norm over everything but dimension 0.

The parameters are ``weight_g`` ``(dim 0, 1, …)``, ``weight_v`` (the convolution's shape) and ``bias``: the names
of checkpoints written with the old ``torch.nn.utils.weight_norm``, which every HiFi-GAN-like network uses
(Salimans and Kingma 2016; ``sh-lee-prml/HierSpeechpp``). Dimension 0 of a transposed convolution is its input.

Training works on g and v. For inference :func:`fold_weight_norm` puts plain convolutions in their place, once:
the same output without a norm at every call.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_Module = TypeVar("_Module", bound=nn.Module)
_Pair = int | tuple[int, int]
#: Variance of a new v times its fan-in; g = |v| lets the first pass have ordinary sizes.
_INITIAL_VARIANCE = 0.36


def _split_weight(conv: nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d, fan_in: float) -> None:
    """Put ``weight_g`` and ``weight_v`` in the place of ``weight``, v new and normal, g its norm."""
    v = conv.weight.detach()
    del conv.weight
    nn.init.normal_(v, std=(_INITIAL_VARIANCE / fan_in) ** 0.5)
    conv.register_parameter("weight_g", nn.Parameter(_norm(v)))
    conv.register_parameter("weight_v", nn.Parameter(v))


def _norm(v: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(v, dim=tuple(range(1, v.dim())), keepdim=True)
    return norm


def _effective(g: Tensor, v: Tensor) -> Tensor:
    return v * (g / _norm(v))


class WNConv1d(nn.Conv1d):
    """:class:`torch.nn.Conv1d` with a normalised weight ``(out, in / groups, kernel)``; zero padding alone."""

    weight_g: Tensor
    weight_v: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        _split_weight(self, in_channels // groups * kernel_size)

    def effective_weight(self) -> Tensor:
        """g * v / |v|, ``(out, in / groups, kernel)``."""
        return _effective(self.weight_g, self.weight_v)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, T)`` to ``(B, out, T')``."""
        weight, pad = self.effective_weight(), int(self.padding[0])
        return F.conv1d(x, weight, self.bias, self.stride, pad, self.dilation, self.groups)

    def fold(self) -> nn.Conv1d:
        """A plain convolution that does the same."""
        size, stride, pad, dilation = self.kernel_size[0], self.stride[0], self.padding[0], self.dilation[0]
        plain = nn.Conv1d(
            self.in_channels, self.out_channels, size, stride, pad, dilation, self.groups, self.bias is not None
        )
        return _with(plain, self.effective_weight(), self.bias, self.training)


class WNConv2d(nn.Conv2d):
    """:class:`torch.nn.Conv2d` with a normalised weight ``(out, in, height, width)``; zero padding alone."""

    weight_g: Tensor
    weight_v: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Pair,
        stride: _Pair = 1,
        padding: _Pair = 0,
        dilation: _Pair = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias)
        _split_weight(self, in_channels * self.kernel_size[0] * self.kernel_size[1])

    def effective_weight(self) -> Tensor:
        """g * v / |v|, ``(out, in, height, width)``."""
        return _effective(self.weight_g, self.weight_v)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H', W')``."""
        pad = (int(self.padding[0]), int(self.padding[1]))
        return F.conv2d(x, self.effective_weight(), self.bias, self.stride, pad, self.dilation)

    def fold(self) -> nn.Conv2d:
        """A plain convolution that does the same."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            (self.kernel_size[0], self.kernel_size[1]),
            (self.stride[0], self.stride[1]),
            (int(self.padding[0]), int(self.padding[1])),
            (self.dilation[0], self.dilation[1]),
            bias=self.bias is not None,
        )
        return _with(plain, self.effective_weight(), self.bias, self.training)


class WNConvTranspose1d(nn.ConvTranspose1d):
    """:class:`torch.nn.ConvTranspose1d` with a normalised weight ``(in, out, kernel)``, one norm per input."""

    weight_g: Tensor
    weight_v: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        # an output sample meets one tap in `stride`
        _split_weight(self, in_channels * kernel_size / stride)

    def effective_weight(self) -> Tensor:
        """g * v / |v|, ``(in, out, kernel)``."""
        return _effective(self.weight_g, self.weight_v)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """``(B, in, T)`` to ``(B, out, (T - 1) * stride - 2 * padding + kernel)``; ``output_size`` must be None.

        Raises:
            ValueError: an output size is asked for; lengths follow from stride and padding here.
        """
        if output_size is not None:
            raise ValueError("WNConvTranspose1d takes no output size")
        return F.conv_transpose1d(x, self.effective_weight(), self.bias, self.stride[0], int(self.padding[0]))

    def fold(self) -> nn.ConvTranspose1d:
        """A plain transposed convolution that does the same."""
        plain = nn.ConvTranspose1d(
            self.in_channels,
            self.out_channels,
            self.kernel_size[0],
            self.stride[0],
            int(self.padding[0]),
            bias=self.bias is not None,
        )
        return _with(plain, self.effective_weight(), self.bias, self.training)


_Plain = TypeVar("_Plain", nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d)


def _with(plain: _Plain, weight: Tensor, bias: Tensor | None, training: bool) -> _Plain:
    plain.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return plain.train(training)


def fold_weight_norm(module: _Module) -> _Module:
    """Replace every weight-normalised convolution inside ``module`` by a plain one, in place; returns it.

    Fill or load the weights before: afterwards the names are ``weight`` and ``bias``. Not for training.
    """
    for child_name, child in module.named_children():
        if isinstance(child, WNConv1d | WNConv2d | WNConvTranspose1d):
            setattr(module, child_name, child.fold())
        else:
            fold_weight_norm(child)
    return module
