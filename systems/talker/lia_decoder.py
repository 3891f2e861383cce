"""LIA-X's decoder: a style code and the maps of a source picture to a picture in which the source has moved.

Source: ``wyhsirius/LIA-X: networks/decoder.py``, for any size and widths (:class:`~.lia_sizes.LiaSizes`). Each stage
computes a flow and a mask from the style, warps the source's map with them, and adds what it draws from the warped
map to the picture of the stage before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from bench.systems.talker.lia_ops import ConvLayer, Direction, ModulatedConv2d, StyledConv, Upsample
from bench.systems.talker.lia_sizes import LiaSizes

_EPSILON = 1e-5
_HALF_POWER = 0.5**0.5  # the sum of two maps of equal power
_GAMMA = 0.1  # initial weight of a flow block's second half


class RgbBlock(nn.Module):
    """Two convolutions and the way round them, which is a 1x1 projection where the widths differ."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(inside, outside, 3)
        self.conv2 = ConvLayer(outside, outside, 3)
        if inside != outside:
            self.skip: nn.Module = ConvLayer(inside, outside, 1, activate=False, bias=False)
        else:
            self.skip = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) to (B, O, H, W)."""
        y: torch.Tensor = self.conv2(self.conv1(x)) + self.skip(x)
        return y.mul_(_HALF_POWER)


class ExactGroupNorm(nn.GroupNorm):
    """Group normalisation of a map with its channels side by side in memory, whatever the layout of what comes in.

    For channels last PyTorch's CPU kernel takes the variance as a difference of two mean squares, which loses three
    to five digits where the mean is large. Training keeps that kernel: it is the faster one, a map of a training has no
    such means, and the shipped curves were made with it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape, channels last."""
        if self.training:
            return super().forward(x)
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


class FlowBlock(nn.Module):
    """Two styled convolutions, the second on a normalised map; what is added to is the first one's result."""

    def __init__(self, width: int, style: int, groups: int) -> None:
        super().__init__()
        self.conv1 = StyledConv(width, width, 3, style)
        self.norm = ExactGroupNorm(groups, width, eps=_EPSILON)
        self.conv2 = StyledConv(width, width, 3, style)
        self.gamma = nn.Parameter(torch.full((1, width, 1, 1), _GAMMA))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and styles (B, S) to (B, C, H, W)."""
        first = self.conv1(x, style)
        return torch.addcmul(first, self.gamma, self.conv2(self.norm(first), style))


class ToRGB(nn.Module):
    """A map to a picture, on top of the enlarged picture of the stage before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = Upsample()
        self.conv = ConvLayer(width, 3, 1)  # activated, other than in StyleGAN2
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: torch.Tensor, previous: torch.Tensor | None = None) -> torch.Tensor:
        """(B, C, H, W) and (B, 3, H / 2, W / 2) or nothing to (B, 3, H, W)."""
        y: torch.Tensor = self.conv(x) + self.bias
        return y if previous is None else y + self.up(previous)


class ToFlow(nn.Module):
    """A flow and a mask from the style, and the source's map warped with them."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.up = Upsample()
        self.conv = ModulatedConv2d(width, 3, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(
        self, x: torch.Tensor, style: torch.Tensor, source: torch.Tensor, previous: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The warped map, it over ``x`` by the mask, and the raw values that the next stage begins with.

        ``x``, ``source``: (B, C, H, W); ``previous``: raw values (B, 3, H / 2, W / 2) or nothing; raw: (B, 3, H, W).
        """
        raw = self.conv(x, style) + self.bias
        if previous is not None:
            raw = raw + self.up(previous)
        mask = torch.sigmoid(raw[:, 2:])
        moved = functional.grid_sample(source, flow_of(raw), padding_mode="zeros", align_corners=True)
        warped = moved.contiguous(memory_format=torch.channels_last) * mask
        return warped, torch.addcmul(warped, 1.0 - mask, x), raw


def flow_of(raw: torch.Tensor) -> torch.Tensor:
    """Raw values (B, 3, H, W) to where each pixel is read, (B, H, W, 2) x, y; ±1: the outer pixels' centres."""
    line = torch.linspace(-1.0, 1.0, raw.shape[2], device=raw.device, dtype=raw.dtype)
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    return torch.tanh(raw[:, :2]).permute(0, 2, 3, 1) + places


class ConstantInput(nn.Module):
    """The 4 x 4 map that every picture begins with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, width, 4, 4))

    def forward(self, batch: int) -> torch.Tensor:
        """(batch, C, 4, 4)."""
        return self.input.expand(batch, -1, -1, -1).contiguous(memory_format=torch.channels_last)


class Stage:
    """The modules of one size under their official names: ``conv_512_…`` for 8 x 8, then ``conv2_…``, ``conv3_…``."""

    def __init__(self, number: int) -> None:
        stem, short = ("conv_512", "_512") if number == 1 else (f"conv{number}", str(number))
        self.first = number == 1
        self.up, self.flow_blocks = f"{stem}_1", f"{stem}_2"
        self.enlarge, self.rgb_blocks = f"{stem}_2_up", f"{stem}_2_rgb"
        self.to_rgb, self.to_flow = f"rgb{short}", f"flow{short}"


class Decoder(nn.Module):
    """See :meth:`forward`."""

    def __init__(self, sizes: LiaSizes) -> None:
        super().__init__()
        style = sizes.style_dim
        self.direction = Direction(style, sizes.motion_dim)
        self.input = ConstantInput(sizes.widths[0])
        self.conv1 = StyledConv(sizes.widths[0], sizes.widths[0], 3, style)
        self.stages = [Stage(number) for number in range(1, sizes.stages + 1)]
        before = (sizes.widths[0], *sizes.widths)
        for stage, inside, width in zip(self.stages, before, sizes.widths, strict=False):
            flows = [FlowBlock(width, style, sizes.groups) for _ in range(sizes.blocks)]
            self.add_module(stage.up, StyledConv(inside, width, 3, style, upsample=True))
            self.add_module(stage.flow_blocks, nn.ModuleList(flows))
            if not stage.first:
                self.add_module(stage.enlarge, ConvLayer(inside, width, 3, upsample=True))
            self.add_module(stage.rgb_blocks, nn.Sequential(*(RgbBlock(width, width) for _ in range(sizes.blocks))))
            self.add_module(stage.to_rgb, ToRGB(width))
            self.add_module(stage.to_flow, ToFlow(width, style))

    def forward(self, style: torch.Tensor, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Styles (B, S) and the source's n maps (B or 1, C, N, N), N = 8, 16, …, to pictures (B, 3, S, S)."""
        return self.with_flows(style, maps)[0]

    def with_flows(self, style: torch.Tensor, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The pictures, and each stage's raw flow (B, 3, N, N) (see :func:`flow_of`)."""
        batch = style.shape[0]
        x = self.conv1(self.input(batch), style)
        warped: torch.Tensor | None = None
        picture: torch.Tensor | None = None
        raw: torch.Tensor | None = None
        flows: list[torch.Tensor] = []
        for stage, source in zip(self.stages, maps, strict=True):
            x = self.get_submodule(stage.up)(x, style)
            for block in self.get_submodule(stage.flow_blocks).children():
                x = block(x, style)
            source = source.expand(batch, -1, -1, -1)
            moved, x, raw = self.get_submodule(stage.to_flow)(x, style, source, raw)
            warped = moved if warped is None else moved + self.get_submodule(stage.enlarge)(warped)
            warped = self.get_submodule(stage.rgb_blocks)(warped)
            picture = self.get_submodule(stage.to_rgb)(warped, picture)
            flows.append(raw)
        if picture is None:
            raise ValueError("a decoder has at least one stage")
        return picture, flows
