"""The operators of LIA-X's networks: resampling with the [1, 3, 3, 1] kernel, equalised and modulated convolutions.

Layout and parameter names of ``wyhsirius/LIA-X: networks`` (after StyleGAN2, Karras et al. 2020). Plain PyTorch, and
every form here is equal to the published one up to rounding, but made for few passes over the maps:

* the constant factors (equalised rate, gain of the activation) go to the weights: leaky ReLU lets a positive factor
  through;
* a modulated convolution scales its input and its output instead of a set of weights per sample;
* blurring is one depthwise convolution, which runs best on maps laid out channels last, and where every second
  pixel is thrown away afterwards, it is not computed;
* doubling the size with this kernel is bilinear interpolation with zeros around the picture.

:func:`folded` multiplies the factors into the weights once, for inference; where nothing is learnt, a CPU computes some
of this in the forms of :mod:`.lia_fast`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from bench.systems.talker import lia_fast

BLUR = (1.0, 3.0, 3.0, 1.0)
SLOPE = 0.2  # of the leaky ReLU
GAIN = math.sqrt(2.0)  # of the leaky ReLU with a bias
_SMALL = 1e-8
_FEW = 8  # channels: fewer than a register holds, for which the library has no good convolution
_Module = TypeVar("_Module", bound=nn.Module)


def make_kernel(taps: Sequence[float]) -> torch.Tensor:
    """(n,) taps of a separable filter to its (n, n) kernel of sum 1."""
    line = torch.tensor(taps, dtype=torch.float32)
    square = torch.outer(line, line)
    return square / square.sum()


def upfirdn2d(
    x: torch.Tensor, kernel: torch.Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Insert zeros, pad, convolve with ``kernel`` (k, l), keep every ``down``-th sample of maps (B, C, H, W).

    ``up`` - 1 zeros follow every sample; ``pad``: zeros before and after in both axes, negative ones cut; a true
    convolution, so the kernel is turned round. H' = (H up + pad - k) // down + 1.
    """
    batch, channels, height, width = x.shape
    if up > 1:
        spread = x.new_zeros((batch, channels, height, up, width, up))
        spread[:, :, :, 0, :, 0] = x
        x = spread.reshape(batch, channels, height * up, width * up)
    x = functional.pad(x, (*pad, *pad))
    return _depthwise(x, kernel.flip(0, 1), down)


def fused_leaky_relu(
    x: torch.Tensor, bias: torch.Tensor | None = None, slope: float = SLOPE, gain: float = GAIN
) -> torch.Tensor:
    """``leaky_relu(x + bias) * gain``; bias (C,) along the second axis of x (B, C, …)."""
    if bias is not None:
        x = x + bias.view(1, -1, *(1 for _ in x.shape[2:]))
    return functional.leaky_relu(x, slope) * gain


def leaky_(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU in place: ``x`` is new and nobody else's. The slope of what it became is known from its sign."""
    return functional.leaky_relu(x, SLOPE, inplace=True)


class FusedLeakyReLU(nn.Module):
    """:func:`fused_leaky_relu` with a learnt bias."""

    def __init__(self, channels: int, slope: float = SLOPE, gain: float = GAIN) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.slope, self.gain = slope, gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, …) to the same shape."""
        return fused_leaky_relu(x, self.bias, self.slope, self.gain)


class Blur(nn.Module):
    """The blurring kernel, times ``factor`` squared, over a map with ``pad`` zeros before and after."""

    kernel: torch.Tensor

    def __init__(self, pad: tuple[int, int], factor: int = 1) -> None:
        super().__init__()
        self.register_buffer("kernel", make_kernel(BLUR) * factor**2)
        self.pad = pad

    def forward(self, x: torch.Tensor, every: int = 1) -> torch.Tensor:
        """(B, C, H, W) blurred; of the result every ``every``-th row and column."""
        before, after = self.pad
        if before != after:
            return upfirdn2d(x, self.kernel, down=every, pad=self.pad)
        return _depthwise(x, self.kernel.flip(0, 1), every, before)


class Upsample(nn.Module):
    """Twice the size: the kernel over a map with zeros between its samples.

    The buffer has the official name; the kernel is always the same one, so interpolation computes it.
    """

    kernel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", make_kernel(BLUR) * 4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, 2 H, 2 W)."""
        if lia_fast.wanted(x) and x.is_contiguous():
            return lia_fast.doubled(x)
        framed = functional.pad(x, (1, 1, 1, 1))
        return functional.interpolate(framed, scale_factor=2.0, mode="bilinear")[:, :, 2:-2, 2:-2]


class EqualConv2d(nn.Module):
    """A convolution whose weights are of deviation 1 and are multiplied by 1 / sqrt(fan-in)."""

    def __init__(
        self, inside: int, outside: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outside)) if bias else None
        self.scale = 1.0 / math.sqrt(inside * kernel**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) to (B, O, H', W')."""
        return self.convolve(x, 1.0, self.bias, self.stride)

    def convolve(self, x: torch.Tensor, gain: float, bias: torch.Tensor | None, stride: int) -> torch.Tensor:
        """The convolution with its weights times ``gain``, and another bias."""
        if len(self.weight) < _FEW and self.weight.shape[-1] == stride == 1 and lia_fast.wanted(x):
            return lia_fast.mixed(x, _times(self.weight, self.scale * gain), bias)
        return functional.conv2d(x, _times(self.weight, self.scale * gain), bias, stride, self.padding)

    def fold(self, gain: float = 1.0) -> None:
        """Multiply the weights by all that :meth:`convolve` would multiply them by."""
        self.weight.mul_(self.scale * gain)
        self.scale = 1.0


class EqualLinear(nn.Module):
    """A linear layer in the same manner; ``activate``: a leaky ReLU with its gain behind it."""

    def __init__(
        self, inside: int, outside: int, bias_value: float = 0.0, rate: float = 1.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside) / rate)
        self.bias = nn.Parameter(torch.full((outside,), bias_value))
        self.scale, self.rate, self.activate = rate / math.sqrt(inside), rate, activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I) to (B, O)."""
        y = functional.linear(x, _times(self.weight, self.scale), _times(self.bias, self.rate))
        return functional.leaky_relu(y, SLOPE) * GAIN if self.activate else y

    def fold(self) -> None:
        """Multiply the factors into the weights."""
        self.weight.mul_(self.scale)
        self.bias.mul_(self.rate)
        self.scale = self.rate = 1.0


class ConvLayer(nn.Sequential):
    """[blur or doubling], an equalised convolution, [leaky ReLU with bias and gain, or plain].

    Children ``0``, ``1``, … as in the source. The convolution has a bias of its own only without activation. All of
    it is multiplied by ``factor``, which is positive.
    """

    edges: torch.Tensor | None

    def __init__(
        self,
        inside: int,
        outside: int,
        kernel: int,
        downsample: bool = False,
        upsample: bool = False,
        bias: bool = True,
        activate: bool = True,
        factor: float = 1.0,
    ) -> None:
        padding = 0 if downsample else kernel // 2
        self.stride = 2 if downsample else 1
        parts: list[nn.Module] = [Blur(pads_before_halving(kernel))] if downsample else []
        parts += [Upsample()] if upsample else []
        conv = EqualConv2d(inside, outside, kernel, self.stride, padding, bias and not activate)
        if activate:
            act = [FusedLeakyReLU(outside) if bias else nn.LeakyReLU(SLOPE)]
        super().__init__(*parts, conv, *(act if activate else []))
        self.gain = factor * (GAIN if activate and bias else 1.0)
        self.register_buffer("edges", None, persistent=False)  # kept by fold() of a layer that doubles a size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) to (B, O, H', W'), H' being H, H / 2 or 2 H."""
        if self.edges is not None and lia_fast.wanted(x):
            return self._doubled_last(x, self.edges)
        first, conv, last = self[0], self.conv, self[-1]
        stride = self.stride
        if isinstance(first, Blur):
            reads_one = conv.weight.shape[-1] == 1
            x = first(x, stride if reads_one else 1)
            stride = 1 if reads_one else stride
        elif isinstance(first, Upsample):
            x = first(x)
        if isinstance(last, FusedLeakyReLU):
            return leaky_(conv.convolve(x, self.gain, _times(last.bias, self.gain), stride))
        x = conv.convolve(x, self.gain, None if conv.bias is None else _times(conv.bias, self.gain), stride)
        return functional.leaky_relu(x, SLOPE) if isinstance(last, nn.LeakyReLU) else x

    def _doubled_last(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """The same where the size is doubled: a quarter of the products, as the convolution meets the map unblurred."""
        weight, bias = self.conv.weight, self.get_parameter("2.bias")
        spread = functional.conv_transpose2d(x, weight.transpose(0, 1).flip(2, 3), stride=2)
        made = _depthwise(spread, self.get_buffer("0.kernel"), 1, 1, bias)
        return leaky_(lia_fast.without_surroundings(made, x, edges))

    def fold(self) -> None:
        """Multiply the factors into weights and bias."""
        self.conv.fold(self.gain)
        if isinstance(self[-1], FusedLeakyReLU):
            self[-1].bias.mul_(self.gain)
            if isinstance(self[0], Upsample) and self.conv.weight.shape[-1] == 3:
                self.edges = lia_fast.edge_weights(self.conv.weight)
        self.gain = 1.0

    @property
    def conv(self) -> EqualConv2d:
        """The convolution, wherever it stands."""
        return next(part for part in self if isinstance(part, EqualConv2d))


class ModulatedConv2d(nn.Module):
    """A convolution whose input channels are scaled by a style, per sample.

    ``demodulate``: the scaled kernels of each output channel are brought to length 1. ``upsample``: a transposed
    convolution of stride 2, then a blur; ``downsample``: a blur, then stride 2.
    """

    squares: torch.Tensor | None

    def __init__(
        self,
        inside: int,
        outside: int,
        kernel: int,
        style: int,
        demodulate: bool = True,
        upsample: bool = False,
        downsample: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outside, inside, kernel, kernel))
        self.modulation = EqualLinear(style, inside, bias_value=1.0)
        self.scale = 1.0 / math.sqrt(inside * kernel**2)
        self.demodulate, self.upsample, self.downsample = demodulate, upsample, downsample
        self.register_buffer("squares", None, persistent=False)  # (I, O), kept by fold()
        if upsample:
            spare = 2 - (kernel - 1)  # of the four taps
            self.blur = Blur(((spare + 1) // 2 + 1, spare // 2 + 1), factor=2)
        elif downsample:
            self.blur = Blur(pads_before_halving(kernel))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) and styles (B, S) to (B, O, H', W')."""
        y, factor = self.unscaled(x, style)
        return y * factor

    def unscaled(self, x: torch.Tensor, style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The result but for the factors (B, O, 1, 1) of its channels, and these."""
        scales = self.modulation(style)  # (B, I)
        weight = self.weight[0]
        if weight.shape[-1] == 1 and not (self.upsample or self.downsample):
            per_sample = weight[:, :, 0, 0] * scales[:, None]  # (B, O, I)
            made = torch.bmm(per_sample, x.flatten(2)).view(x.shape[0], -1, *x.shape[2:])
            return made, self._factor(scales)[:, :, None, None]
        return self.of_scaled(x * scales[:, :, None, None], scales)

    def of_scaled(self, x: torch.Tensor, scales: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same for a map that has been multiplied by the scales (B, I) of its channels."""
        weight, factor = self.weight[0], self._factor(scales)[:, :, None, None]
        if self.upsample:
            return self.blur(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)), factor
        if self.downsample:
            return functional.conv2d(self.blur(x), weight, stride=2), factor
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2), factor

    def _factor(self, scales: torch.Tensor) -> torch.Tensor:
        """(B, I) scales to (B, O)."""
        if not self.demodulate:
            return scales.new_full((scales.shape[0], self.weight.shape[1]), self.scale)
        squares = self._squares() if self.squares is None else self.squares
        return self.scale * torch.rsqrt(scales.square() @ squares + _SMALL)

    def _squares(self) -> torch.Tensor:
        """Squared length of each kernel, (I, O)."""
        return (self.weight[0] * self.scale).square().sum((2, 3)).t()

    def fold(self) -> None:
        """Keep the lengths of the kernels; the weights stay."""
        self.squares = self._squares() if self.demodulate else None


class StyledConv(nn.Module):
    """A modulated convolution and a leaky ReLU with bias and gain; no noise."""

    def __init__(self, inside: int, outside: int, kernel: int, style: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inside, outside, kernel, style, upsample=upsample)
        self.activate = FusedLeakyReLU(outside)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) and styles (B, S) to (B, O, H', W')."""
        return self._activated(*self.conv.unscaled(x, style))

    def of_scaled(self, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """The same for a map that has been multiplied by the scales (B, I) of its channels."""
        return self._activated(*self.conv.of_scaled(x, scales))

    def _activated(self, y: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        bias = self.activate.bias.view(1, -1, 1, 1)
        return leaky_(torch.addcmul(bias * GAIN, y, factor * GAIN, out=lia_fast.room(y)))


class Direction(nn.Module):
    """Motion codes to directions in style space: the code's coordinates in an orthonormal basis.

    The basis is the reduced QR factor of the weights; its signs are the factorisation's own.
    """

    kept: torch.Tensor | None

    def __init__(self, style: int, motion: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(style, motion))
        self.register_buffer("kept", None, persistent=False)

    def basis(self) -> torch.Tensor:
        """(S, M) with orthonormal columns."""
        return torch.linalg.qr(self.weight + _SMALL).Q if self.kept is None else self.kept

    def forward(self, alpha: torch.Tensor) -> torch.Tensor:
        """(B, M) to (B, S)."""
        return alpha @ self.basis().t()

    def fold(self) -> None:
        """Keep the basis."""
        self.kept = self.basis()


_Foldable = ConvLayer | EqualConv2d | EqualLinear | ModulatedConv2d | Direction


@torch.no_grad()
def folded(network: _Module) -> _Module:
    """The network itself, for inference only: what depends on the weights alone is computed once.

    Its weights are no longer those of a file. A network that is folded already stays as it is. Fold before the move
    to another device or precision: the basis of the motion directions is computed in float32 on the CPU.
    """
    network.eval().requires_grad_(False)
    inside_layers = {id(part) for layer in network.modules() if isinstance(layer, ConvLayer) for part in layer}
    for layer in network.modules():
        if isinstance(layer, _Foldable) and id(layer) not in inside_layers:
            layer.fold()
    return network


def pads_before_halving(kernel: int) -> tuple[int, int]:
    """Zeros around a map that is blurred and then read by a kernel of this size with stride 2."""
    spare = 2 + (kernel - 1)
    return (spare + 1) // 2, spare // 2


def _depthwise(
    x: torch.Tensor, kernel: torch.Tensor, stride: int, padding: int = 0, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Each channel of (B, C, H, W) correlated with one kernel."""
    channels = x.shape[1]
    weight = kernel.to(x.dtype).expand(channels, 1, *kernel.shape)
    return functional.conv2d(x, weight, bias, stride=stride, padding=padding, groups=channels)


def _times(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x if factor == 1.0 else x * factor
