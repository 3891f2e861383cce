"""Self-attention with relative positions, and the post-norm Transformer encoder made of it.

Relative embeddings: Shaw et al. 2018 (arXiv 1803.02155), limited to a window; the encoder is that of Glow-TTS
and VITS. Names and the mask's value follow ``sh-lee-prml/HierSpeechpp: attentions.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: What scores outside of the mask become. Not -inf: a query whose keys are all masked looks at all alike.
MASKED_SCORE = -1e4
WINDOW = 4


class ChannelNorm(nn.Module):
    """Layer norm over the channels of ``(B, C, T)``, with parameters ``gamma`` and ``beta``."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` to the same."""
        return F.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta, self.eps).transpose(1, 2)


class RelativeAttention(nn.Module):
    """Multi-head self-attention of ``(B, C, T)``; nearby pairs get a learnt key and value for their distance.

    Args:
        channels: C, a multiple of ``heads``.
        heads: the number of heads; all use the same embeddings of distances.
        window: the greatest distance with an embedding; None: no embeddings.
        dropout: of the attention weights.
        alike: begin with equal query and key projections, so that at first like attends to like.
    """

    def __init__(
        self, channels: int, heads: int, window: int | None = WINDOW, dropout: float = 0.0, alike: bool = False
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared by {heads} heads")
        self.heads, self.window, self.width = heads, window, channels // heads
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        self.drop = nn.Dropout(dropout)
        if window is not None:
            shape = (1, 2 * window + 1, self.width)
            self.emb_rel_k = nn.Parameter(torch.randn(shape) * self.width**-0.5)
            self.emb_rel_v = nn.Parameter(torch.randn(shape) * self.width**-0.5)
        for conv in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(conv.weight)
        if alike:
            with torch.no_grad():
                for mine, other in zip(self.conv_k.parameters(), self.conv_q.parameters(), strict=True):
                    mine.copy_(other)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, C, T)`` to the same; ``mask`` ``(B, 1, T)``: only pairs inside of it see each other."""
        q = self._split(self.conv_q(x)) * self.width**-0.5  # (B, H, T, W)
        k, v = self._split(self.conv_k(x)), self._split(self.conv_v(x))
        scores = q @ k.transpose(2, 3)  # (B, H, T, T)
        if self.window is not None:
            keys, inside = _band(x.shape[2], self.window, x.device)
            scores = scores.scatter_add(3, keys.expand(*q.shape[:2], -1, -1), (q @ self.emb_rel_k[0].T) * inside)
        pairs = mask.unsqueeze(2) * mask.unsqueeze(3)  # (B, 1, T, T)
        weights = self.drop(scores.masked_fill(pairs == 0, MASKED_SCORE).softmax(3))
        y = weights @ v
        if self.window is not None:
            y = y + (weights.gather(3, keys.expand(*q.shape[:2], -1, -1)) * inside) @ self.emb_rel_v[0]
        out: Tensor = self.conv_o(y.transpose(2, 3).reshape(x.shape))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` to ``(B, heads, T, width)``."""
        return x.reshape(x.shape[0], self.heads, self.width, -1).transpose(2, 3)


def _band(size: int, window: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The key of query i at each distance -window … window, and whether there is one: twice ``(size, 2 window + 1)``.

    Where there is none the index is cut to the ends; what is added or read there must be multiplied by 0.
    """
    steps = torch.arange(size, device=device)
    keys = steps[:, None] + torch.arange(-window, window + 1, device=device)
    inside = (keys >= 0) & (keys < size)
    return keys.clamp(0, size - 1), inside.to(torch.float32)


class FeedForward(nn.Module):
    """Two convolutions of "same" length with ReLU between them; each sees zeros in the padding."""

    def __init__(self, channels: int, filter_channels: int, kernel_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        # an even kernel has its spare tap on the right
        self.pad = ((kernel_size - 1) // 2, kernel_size // 2)
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel_size)
        self.conv_2 = nn.Conv1d(filter_channels, channels, kernel_size)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, C, T)`` to the same, 0 outside of ``mask`` ``(B, 1, T)``."""
        y = self.drop(self.conv_1(F.pad(x * mask, self.pad)).relu())
        out: Tensor = self.conv_2(F.pad(y * mask, self.pad)) * mask
        return out


class RelativeEncoder(nn.Module):
    """``n_layers`` of attention and feed-forward, each added to its input and then normalised.

    Args:
        hidden_channels: C.
        filter_channels: width inside the feed-forward part.
        n_heads: heads of the attention.
        n_layers: layers.
        kernel_size: of the feed-forward convolutions.
        p_dropout: everywhere.
    """

    def __init__(
        self,
        hidden_channels: int,
        filter_channels: int,
        n_heads: int,
        n_layers: int,
        kernel_size: int = 1,
        p_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        every = range(n_layers)
        self.drop = nn.Dropout(p_dropout)
        self.attn_layers = nn.ModuleList(RelativeAttention(hidden_channels, n_heads, WINDOW, p_dropout) for _ in every)
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(hidden_channels) for _ in every)
        self.ffn_layers = nn.ModuleList(
            FeedForward(hidden_channels, filter_channels, kernel_size, p_dropout) for _ in every
        )
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(hidden_channels) for _ in every)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, C, T)`` to the same, 0 outside of ``mask`` ``(B, 1, T)``; padding has no influence."""
        x = x * mask
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True)
        for attention, norm_1, feed_forward, norm_2 in layers:
            x = norm_1(x + self.drop(attention(x, mask)))
            x = norm_2(x + self.drop(feed_forward(x, mask)))
        return x * mask
