"""Small things about padded sequences: masks, tokens stretched to frames, slices, and where noise comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

#: Draws standard normal numbers of a shape. Networks ask for their noise one draw after the other and
#: never use a global generator, so that runs can be repeated and recorded noise be put in.
Noise = Callable[[tuple[int, ...]], Tensor]


def generator_noise(generator: torch.Generator, device: torch.device | str = "cpu") -> Noise:
    """Noise from ``generator``, drawn where the generator lives and then moved to ``device``.

    A generator on the CPU therefore gives the same noise whatever the networks run on.
    """

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device).to(device)

    return draw


def given_noise(*draws: Tensor) -> Noise:
    """The recorded ``draws``, in their order. A draw of another shape, or one too many, is a ``ValueError``."""
    left = list(draws)

    def draw(shape: tuple[int, ...]) -> Tensor:
        if not left or tuple(left[0].shape) != shape:
            found = f"the next one given is {tuple(left[0].shape)}" if left else "none is left"
            raise ValueError(f"noise of shape {shape} is wanted, {found}")
        return left.pop(0)

    return draw


def sequence_mask(lengths: Tensor, size: int | None = None) -> Tensor:
    """1.0 where an item has a value, 0.0 in its padding: ``(B, 1, size)`` float32.

    Args:
        lengths: ``(B,)`` integers.
        size: the padded length; the greatest length where it is None.
    """
    count = int(lengths.max()) if size is None else size
    steps = torch.arange(count, device=lengths.device)
    return (steps < lengths[:, None]).unsqueeze(1).to(torch.float32)


def is_padded(mask: Tensor) -> bool:
    """Whether any item of the mask ``(B, 1, T)`` is shorter than the whole."""
    return not bool((mask != 0).all())


def token_of_frame(frames_per_token: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which token each frame belongs to when token j lasts ``frames_per_token[j]`` frames.

    Args:
        frames_per_token: ``(B, Tx)`` integers of 0 and more.
        size: the number of frames wanted.

    Returns:
        Indices ``(B, size)`` and a float mask ``(B, 1, size)``, 0 behind the last token's end.
    """
    ends = frames_per_token.cumsum(1)  # (B, Tx)
    steps = torch.arange(size, device=ends.device).expand(ends.shape[0], size).contiguous()
    index = torch.searchsorted(ends, steps, right=True).clamp(max=ends.shape[1] - 1)
    return index, sequence_mask(ends[:, -1], size)


def stretch(x: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """``(B, C, Tx)`` to ``(B, C, T)`` by the tokens' indices ``(B, T)``; 0 where the mask ``(B, 1, T)`` is 0."""
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1)) * mask


def take_slices(x: Tensor, starts: Tensor, size: int) -> Tensor:
    """``size`` steps of each item from its start on: ``(B, C, T)`` and ``(B,)`` to ``(B, C, size)``."""
    index = starts[:, None] + torch.arange(size, device=x.device)  # (B, size)
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))


def pad_items(items: Sequence[Tensor], size: int) -> Tensor:
    """Items ``(1, C, T_i)`` in one batch ``(B, C, size)``, zeros behind the shorter ones."""
    return torch.cat([F.pad(item, (0, size - item.shape[2])) for item in items])
