"""Clips of a batch for sampling: their conditions padded to one length, and the frames that a step wants of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.systems.hicodit.blocks import take_frames
from bench.systems.hicodit.conditions import Conditions
from bench.systems.hicodit.model import FRAMES_PER_PICTURE, key_mask
from bench.systems.hicodit.sizes import Sizes

#: Share of the frames above which all are computed.
_MOST = 0.75


@dataclass(frozen=True)
class Batch:
    """Conditions of clips, padded to one length.

    Attributes:
        lip: lip features ``(B, T, lip)``; a clip's last one is repeated.
        identity: ``(B, voice)``.
        emotion: classes ``(B, J)`` int64; a clip's last one is repeated.
        frames: codec frames of each clip.
    """

    lip: Tensor
    identity: Tensor
    emotion: Tensor
    frames: tuple[int, ...]

    @classmethod
    def of(cls, conditions: Sequence[Conditions], lengths: Sequence[int], sizes: Sizes, device: torch.device) -> Batch:
        """The batch of clips with their lengths in codec frames.

        Raises:
            ValueError: no frames, or too few emotion steps for the length.
        """
        for given, length in zip(conditions, lengths, strict=True):
            if length < 1 or not len(given.lip):
                raise ValueError("a clip without frames cannot be sampled")
            if len(given.emotion) < sizes.emotion_steps(length):
                raise ValueError(f"{len(given.emotion)} emotion steps do not last for {length} codec frames")
        longest = max(lengths)
        pictures, steps = -(-longest // FRAMES_PER_PICTURE), sizes.emotion_steps(longest)
        return cls(
            torch.stack([_repeated(given.lip.float(), pictures) for given in conditions]).to(device),
            torch.stack([given.identity.float() for given in conditions]).to(device),
            torch.stack([_repeated(given.emotion.long(), steps) for given in conditions]).to(device),
            tuple(lengths),
        )

    @property
    def longest(self) -> int:
        """Codec frames L of the batch."""
        return max(self.frames)

    @property
    def lengths(self) -> Tensor:
        """Codec frames of each clip ``(B,)``."""
        return torch.tensor(self.frames, device=self.lip.device)

    def keys(self, settings: int) -> Tensor | None:
        """The mask of padding for so many settings on the batch axis, None without padding."""
        if len(set(self.frames)) == 1:
            return None
        return key_mask(self.lengths.repeat(settings), self.longest)


def _repeated(values: Tensor, count: int) -> Tensor:
    """The first ``count`` of ``(n, ...)``, the last one repeated where there are fewer."""
    return values[torch.arange(count).clamp_max(len(values) - 1)]


class Frames:
    """The frames that a step wants of each clip; all frames where they are not few.

    Args:
        flags: ``(B, L)`` bool.
    """

    def __init__(self, flags: Tensor) -> None:
        most = int(flags.sum(1).max())
        self._index: Tensor | None = None
        if most <= _MOST * flags.shape[1]:
            # a row with fewer frames than the fullest row takes others to make up the number
            self._index = flags.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
            self._places = flags.long().cumsum(1) - 1

    def index(self, settings: int) -> Tensor | None:
        """The frames ``(settings * B, Q)``, in order, settings outermost; None: all."""
        return None if self._index is None else self._index.repeat(settings, 1)

    def places(self, clips: Tensor, frames: Tensor) -> Tensor:
        """Where frames of clips lie among the wanted ones."""
        return frames if self._index is None else self._places[clips, frames]

    def taken(self, h: Tensor, settings: int) -> Tensor:
        """The wanted frames of ``(settings * B, L, C)``: ``(settings * B, Q, C)``."""
        index = self.index(settings)
        return h if index is None else take_frames(h, index)
