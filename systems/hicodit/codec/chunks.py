"""Long signals in pieces, with the result of the whole.

A convolution's output depends on its input within a reach. A piece that is computed with so much context on both sides,
and then cut, has the numbers of the whole; at the signal's own ends each layer pads with zeros, as in the whole.
Times are counted in frames of the codec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

_UNIT = 3 * (1 + 3 + 9)  # of the three residual units: kernel 7, dilations 1, 3, 9
_SEVEN, _THREE = 3, 1  # of convolutions by their kernel


@dataclass(frozen=True, slots=True)
class Pieces:
    """``before`` and ``after``: numbers per frame along the last axis, in and out. ``context``, ``piece``: frames."""

    before: int
    after: int
    context: int
    piece: int

    def __call__(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``network`` of ``x`` ``(…, before * L)``: ``(…, about after * L)``."""
        frames = x.shape[-1] // self.before
        if frames <= self.piece + 2 * self.context:
            return network(x)
        return torch.cat([self._cut(network, x, first, frames) for first in range(0, frames, self.piece)], dim=-1)

    def _cut(self, network: Callable[[Tensor], Tensor], x: Tensor, first: int, frames: int) -> Tensor:
        last = first + self.piece
        low, high = max(0, first - self.context), min(frames, last + self.context)
        made = network(x[..., low * self.before : high * self.before])
        stop = (last - low) * self.after if last < frames else None  # the end may fall short of whole frames
        return made[..., (first - low) * self.after : stop]


def encoder_reach(strides: Sequence[int]) -> int:
    """Frames on each side that :class:`bench.nets.codec_blocks.CodecEncoder` hears."""
    reach, apart = float(_SEVEN), 1  # in samples; samples between two steps of a layer
    for stride in strides:
        reach += apart * (_UNIT + 2 * stride)
        apart *= stride
    return ceil((reach + apart * _THREE) / apart)


def decoder_reach(strides: Sequence[int]) -> int:
    """Frames on each side that :class:`bench.nets.codec_blocks.CodecDecoder` needs."""
    reach, rate = float(_SEVEN), 1  # in frames; steps of a layer per frame
    for stride in strides:
        reach += 2 / rate  # two inputs of a kernel of two strides
        rate *= stride
        reach += _UNIT / rate
    return ceil(reach + _SEVEN / rate)
