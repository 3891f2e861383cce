"""What the talking face is trained with, beside what it shares with Wav2Lip.

Stabilised synchronisation and adaptive triplet loss: arXiv 2307.09368 (PLGAN); the rest by tfg.md 2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from bench.systems.wav2lip.losses import lower_halves

if TYPE_CHECKING:
    from bench.systems.wav2lip.expert import SyncExpert

SYNC_EPS = 1e-6


def stabilized_sync(x: torch.Tensor, y: torch.Tensor, d: torch.Tensor, eps: float = SYNC_EPS) -> torch.Tensor:
    """Losses (N,) from cosines with the same audio: generated lips ``x``, true lips ``y``, the reference's lips ``d``.

    The published ``-log(1 - (|x-y| + eps) / (|x-y| + |y-d| + eps))`` is ``log(|x-y| + |y-d| + eps) - log|y-d|``,
    infinite where the reference agrees with the audio as well as the truth; the second logarithm has the floor
    ``eps``. It is 0 (up to ``eps``) where the generated lips agree as well as the true ones. ``y`` and ``d`` get no
    gradient.
    """
    y, d = y.detach(), d.detach()
    near, far = (x - y).abs(), (y - d).abs()
    return torch.log(near + far + eps) - torch.log(far.clamp_min(eps))


def adaptive_triplet(
    made: torch.Tensor, true: torch.Tensor, reference: torch.Tensor, alpha: float = 1.0, floor: float = 0.0
) -> torch.Tensor:
    """Losses (N,) of feature vectors (N, …): near the truth, and far from the reference by the truth's measure."""

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        length: torch.Tensor = torch.linalg.vector_norm((a - b).flatten(1), dim=1)
        return length

    loss = distance(made, true) - distance(made, reference) / distance(true, reference) + alpha
    return loss.clamp_min(floor)


def deceived(made: torch.Tensor) -> torch.Tensor:
    """The generator's part of the game, from the discriminator's logits of generated faces."""
    return F.softplus(-made.float()).mean()


def discerning(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """The discriminator's part, from its logits of real and of generated faces."""
    return F.softplus(-real.float()).mean() + F.softplus(made.float()).mean()


def lip_embedding(expert: SyncExpert, faces: torch.Tensor) -> torch.Tensor:
    """The expert's embeddings (B, E) of RGB clips (B, 3, T, S, S): blue first, in its own size, the lower halves."""
    batch, _, frames, side, _ = faces.shape
    bgr = faces.flip(1)
    if side != expert.image:
        flat = bgr.transpose(1, 2).flatten(0, 1)  # (B·T, 3, S, S)
        flat = F.interpolate(flat, size=(expert.image, expert.image), mode="bilinear", align_corners=False)
        bgr = flat.reshape(batch, frames, *flat.shape[1:]).transpose(1, 2)
    return expert.embed_face(lower_halves(bgr))
