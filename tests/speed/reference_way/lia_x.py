"""LIA-X as the official script draws with it: one picture at a time, from weights as they are trained.

After ``wyhsirius/LIA-X: networks/{encoder,decoder,ops}.py`` and ``zhenye234/Talker-T2AV: infer.py`` (specs/talker.md
7). Rates and gains are applied at every call; a modulated convolution makes a set of weights for each sample and
convolves it as a group; blurring and doubling insert zeros and convolve each channel, all of that on maps in torch's
ordinary layout; every picture is copied to the host and made whole numbers there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.talker.lia_ops import Blur, EqualConv2d, FusedLeakyReLU, Upsample

_ROOT = 2**0.5


class PlainRenderer:
    """``generator``: not folded."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator.eval()

    @torch.no_grad()
    def identity(self, picture: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Style (1, S), maps and motion code (1, M) of a picture (1, 3, N, N)."""
        enc = self._generator.enc
        pyramid, maps, x = enc.enc_2r, [], picture
        for number in range(1, pyramid.stages + 1):
            block = pyramid.get_submodule(f"block{number}")
            x = layer(block, x) if number == 1 else half(block[0], x)
            maps.append(x)
        last = pyramid.block8
        z = F.conv2d(half(pyramid.block_512, x), last.weight * last.scale).flatten(1)
        return z, maps[::-1], linear(enc.enc_r2t[0], z)

    @torch.no_grad()
    def frames(self, z: Tensor, maps: list[Tensor], motion: Tensor) -> Iterator[Any]:
        """Pictures (N, N, 3) uint8 for raw codes (T, M)."""
        dec = self._generator.dec
        directions = motion @ torch.linalg.qr(dec.direction.weight + 1e-8).Q.T
        for direction in directions:
            made = draw(dec, z + direction, maps).clamp(-1, 1)[0].permute(1, 2, 0).cpu().numpy()
            yield ((made + 1) / 2 * 255).astype(np.uint8)


def draw(dec: Any, style: Tensor, maps: list[Tensor]) -> Tensor:
    """The decoder: styles (1, S) to pictures (1, 3, N, N)."""
    x = styled(dec.conv1, dec.input.input, style)
    warped = picture = raw = None
    for stage, source in zip(dec.stages, maps, strict=True):
        x = styled(dec.get_submodule(stage.up), x, style)
        for block in dec.get_submodule(stage.flow_blocks):
            first = styled(block.conv1, x, style)
            normed = F.group_norm(first, block.norm.num_groups, block.norm.weight, block.norm.bias, block.norm.eps)
            x = first + block.gamma * styled(block.conv2, normed, style)
        moved, x, raw = flow(dec.get_submodule(stage.to_flow), x, style, source, raw)
        warped = moved if warped is None else moved + layer(dec.get_submodule(stage.enlarge), warped)
        for block in dec.get_submodule(stage.rgb_blocks):
            warped = (layer(block.conv2, layer(block.conv1, warped)) + warped) / _ROOT
        rgb = dec.get_submodule(stage.to_rgb)
        drawn = layer(rgb.conv, warped) + rgb.bias
        picture = drawn if picture is None else drawn + doubled(rgb.up, picture)
    assert picture is not None
    return picture


def flow(part: Any, x: Tensor, style: Tensor, source: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The source's map moved, it over ``x``, and the raw flow."""
    raw = modulated(part.conv, x, style) + part.bias
    if before is not None:
        raw = raw + doubled(part.up, before)
    line = torch.linspace(-1, 1, raw.shape[2])
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    places, mask = torch.tanh(raw[:, :2]).permute(0, 2, 3, 1) + grid, torch.sigmoid(raw[:, 2:])
    moved = F.grid_sample(source, places, padding_mode="zeros", align_corners=True) * mask
    return moved, moved + (1 - mask) * x, raw


def half(block: Any, x: Tensor) -> Tensor:
    """The encoder's residual block."""
    return (layer(block.conv2, layer(block.conv1, x)) + layer(block.skip, x)) / _ROOT


def layer(parts: Any, x: Tensor) -> Tensor:
    """Blur or doubling, convolution, activation."""
    for part in parts:
        if isinstance(part, Blur):
            x = filtered(x, part.kernel, pad=part.pad)
        elif isinstance(part, Upsample):
            x = doubled(part, x)
        elif isinstance(part, EqualConv2d):
            x = F.conv2d(x, part.weight * part.scale, part.bias, part.stride, part.padding)
        elif isinstance(part, FusedLeakyReLU):
            x = leaky(x, part.bias)
        elif isinstance(part, nn.Module):
            x = part(x)
    return x


def styled(part: Any, x: Tensor, style: Tensor) -> Tensor:
    """A modulated convolution and its activation."""
    return leaky(modulated(part.conv, x, style), part.activate.bias)


def modulated(conv: Any, x: Tensor, style: Tensor) -> Tensor:
    """The grouped form: weights of each sample."""
    batch, inside, height, width = x.shape
    outside, size = conv.weight.shape[1], conv.weight.shape[-1]
    weight = conv.scale * conv.weight * linear(conv.modulation, style).view(batch, 1, inside, 1, 1)
    if conv.demodulate:
        weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8).view(batch, outside, 1, 1, 1)
    joined = x.reshape(1, batch * inside, height, width)
    if conv.upsample:
        turned = weight.transpose(1, 2).reshape(batch * inside, outside, size, size)
        y = F.conv_transpose2d(joined, turned, stride=2, groups=batch)
        return filtered(y.view(batch, outside, *y.shape[2:]), conv.blur.kernel, pad=conv.blur.pad)
    y = F.conv2d(joined, weight.reshape(batch * outside, inside, size, size), padding=size // 2, groups=batch)
    return y.view(batch, outside, *y.shape[2:])


def linear(part: Any, x: Tensor) -> Tensor:
    """An equalised linear layer without activation."""
    return F.linear(x, part.weight * part.scale, part.bias * part.rate)


def leaky(x: Tensor, bias: Tensor) -> Tensor:
    """Bias, leaky ReLU, gain."""
    return F.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2) * _ROOT


def doubled(part: Any, x: Tensor) -> Tensor:
    """Twice the size."""
    return filtered(x, part.kernel, up=2, pad=(2, 1))


def filtered(x: Tensor, kernel: Tensor, up: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """``upfirdn2d`` in plain PyTorch: every channel a picture of its own, zeros inserted and multiplied."""
    batch, channels, height, width = x.shape
    x = x.reshape(-1, height, 1, width, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).view(-1, 1, height * up, width * up)
    y = F.conv2d(F.pad(x, (*pad, *pad)), kernel.flip(0, 1)[None, None])
    return y.view(batch, channels, *y.shape[2:])
