"""LIA-X's decoder: a style code and the maps of a source picture to a picture in which the source has moved.

Source: ``wyhsirius/LIA-X: networks/decoder.py``, for any size and widths (:class:`~.lia_sizes.LiaSizes`). Each stage
computes a flow and a mask from the style, warps the source's map with them, and adds what it draws from the warped
map to the picture of the stage before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from bench.systems.talker import lia_fast
from bench.systems.talker.lia_ops import ConvLayer, Direction, ModulatedConv2d, StyledConv, Upsample
from bench.systems.talker.lia_sizes import LiaSizes

_EPSILON = 1e-5
_HALF_POWER = 0.5**0.5  # the sum of two maps of equal power
_CACHED = 1 << 22  # bytes of a stage's map for which a pass finds in the cache what the one before has written
_GAMMA = 0.1  # initial weight of a flow block's second half


class RgbBlock(nn.Module):
    """Two convolutions and the way round them, which is a 1x1 projection where the widths differ."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(inside, outside, 3)
        self.conv2 = ConvLayer(outside, outside, 3, factor=_HALF_POWER)
        if inside != outside:
            self.skip: nn.Module = ConvLayer(inside, outside, 1, activate=False, bias=False)
        else:
            self.skip = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) to (B, O, H, W)."""
        y: torch.Tensor = self.conv2(self.conv1(x))
        way_round: torch.Tensor = self.skip(x)
        return torch.add(y, way_round, alpha=_HALF_POWER, out=lia_fast.room(y))


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

    def scaled(self, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """The normalised map times ``scales`` (B, C)."""
        if not lia_fast.wanted(x):
            return self.forward(x) * scales[:, :, None, None]
        return lia_fast.normalised(x, self.num_groups, self.weight * scales, self.bias * scales, self.eps)


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
        scales = self.conv2.conv.modulation(style)
        second = self.conv2.of_scaled(self.norm.scaled(first, scales), scales)
        return torch.addcmul(first, self.gamma, second, out=lia_fast.room(first))


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
        return y if previous is None else torch.add(y, self.up(previous), out=lia_fast.room(y))


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

        ``x``: (B, C, H, W); ``source``: (B or 1, C, H, W); ``previous``: raw values (B, 3, H / 2, W / 2) or nothing;
        raw: (B, 3, H, W).
        """
        warped, mask, raw = self.warped(x, style, source, previous)
        return warped, torch.addcmul(warped, 1.0 - mask, x), raw

    def warped(
        self, x: torch.Tensor, style: torch.Tensor, source: torch.Tensor, previous: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The warped map, the mask (B, 1, H, W) that it has been multiplied by, and the raw values."""
        raw = self.conv(x, style) + self.bias
        if previous is not None:
            raw = raw + self.up(previous)
        mask = torch.sigmoid(raw[:, 2:])
        if len(source) == 1 and lia_fast.wanted(source):
            return lia_fast.warped(source, raw, mask), mask, raw
        source = source.expand(len(raw), -1, -1, -1)
        moved = functional.grid_sample(source, flow_of(raw), padding_mode="zeros", align_corners=True)
        return moved.contiguous(memory_format=torch.channels_last) * mask, mask, raw


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


class _Made(NamedTuple):
    """Styles, and what a stage passes on: its two maps, the picture so far and the raw values of its flow."""

    style: torch.Tensor
    x: torch.Tensor
    warped: torch.Tensor | None = None
    picture: torch.Tensor | None = None
    raw: torch.Tensor | None = None

    def split(self, count: int) -> Iterator[_Made]:
        """The same for ``count`` pictures after the other."""
        for start in range(0, len(self.style), count):
            yield _Made(*(None if one is None else one[start : start + count] for one in self))  # type: ignore[arg-type]


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
        if lia_fast.wanted(style) and all(len(source) == 1 for source in maps):
            return self._pictures(0, self._begun(style), maps)
        return self.with_flows(style, maps)[0]

    def with_flows(self, style: torch.Tensor, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The pictures, and each stage's raw flow (B, 3, N, N) (see :func:`flow_of`)."""
        made = self._begun(style)
        flows: list[torch.Tensor] = []
        for stage, source in zip(self.stages, maps, strict=True):
            made = self._stage(stage, made, source)
            flows.append(_there(made.raw))
        return _there(made.picture), flows

    def _begun(self, style: torch.Tensor) -> _Made:
        return _Made(style, self.conv1(self.input(len(style)), style))

    def _pictures(self, done: int, made: _Made, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """The pictures when ``done`` stages are done; only as many at once as the cache holds the maps of."""
        if done == len(self.stages):
            return _there(made.picture)
        at_once = max(1, _CACHED // (maps[done].numel() * maps[done].element_size()))
        if len(made.style) > at_once:
            return torch.cat([self._pictures(done, part, maps) for part in made.split(at_once)])
        return self._pictures(done + 1, self._stage(self.stages[done], made, maps[done]), maps)

    def _stage(self, stage: Stage, made: _Made, source: torch.Tensor) -> _Made:
        x = self.get_submodule(stage.up)(made.x, made.style)
        for block in self.get_submodule(stage.flow_blocks).children():
            x = block(x, made.style)
        flow = self.get_submodule(stage.to_flow)
        if not isinstance(flow, ToFlow):
            raise TypeError(f"{stage.to_flow} is a {type(flow).__name__}, not a ToFlow")
        warped, mask, raw = flow.warped(x, made.style, source, made.raw)
        if stage is not self.stages[-1]:
            x = torch.addcmul(warped, 1.0 - mask, x)
        if made.warped is not None:
            drawn: torch.Tensor = self.get_submodule(stage.enlarge)(made.warped)
            warped = torch.add(drawn, warped, out=lia_fast.room(drawn))
        warped = self.get_submodule(stage.rgb_blocks)(warped)
        return _Made(made.style, x, warped, self.get_submodule(stage.to_rgb)(warped, made.picture), raw)


def _there(tensor: torch.Tensor | None) -> torch.Tensor:
    if tensor is None:
        raise ValueError("a decoder has at least one stage")
    return tensor
