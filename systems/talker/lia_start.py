"""Initial values of a generator that is trained here: it begins by copying its source, and it can grow.

Not part of LIA-X. Without the identity start a small generator spends its first hundreds of steps on learning to copy
(talker.md 14.2). Draws come from an explicit generator, so a seed makes a network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import nn

from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_decoder import Decoder, RgbBlock, Stage, ToFlow, ToRGB
from bench.systems.talker.lia_encoder import ResBlock
from bench.systems.talker.lia_ops import GAIN, SLOPE, ConvLayer

_Part = TypeVar("_Part", bound=nn.Module)

_COLOURS = 3
_FLOW = 0.02  # of the flow's weights
_RGB = 0.1  # of the rgb blocks' second convolutions
_HALVING = 0.02  # of the new encoder block's second convolution
_MASK, _LAST_MASK = 1.0, 4.0  # biases: most of each map is the warped source at first
#: Values by the ending of a parameter's name; all others are drawn from the normal distribution.
_FIXED = {"modulation.bias": 1.0, "gamma": 0.1, "norm.weight": 1.0, "bias": 0.0}


@torch.no_grad()
def begin_as_copy(generator: Generator, draws: torch.Generator | None = None) -> Generator:
    """Fill ``generator`` so that it returns its source, but for a small random flow; returns it.

    Raises:
        ValueError: the last stage has fewer than six channels: a colour takes two, for its two signs.
    """
    sizes, decoder = generator.sizes, generator.dec
    if sizes.widths[-1] < 2 * _COLOURS:
        raise ValueError(f"the last stage has {sizes.widths[-1]} channels, copying takes {2 * _COLOURS}")
    _draw(generator, draws)
    for stage in decoder.stages:
        _calm(decoder, stage, _MASK)
        _to_rgb(decoder, stage).conv.conv.weight.zero_()
    _split_signs(generator.enc.enc_2r.block1)
    _let_through(decoder, decoder.stages[-1])
    masks = _LAST_MASK + (sizes.stages - 1) * _MASK  # the earlier stages' biases are added up
    shown = math.sqrt(2.0) ** (1 - sizes.blocks) / (1.0 + math.exp(-masks))
    _join_signs(_to_rgb(decoder, decoder.stages[-1]), shown)
    return generator


@torch.no_grad()
def grow(small: Generator, draws: torch.Generator | None = None) -> Generator:
    """A generator of twice the size that makes the picture of ``small`` enlarged, to be trained on.

    A new encoder block halves the picture before the blocks of ``small``, a new last stage enlarges it after its
    stages, both as wide as the last ones; the rest is copied. Codes and styles keep their meaning.
    """
    large = Generator(small.sizes.grown(small.sizes.widths[-1]))
    _draw(large, draws)
    large.load_state_dict(dict(_moved(small)), strict=False)
    _only_halve(part(ResBlock, large.enc.enc_2r, "block2.0"))
    _calm(large.dec, large.dec.stages[-1], 0.0)
    end = _to_rgb(large.dec, large.dec.stages[-1])
    end.conv.conv.weight.zero_()
    return large


def _draw(generator: Generator, draws: torch.Generator | None) -> None:
    """The layers' own initial values, from ``draws``."""
    for name, parameter in generator.named_parameters():
        fixed = [value for ending, value in _FIXED.items() if name.endswith(ending)]
        if fixed:
            parameter.fill_(fixed[0])
        else:
            parameter.normal_(generator=draws)


def _calm(decoder: Decoder, stage: Stage, mask: float) -> None:
    """Hardly any flow, hardly any drawing, and a mask of this bias."""
    flow = part(ToFlow, decoder, stage.to_flow)
    flow.conv.weight.mul_(_FLOW)
    flow.bias[:, 2] = mask
    for block in rgb_blocks(decoder, stage):
        block.conv2.conv.weight.mul_(_RGB)


def _let_through(decoder: Decoder, stage: Stage) -> None:
    """The stage's drawing is its warped map alone, and its mask is nearly 1."""
    part(ToFlow, decoder, stage.to_flow).bias[:, 2] = _LAST_MASK
    for block in rgb_blocks(decoder, stage):
        block.conv2.conv.weight.zero_()
    if not stage.first:
        part(ConvLayer, decoder, stage.enlarge).conv.weight.zero_()


def _split_signs(first: ConvLayer) -> None:
    """Colours in the first six channels: as they are, and negative."""
    weight = first.conv.weight
    weight[: 2 * _COLOURS] = 0.0
    for colour in range(_COLOURS):
        weight[colour, colour] = 1.0 / first.conv.scale
        weight[_COLOURS + colour, colour] = -1.0 / first.conv.scale


def _join_signs(end: ToRGB, shown: float) -> None:
    """The picture from the six channels, of which the part ``shown`` arrives, shifted to where the slope is 1."""
    factor = 1.0 / ((1.0 + SLOPE) * GAIN * shown)
    conv = end.conv.conv
    for colour in range(_COLOURS):
        conv.weight[colour, colour] = factor / conv.scale
        conv.weight[colour, _COLOURS + colour] = -factor / conv.scale
    end.conv.get_parameter("1.bias").fill_(1.0 / GAIN)
    end.bias.fill_(-1.0)


def _only_halve(block: ResBlock) -> None:
    """The block's way round is the blurred map, its way through next to nothing."""
    weight = block.skip.conv.weight
    weight.zero_()
    weight[:, :, 0, 0].fill_diagonal_(math.sqrt(2.0) / block.skip.conv.scale)
    block.conv2.conv.weight.mul_(_HALVING)


def _moved(small: Generator) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of ``small`` under the names that they have in the grown one."""
    for name, tensor in small.state_dict().items():
        found = re.fullmatch(r"(enc\.enc_2r\.block)([2-7])(\..*)", name)
        yield (f"{found[1]}{int(found[2]) + 1}{found[3]}" if found else name), tensor


def _to_rgb(decoder: Decoder, stage: Stage) -> ToRGB:
    return part(ToRGB, decoder, stage.to_rgb)


def part(kind: type[_Part], module: nn.Module, name: str) -> _Part:
    """The sub-module ``name``, which is a ``kind``."""
    found = module.get_submodule(name)
    if not isinstance(found, kind):
        raise TypeError(f"{name} is a {type(found).__name__}, not a {kind.__name__}")
    return found


def rgb_blocks(decoder: Decoder, stage: Stage) -> list[RgbBlock]:
    return [block for block in decoder.get_submodule(stage.rgb_blocks).children() if isinstance(block, RgbBlock)]
