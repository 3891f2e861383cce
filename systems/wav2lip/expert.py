"""The lip-sync expert: embeddings of five lower face halves and of 0.2 s of speech, alike where the two agree.

:class:`SyncNetColor` is Wav2Lip's (``Rudrabha/Wav2Lip: models/syncnet.py``, manifest ``wav2lip_syncnet_color.json``).
:class:`SmallSyncNet` is a small one of our own with the same interface (tfg.md 2.6), for corpora and machines where
the large one cannot be trained. Both end in a ReLU, so that cosines lie in [0, 1].
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bench.systems.wav2lip.blocks import ConvBN, audio_encoder, residuals

FRAMES = 5  # of a window: 0.2 s, as the 16 mel columns
_NORM_EPS = 1e-12


class SyncExpert(nn.Module):
    """What a lip-sync expert is: two encoders whose maps become unit vectors (N, E).

    ``audio_encoder``: mel windows (N, 1, 80, 16). ``face_encoder``: lower halves (N, 15, S/2, S), five
    frames behind one another as channels, each blue, green, red. ``image`` is S.
    """

    audio_encoder: nn.Module
    face_encoder: nn.Module
    image: int

    def embed_audio(self, mel: torch.Tensor) -> torch.Tensor:
        """(N, 1, 80, 16) to unit vectors (N, E); a silent network gives zeros."""
        return F.normalize(self.audio_encoder(mel).flatten(1), p=2, dim=1, eps=_NORM_EPS)

    def embed_face(self, lower_halves: torch.Tensor) -> torch.Tensor:
        """(N, 15, S/2, S) to unit vectors (N, E)."""
        return F.normalize(self.face_encoder(lower_halves).flatten(1), p=2, dim=1, eps=_NORM_EPS)

    def forward(self, mel: torch.Tensor, lower_halves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Audio and face embeddings."""
        return self.embed_audio(mel), self.embed_face(lower_halves)


class SyncNetColor(SyncExpert):
    """Wav2Lip's expert: 16 435 072 parameters at ``width`` 32 and 96 px."""

    def __init__(self, width: int = 32, image: int = 96) -> None:
        super().__init__()
        self.image = image
        w2, w4, w8, w16 = (width * factor for factor in (2, 4, 8, 16))
        self.face_encoder = nn.Sequential(
            ConvBN(3 * FRAMES, width, 7, 1, 3),  # (N, 32, 48, 96)
            ConvBN(width, w2, 5, (1, 2), 1),  # (N, 64, 46, 47): the padding of a 3x3 kernel
            *residuals(w2, 2),
            ConvBN(w2, w4, 3, 2),  # (N, 128, 23, 24)
            *residuals(w4, 3),
            ConvBN(w4, w8, 3, 2),  # (N, 256, 12, 12)
            *residuals(w8, 2),
            ConvBN(w8, w16, 3, 2),  # (N, 512, 6, 6)
            *residuals(w16, 2),
            ConvBN(w16, w16, 3, 2),  # (N, 512, 3, 3)
            ConvBN(w16, w16, image // 32, 1, 0),
            ConvBN(w16, w16, 1, 1, 0),
        )
        self.audio_encoder = audio_encoder((width, w2, w4, w8), w16, last_residuals=2)


class SmallSyncNet(SyncExpert):
    """Four halving layers per stream, the mean over places, a linear layer; 64 px by default.

    As a judge (in evaluation mode) its last ReLU is a soft one: with 64 numbers, embeddings that do not agree have none
    in common, their cosine is exactly 0, and nobody could learn from it. Held-out pairs are told apart as well.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 48, 64), embedding: int = 64, image: int = 64) -> None:
        super().__init__()
        self.image = image
        self.face_encoder = _halving(3 * FRAMES, widths, embedding)
        self.audio_encoder = _halving(1, widths, embedding)


def _halving(inside: int, widths: tuple[int, ...], embedding: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(ConvBN(inside, width, 3, 2))
        inside = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, embedding), _Positive())


class _Positive(nn.Module):
    """ReLU in training; in evaluation ``softplus``, which has a slope everywhere."""

    _SHARPNESS = 5.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) if self.training else F.softplus(x, self._SHARPNESS)
