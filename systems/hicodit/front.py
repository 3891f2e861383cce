"""What is asked of the conditioners, small or full-size: a video looked at once, a voice heard once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from bench.systems.hicodit.emotion import emotion_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Audio


@dataclass(frozen=True)
class Seen:
    """What a video of T frames at 25 Hz says; tensors are on the CPU.

    ``lip`` ``(T, lip)`` float32, features of the mouth. ``face`` ``(face,)`` float32, the vector that the identity
    adapter reads. ``emotion`` ``(T, 7)``, probabilities of the classes. ``lost``: frames without a face, whose
    landmarks are filled in from their neighbours.
    """

    lip: torch.Tensor
    face: torch.Tensor
    emotion: NDArray[np.float32]
    lost: int = 0

    @property
    def frames(self) -> int:
        """T."""
        return len(self.lip)

    def emotions(self, first: int, after: int, length: int) -> torch.Tensor:
        """The class ``(L_emo,)`` int64 at each emotion step of ``length`` tokens that begin with frame ``first``."""
        return torch.as_tensor(emotion_windows(self.emotion[first:after], length), dtype=torch.int64)


class Front(Protocol):
    """The conditioners of a configuration."""

    def seen(self, video: Path, frames: int | None) -> Seen:
        """A video file, cut to ``frames`` frames at 25 Hz, or its last one repeated.

        Raises:
            Unscorable: ``no_face`` where there is none in any frame, ``too_short``, and kinds of :mod:`bench.media`.
        """

    def voice(self, audio: Audio) -> torch.Tensor:
        """The voice vector ``(voice,)`` float32 of unit norm."""
