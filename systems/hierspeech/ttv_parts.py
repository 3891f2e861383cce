"""Text encoder, posterior encoder and feature decoder of text-to-vec.

Names and sizes follow ``sh-lee-prml/HierSpeechpp: ttv_v1/t2w2v_transformer.py``.
"""

from __future__ import annotations

from torch import Tensor, nn

from bench.systems.hierspeech.attention import RelativeEncoder
from bench.systems.hierspeech.wavenet import WN

_WN_KERNEL = 5
_WN_DILATION = 1


class TextEncoder(nn.Module):
    """Token ids to hidden states and the Gaussian of each token's latent.

    Two encoders of ``layers`` each, with the style added between them.

    Args:
        vocabulary: number of token ids.
        channels: width, and size of the latent.
        filter_channels: inside the feed-forward parts.
        heads: of the attention.
        layers: of each of the two encoders.
        kernel_size: of the feed-forward convolutions.
        dropout: everywhere.
        gin_channels: of the style.
    """

    def __init__(
        self,
        vocabulary: int,
        channels: int,
        filter_channels: int,
        heads: int,
        layers: int,
        kernel_size: int,
        dropout: float,
        gin_channels: int,
    ) -> None:
        super().__init__()
        self.scale = channels**0.5
        self.emb = nn.Embedding(vocabulary, channels)
        nn.init.normal_(self.emb.weight, std=channels**-0.5)
        self.cond = nn.Conv1d(gin_channels, channels, 1)
        self.encoder = RelativeEncoder(channels, filter_channels, heads, layers, kernel_size, dropout)
        self.encoder2 = RelativeEncoder(channels, filter_channels, heads, layers, kernel_size, dropout)
        self.proj = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, tokens: Tensor, mask: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states, means and log standard deviations, each ``(B, C, Tx)``.

        Args:
            tokens: ids ``(B, Tx)``.
            mask: ``(B, 1, Tx)``.
            g: the style ``(B, gin, 1)``.
        """
        x = self.encoder(self.emb(tokens).transpose(1, 2) * self.scale, mask)
        x = self.encoder2(x + self.cond(g), mask)
        m, logs = (self.proj(x) * mask).chunk(2, dim=1)
        return x, m, logs


class PosteriorEncoder(nn.Module):
    """wav2vec features ``(B, in_channels, T)`` to the Gaussian of their latent ``(B, out_channels, T)``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        n_layers: int,
        gin_channels: int,
        kernel_size: int = _WN_KERNEL,
        dilation_rate: int = _WN_DILATION,
    ) -> None:
        super().__init__()
        self.pre = nn.Conv1d(in_channels, hidden_channels, 1)
        self.enc = WN(hidden_channels, kernel_size, dilation_rate, n_layers, gin_channels)
        self.proj = nn.Conv1d(hidden_channels, 2 * out_channels, 1)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """A latent, the means and the log standard deviations.

        Args:
            x: features ``(B, in_channels, T)``.
            mask: ``(B, 1, T)``.
            g: the style ``(B, gin, 1)``.
            noise: ``(B, out_channels, T)``, standard normal for a sample; None: the latent is the mean.
        """
        h = self.enc(self.pre(x) * mask, mask, g)
        m, logs = (self.proj(h) * mask).chunk(2, dim=1)
        z = m if noise is None else (m + noise * logs.exp()) * mask
        return z, m, logs


class W2VDecoder(nn.Module):
    """Latent ``(B, in_channels, T)`` to wav2vec features ``(B, output_size, T)``."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        n_layers: int,
        output_size: int,
        gin_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.pre = nn.Conv1d(in_channels, hidden_channels, 1)
        self.enc = WN(hidden_channels, _WN_KERNEL, _WN_DILATION, n_layers, gin_channels, dropout)
        self.proj = nn.Conv1d(hidden_channels, output_size, 1)

    def forward(self, z: Tensor, mask: Tensor, g: Tensor) -> Tensor:
        """``(B, in_channels, T)`` to ``(B, output_size, T)``, 0 outside of ``mask``; ``g``: style ``(B, gin, 1)``."""
        h = self.enc(self.pre(z * mask) * mask, mask, g)
        features: Tensor = self.proj(h) * mask
        return features
