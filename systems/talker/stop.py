"""When to stop: the classifier on the hidden state, its labels at patch positions, and its loss.

After ``zhenye234/Talker-T2AV: speech_llm.py``, with labels as in DiTAR: the last patch is positive, the fraction of
a second before it is left out, everything earlier is negative.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IGNORED = -100
IGNORE_SECONDS = 0.3
#: Longer spans have no positive: they were cut at the greatest length of a clip.
MAX_SECONDS = 30.0
#: The weight of positives is the mean number of negatives times this.
WEIGHT_FACTOR = 0.3


class StopPredictor(nn.Module):
    """The logit of "this is the last position"."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, dim)`` to ``(B, T)``."""
        out: Tensor = self.head(F.silu(self.proj(x)))
        return out.squeeze(-1)


def stop_labels(
    start: Tensor,
    length: Tensor,
    positions: int,
    fps: float = 25.0,
    patch_size: int = 4,
    ignore_seconds: float = IGNORE_SECONDS,
) -> Tensor:
    """Labels ``(B, positions)`` int64: 1 stop, 0 continue, -100 ignored.

    Args:
        start: the first patch position of each row ``(B,)``.
        length: the number of patches of each row ``(B,)``.
        positions: length of the sequences.
        fps: frames a second.
        patch_size: frames a patch.
        ignore_seconds: how much before the last patch is left out (at least one patch).
    """
    spared = max(1, round(ignore_seconds * fps / patch_size))
    start, length = start[:, None], length[:, None]
    end = start + length
    at = torch.arange(positions, device=start.device)[None]
    inside = (at >= start) & (at < end)
    cut = (end > positions) | (length > int(MAX_SECONDS * fps / patch_size))
    negative = inside & (cut | (at < end - 1 - spared))
    labels = torch.full((len(start), positions), IGNORED, dtype=torch.int64, device=start.device)
    return labels.masked_fill(negative, 0).masked_fill(inside & ~cut & (at == end - 1), 1)


def positive_weight(labels: Tensor) -> Tensor:
    """The mean number of negatives of the rows with a positive, 1 where no row has one: 0-d float32."""
    has = (labels == 1).any(1)
    negatives = (labels == 0).sum(1).float()
    return torch.where(has.any(), (negatives * has).sum() / has.sum().clamp(min=1), 1.0)


def stop_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy in float32, averaged over the labelled positions of ``(B, T)``; 0 where there is none."""
    labelled = labels != IGNORED
    if not bool(labelled.any()):
        return logits.float().sum() * 0
    return F.binary_cross_entropy_with_logits(
        logits[labelled].float(), labels[labelled].float(), pos_weight=positive_weight(labels) * WEIGHT_FACTOR
    )
