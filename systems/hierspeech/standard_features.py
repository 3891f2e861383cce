"""The tiny configuration's speech features: a small wav2vec 2.0, each of its numbers standardised.

It stands in for MMS: same class of network, same padding, same 50 Hz; 128 numbers a frame, standardised so that one
loss weight fits all of them. What it learns is in :mod:`bench.systems.hierspeech.training.features`.
"""

from __future__ import annotations

import torch

from bench.systems.hierspeech import tiny
from bench.systems.hierspeech.w2v import Wav2VecFeatures

_LEAST_SPREAD = 1e-3  # is added to every standard deviation


class StandardFeatures(Wav2VecFeatures):
    """Audio ``(B, L)`` at 16 kHz to features ``(B, D, T)``, T = the padded length / 320 (a multiple of 4).

    ``feat_mean`` and ``feat_std`` ``(D,)`` are the training clips'; fresh ones change nothing.

    Raises:
        UsageError: transformers is absent or cannot be imported.
    """

    feat_mean: torch.Tensor
    feat_std: torch.Tensor

    def __init__(self) -> None:
        super().__init__(tiny.W2V, tiny.W2V_LAYER)
        self.register_buffer("feat_mean", torch.zeros(tiny.FEATURES))
        self.register_buffer("feat_std", torch.ones(tiny.FEATURES))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Standardised features ``(B, D, T)`` of ``audio`` ``(B, L)``, padded as :func:`.w2v.padded` does."""
        return (super().forward(audio) - self.feat_mean[:, None]) / self.feat_std[:, None]

    def raw(self, audio: torch.Tensor) -> torch.Tensor:
        """The same before standardisation."""
        return super().forward(audio)

    def set_statistics(self, total: torch.Tensor, squares: torch.Tensor, frames: int) -> None:
        """From sums over ``frames`` frames: ``total`` ``(D,)`` of the raw numbers, ``squares`` of their squares."""
        mean = total.double() / frames
        spread = (squares.double() / frames - mean.square()).clamp_min(0).sqrt()
        self.feat_mean.copy_(mean)
        self.feat_std.copy_(spread + _LEAST_SPREAD)
