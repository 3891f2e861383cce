"""The conformer of the denoiser, with its attention over the first axis.

Facts: specs/hierspeech.md, section 7 (``sh-lee-prml/HierSpeechpp: denoiser/conformer.py``, from MP-SENet).
Parameter names are the official ones: what has none of its own keeps its index in the sequence.
"""

from __future__ import annotations

import torch
from torch import nn


class FeedForward(nn.Module):
    """LayerNorm, a layer ``factor`` times as wide, SiLU, and back: (N, L, C) to (N, L, C)."""

    def __init__(self, dim: int, factor: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        wide = dim * factor
        self.ffm = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, wide), nn.SiLU(), nn.Dropout(dropout), nn.Linear(wide, dim)
        )
        self.ffm.append(nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.ffm(x)
        return y


class SelfAttention(nn.Module):
    """LayerNorm and attention **over the first axis** of (N, L, C), the second one being the batch.

    That is what the official code does (no ``batch_first``), and what its weights were trained with.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads)
        self.layernorm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.layernorm(x)
        y: torch.Tensor = self.attn(normed, normed, normed, need_weights=False)[0]
        return y


class Transposed(nn.Module):
    """(N, L, C) to (N, C, L) and back; a place in a sequence, without parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


class ConvModule(nn.Module):
    """Pointwise, gate, depth-wise, pointwise convolutions along the second axis of (N, L, C)."""

    def __init__(self, dim: int, kernel: int, factor: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        wide = dim * factor
        self.ccm = nn.Sequential(
            nn.LayerNorm(dim),
            Transposed(),
            nn.Conv1d(dim, 2 * wide, 1),
            nn.GLU(dim=1),
            nn.Conv1d(wide, wide, kernel, padding=(kernel - 1) // 2, groups=wide),
            nn.BatchNorm1d(wide),
            nn.SiLU(),
            nn.Conv1d(wide, dim, 1),
            Transposed(),
            nn.Dropout(dropout),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.ccm(x)
        return y


class Conformer(nn.Module):
    """Half feed-forward, attention over axis 0, convolution over axis 1, half feed-forward: (N, L, C) as it is."""

    def __init__(self, dim: int, heads: int = 4, ccm_kernel: int = 31, dropout: float = 0.2) -> None:
        super().__init__()
        self.ffm1 = FeedForward(dim, dropout=dropout)
        self.attn = SelfAttention(dim, heads)
        self.ccm = ConvModule(dim, ccm_kernel, dropout=dropout)
        self.ffm2 = FeedForward(dim, dropout=dropout)
        self.post_norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + 0.5 * self.ffm1(x)
        x = x + self.attn(x)
        x = x + self.ccm(x)
        x = x + 0.5 * self.ffm2(x)
        y: torch.Tensor = self.post_norm(x)
        return y
