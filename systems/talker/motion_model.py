"""The tiny motion autoencoder as it is trained and shipped: generator, statistics of its codes, and a head that reads
landmarks and the state of the mouth out of a code (specs/talker.md, 14.2)."""

from __future__ import annotations

import torch
from torch import nn

from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_encoder import Encoder
from bench.systems.talker.lia_sizes import TINY, LiaSizes
from bench.systems.talker.motion_stats import MotionStats

POINTS = 68  # landmarks
COORDINATES = 2 * POINTS
MOUTH_STATES = ("gap", "width", "jaw", "tuck", "thick", "teeth")
READ = COORDINATES + len(MOUTH_STATES)


class MotionEncoder(nn.Module):
    """Encoder and head, which are trained before the rest."""

    def __init__(self, enc: Encoder, motion_dim: int) -> None:
        super().__init__()
        self.enc = enc
        self.head = nn.Linear(motion_dim, READ)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, S, S) from -1 to 1 to codes (B, C), and what the head reads in them (B, 142)."""
        codes = self.enc.get_alpha(pictures)
        return codes, self.head(codes)


class MotionModel(nn.Module):
    """What the stages ``motion64`` and ``motion`` make.

    ``head`` reads 136 landmark coordinates (less the speaker's mean) and :data:`MOUTH_STATES`, all standardised, out of
    a raw code (B, C): (B, 142). It is no part of the talking face; it shows what a code means without rendering it.
    """

    def __init__(self, sizes: LiaSizes = TINY) -> None:
        super().__init__()
        self.generator = Generator(sizes)
        self.head = nn.Linear(sizes.motion_dim, READ)
        self.motion_stats = MotionStats.blank(sizes.motion_dim)
