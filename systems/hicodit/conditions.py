"""What a clip gives to the model besides its length: made once per clip, then kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Conditions:
    """The three conditions of one clip, on the CPU.

    Attributes:
        lip: lip features ``(T, lip)`` float32, one per video frame at 25 frames a second.
        identity: voice vector ``(voice,)`` float32 of unit norm.
        emotion: class per emotion step, ``(L_emo,)`` int64; a step lasts ``stride`` codec frames.
    """

    lip: Tensor
    identity: Tensor
    emotion: Tensor
