"""Folding of batch norms into the convolution or linear layer before them, for evaluation only.

In evaluation a batch norm is a fixed scale and shift per channel: ``y·g + b`` of ``y = Wx + c`` is
``(gW)x + (gc + b)``. One pass over the activations less per layer; results move by rounding (below 1e-5
relative). The parameter names change, so a network is filled first and folded afterwards. Folded kernels lie
channels-last in memory, which convolutions are quickest with.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


def norm_scale_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift (C,) in float64 that ``norm`` applies in evaluation.

    Raises:
        ValueError: the norm keeps no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


@torch.no_grad()
def fold_conv(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution with bias that does what ``conv`` and then ``norm`` do."""
    scale, shift = norm_scale_shift(norm)
    pairs = (conv.kernel_size, conv.stride, conv.dilation)
    kernel, stride, dilation = ((pair[0], pair[1]) for pair in pairs)
    padding = conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1])
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, stride, padding, dilation, conv.groups)
    before = shift if conv.bias is None else shift + conv.bias.double() * scale
    return _filled(folded, conv.weight.double() * scale[:, None, None, None], before, conv.weight)


@torch.no_grad()
def fold_linear(
    linear: nn.Linear, before: tuple[torch.Tensor, torch.Tensor] | None, after: nn.BatchNorm1d
) -> nn.Linear:
    """A linear layer that does what a scale and shift (N,) of its input, ``linear`` and then ``after`` do."""
    scale, shift = norm_scale_shift(after)
    weight = linear.weight.double()
    bias = torch.zeros_like(scale) if linear.bias is None else linear.bias.double()
    if before is not None:
        bias = bias + weight @ before[1]
        weight = weight * before[0]
    folded = nn.Linear(linear.in_features, linear.out_features)
    return _filled(folded, weight * scale[:, None], bias * scale + shift, linear.weight)


def _filled(module: _Layer, weight: torch.Tensor, bias: torch.Tensor, like: torch.Tensor) -> _Layer:
    layout = torch.channels_last if weight.dim() == 4 else torch.contiguous_format
    module.weight = nn.Parameter(weight.to(like.dtype).contiguous(memory_format=layout), requires_grad=False)
    module.bias = nn.Parameter(bias.to(like.dtype), requires_grad=False)
    return module.eval()
