"""The losses of text-to-vec's training, with the weights of the official configuration.

``sh-lee-prml/HierSpeechpp: train_ttv_v1.py, losses.py``; the state of the published checkpoint, whose feature
loss runs over the whole padded batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.systems.hierspeech.pitch_predictor import PITCH_RATE
from bench.systems.hierspeech.sequence import take_slices
from bench.systems.hierspeech.ttv import TTVBatch, TTVTraining

#: Token id 0 is the blank between phonemes and that of CTC.
_BLANK = 0


@dataclass(frozen=True, slots=True)
class TTVLossWeights:
    """Factors of the losses that have one. A KL weight of 1 makes the posterior collapse."""

    w2v: float = 10.0
    kl: float = 0.1
    f0: float = 1.0


@dataclass(frozen=True, slots=True)
class TTVLosses:
    """The losses with their weights applied, scalars; ``durations`` is 0 where they were left out."""

    w2v: Tensor
    kl: Tensor
    f0: Tensor
    durations: Tensor
    ctc: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum: what is minimised."""
        return self.w2v + self.kl + self.f0 + self.durations + self.ctc


def ttv_losses(out: TTVTraining, batch: TTVBatch, weights: TTVLossWeights | None = None) -> TTVLosses:
    """All losses of a step; ``out`` is what the network made of ``batch``."""
    weights = weights or TTVLossWeights()
    duration_loss = batch.w2v.new_zeros(()) if out.duration_loss is None else out.duration_loss.sum()
    return TTVLosses(
        w2v=weights.w2v * F.l1_loss(out.w2v, batch.w2v),
        kl=weights.kl * kl_divergence(out),
        f0=weights.f0 * F.l1_loss(out.pitch, pitch_target(batch.f0, out.starts, out.pitch.shape[2])),
        durations=duration_loss,
        ctc=F.ctc_loss(
            out.phoneme_logits.permute(2, 0, 1).log_softmax(2),
            batch.phonemes,
            batch.lengths,
            batch.phoneme_lengths,
            blank=_BLANK,
        ),
    )


def kl_divergence(out: TTVTraining) -> Tensor:
    """How far the posterior's sample is from the prior, in nats per frame (a one-sample estimate)."""
    distance = (out.z_p - out.m_p) ** 2 * torch.exp(-2 * out.logs_p)
    kl = out.logs_p - out.logs_q - 0.5 + 0.5 * distance
    return (kl * out.mask).sum() / out.mask.sum()


def pitch_target(f0: Tensor, starts: Tensor, size: int) -> Tensor:
    """log(F0 + 1) of the slices: ``(B, 1, 4 T)`` in hertz and starts in frames to ``(B, 1, size)``."""
    return torch.log1p(take_slices(f0, starts * PITCH_RATE, size))
