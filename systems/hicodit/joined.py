"""The model with what is trained beside it: the small lip front end and the statistics of voices.

It is what ``bench train hicodit --stage dit`` writes as network ``hicodit``. In full size there is the model alone: lip
features come from AV-HuBERT and voices from GE2E, neither of which learns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bench.systems.hicodit.identity import STATISTICS, Vector, standard, tiny_voice
from bench.systems.hicodit.lip_front import LipFront
from bench.systems.hicodit.model import HiCoDiT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.systems.hicodit.sizes import Sizes


class VoiceScale(nn.Module):
    """Mean and deviation (160,) of the statistics of training clips, by which a voice's vector is made."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(STATISTICS))
        self.register_buffer("std", torch.ones(STATISTICS))

    def fit(self, statistics: Sequence[Vector]) -> None:
        """Take over what ``statistics`` (160,) of clips have."""
        mean, deviation = standard(statistics)
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(deviation))

    def vector(self, statistics: Vector) -> Vector:
        """The voice vector (64,) of statistics (160,)."""
        mean, deviation = (np.asarray(own.float().cpu().numpy()) for own in (self.mean, self.std))
        return tiny_voice(statistics, mean, deviation)


class Joined(nn.Module):
    """``dit``, and where there is a ``front``: that, and ``voice``."""

    def __init__(self, sizes: Sizes, front: bool) -> None:
        super().__init__()
        self.front = LipFront(sizes.lip) if front else None
        self.voice = VoiceScale() if front else None
        self.dit = HiCoDiT(sizes)

    def lip(self, stream: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Lip features (B, T, lip) of mouths (B, T, 44, 44); features stay as they are. ``lengths`` (B,): T of each."""
        if self.front is None:
            return stream.float()
        features: Tensor = self.front(stream, lengths)
        return features
