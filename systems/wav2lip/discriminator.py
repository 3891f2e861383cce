"""Wav2Lip's visual-quality discriminator: is this lower half of a face a real one?

Layout and parameter names of ``Rudrabha/Wav2Lip: models/wav2lip.py`` (``Wav2Lip_disc_qual``, manifest
``wav2lip_disc_qual.json``).
"""

from __future__ import annotations

import torch
from torch import nn

from bench.systems.wav2lip.blocks import ConvLReLU
from bench.systems.wav2lip.generator import time_major


class QualityDiscriminator(nn.Module):
    """Faces (B, 3, T, S, S) to probabilities (T·B, 1), frame by frame; 14 113 793 parameters at 96 px."""

    def __init__(self, width: int = 32, image: int = 96) -> None:
        super().__init__()
        w2, w4, w8, w16 = (width * factor for factor in (2, 4, 8, 16))
        stages = (
            [ConvLReLU(3, width, 7, 1, 3)],  # (T·B, 32, 48, 96)
            [ConvLReLU(width, w2, 5, (1, 2), 2), ConvLReLU(w2, w2, 5, 1, 2)],  # (T·B, 64, 48, 48)
            [ConvLReLU(w2, w4, 5, 2, 2), ConvLReLU(w4, w4, 5, 1, 2)],  # 24
            [ConvLReLU(w4, w8, 5, 2, 2), ConvLReLU(w8, w8, 5, 1, 2)],  # 12
            [ConvLReLU(w8, w16, 3, 2, 1), ConvLReLU(w16, w16, 3, 1, 1)],  # 6
            [ConvLReLU(w16, w16, 3, 2, 1), ConvLReLU(w16, w16, 3, 1, 1)],  # 3
            [ConvLReLU(w16, w16, image // 32, 1, 0), ConvLReLU(w16, w16, 1, 1, 0)],
        )
        self.face_encoder_blocks = nn.ModuleList([nn.Sequential(*stage) for stage in stages])
        self.binary_pred = nn.Sequential(nn.Conv2d(w16, 1, 1), nn.Sigmoid())

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """The probability of each frame to be real, all of the first frame first."""
        x = time_major(faces.transpose(1, 2))  # (T·B, 3, S, S)
        x = x[:, :, x.shape[2] // 2 :]
        for block in self.face_encoder_blocks:
            x = block(x)
        probability: torch.Tensor = self.binary_pred(x).flatten(1)
        return probability
