"""What Wav2Lip is trained with: agreement with the expert, likeness, and the discriminator's opinion.

Source: ``Rudrabha/Wav2Lip: color_syncnet_train.py, wav2lip_train.py, hq_wav2lip_train.py`` (tfg.md 1.9). Losses are
computed in float32 whatever the precision around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from bench.systems.wav2lip.expert import SyncExpert

_COSINE_EPS = 1e-8


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosine similarity of rows (N, E), (N,)."""
    return F.cosine_similarity(a, b, dim=1, eps=_COSINE_EPS)


def cross_entropy(probability: torch.Tensor, label: torch.Tensor | float) -> torch.Tensor:
    """Mean binary cross entropy; logarithms are cut at -100.

    Rounding can lift a cosine above 1, so that probabilities are brought into [0, 1] first.
    """
    with torch.autocast(probability.device.type, enabled=False):
        p = probability.float().clamp(0.0, 1.0)
        wanted = torch.as_tensor(label, dtype=p.dtype, device=p.device).expand_as(p)
        return F.binary_cross_entropy(p, wanted)


def cosine_cross_entropy(audio: torch.Tensor, face: torch.Tensor, label: torch.Tensor | float) -> torch.Tensor:
    """The expert's loss: cross entropy of the cosine of embeddings (N, E) with labels (N,)."""
    return cross_entropy(cosine(audio.float(), face.float()), label)


def lower_halves(faces: torch.Tensor) -> torch.Tensor:
    """Clips (B, 3, T, S, S) as the expert sees them: (B, 3·T, S/2, S), frame by frame."""
    lower = faces[:, :, :, faces.shape[3] // 2 :]
    return lower.transpose(1, 2).flatten(1, 2)


def sync_loss(expert: SyncExpert, mel: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """How little generated clips (B, 3, 5, S, S) agree with their mel windows (B, 1, 80, 16).

    The expert should be in evaluation mode with frozen weights; the official trainers leave it in training mode.
    """
    audio, face = expert(mel, lower_halves(faces))
    return cosine_cross_entropy(audio, face, 1.0)


def pixel_loss(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return F.l1_loss(made.float(), true.float())


def deceived(probability: torch.Tensor) -> torch.Tensor:
    """The generator's part of the game: generated faces should be taken for real."""
    return cross_entropy(probability, 1.0)


def discerning(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """The discriminator's part: the sum of both cross entropies, as the two backward passes of the source add up."""
    return cross_entropy(real, 1.0) + cross_entropy(made, 0.0)
