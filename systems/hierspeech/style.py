"""The style encoder: a mel spectrogram to one vector for the voice.

Mel-style encoder of Meta-StyleSpeech (Min et al. 2021, arXiv 2106.03153); names and sizes follow
``sh-lee-prml/HierSpeechpp: styleencoder.py``. Text-to-vec and synthesizer have one each, of the same build.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.hierspeech.attention import RelativeAttention

_HEADS = 2
_KERNEL = 5


class ConvGlu(nn.Module):
    """A convolution with a gate of its own, added to its input; ``(B, C, T)`` to the same."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, 2 * channels, _KERNEL, padding=_KERNEL // 2)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` to the same."""
        out: Tensor = x + self.drop(F.glu(self.conv1(x), dim=1))
        return out


class StyleEncoder(nn.Module):
    """``(B, in_dim, T)`` to ``(B, out_dim)``.

    Args:
        in_dim: mel bands.
        hidden_dim: width.
        out_dim: length of the style.
        dropout: everywhere.
    """

    def __init__(self, in_dim: int = 80, hidden_dim: int = 256, out_dim: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.spectral = nn.Sequential(
            nn.Conv1d(in_dim, hidden_dim, 1),
            nn.Mish(),
            nn.Dropout(dropout),
            nn.Conv1d(hidden_dim, hidden_dim, 1),
            nn.Mish(),
            nn.Dropout(dropout),
        )
        self.temporal = nn.Sequential(ConvGlu(hidden_dim, dropout), ConvGlu(hidden_dim, dropout))
        self.slf_attn = RelativeAttention(hidden_dim, _HEADS, None, dropout, alike=True)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Conv1d(hidden_dim, out_dim, 1)

    def forward(self, x: Tensor, mask: Tensor, isolate: bool = False) -> Tensor:
        """The style ``(B, out_dim)`` of the mels ``(B, in_dim, T)``.

        Args:
            x: log-mel spectrograms.
            mask: ``(B, 1, T)``.
            isolate: every item as if it were alone. False is the official behaviour: padded frames reach the
                second convolution and the sum over time, which is divided by the count of real frames.
        """
        x = self.spectral(x) * mask
        for layer in self.temporal:
            x = layer(x * mask if isolate else x)
        x = x * mask
        x = self.fc(x + self.drop(self.slf_attn(x, mask)))
        total = (x * mask if isolate else x).sum(2)
        style: Tensor = total / mask.sum(2)
        return style
