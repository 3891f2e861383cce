"""Discriminators of the synthesizer and of SpeechSR: complex spectrograms at several resolutions, and periods.

Their weights are not published; they are here for training. Sizes from ``sh-lee-prml/HierSpeechpp:
hierspeechpp_speechsynthesizer.py``; the ideas from UnivNet/EnCodec (spectrograms) and HiFi-GAN (periods).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.weight_norm import WNConv2d
from bench.systems.hierspeech.source import LRELU_SLOPE

PERIODS = (2, 3, 5, 7, 11)
#: (n_fft, hop, window) of 16 and 24 kHz.
RESOLUTIONS = ((2048, 512, 2048), (1024, 256, 1024), (512, 128, 512), (256, 64, 256), (128, 32, 128))
#: 48 kHz has one more.
RESOLUTIONS_48K = ((4096, 1024, 4096), *RESOLUTIONS)
_PERIOD_WIDTHS = (32, 128, 512, 1024)
_STFT_WIDTH = 32

#: Logits, flattened from axis 1 on, and the maps after every layer.
Judgement = tuple[Tensor, list[Tensor]]


def _judge(convs: nn.ModuleList, post: nn.Module, x: Tensor) -> Judgement:
    maps = []
    for conv in convs:
        x = F.leaky_relu(conv(x), LRELU_SLOPE)
        maps.append(x)
    maps.append(post(x))
    return maps[-1].flatten(1), maps


class PeriodDiscriminator(nn.Module):
    """Looks at a waveform ``(B, 1, L)`` folded into columns of ``period`` samples."""

    def __init__(self, period: int, kernel_size: int = 5, stride: int = 3) -> None:
        super().__init__()
        self.period = period
        pad = (kernel_size // 2, 0)
        widths = (1, *_PERIOD_WIDTHS)
        convs = [WNConv2d(before, after, (kernel_size, 1), (stride, 1), pad) for before, after in pairwise(widths)]
        convs.append(WNConv2d(widths[-1], widths[-1], (kernel_size, 1), 1, pad))
        self.convs = nn.ModuleList(convs)
        self.conv_post = WNConv2d(widths[-1], 1, (3, 1), 1, (1, 0))

    def forward(self, x: Tensor) -> Judgement:
        """Logits ``(B, N)`` and six maps ``(B, C, L', period)``; L must exceed the period."""
        x = F.pad(x, (0, -x.shape[-1] % self.period), mode="reflect")
        return _judge(self.convs, self.conv_post, x.reshape(*x.shape[:2], -1, self.period))


class ComplexStft(nn.Module):
    """``(B, 1, L)`` to the spectrum ``(B, 1, bins, frames)`` over the window's norm; no padding at the ends."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int, win: int) -> None:
        super().__init__()
        self.n_fft, self.hop, self.win = n_fft, hop, win
        self.register_buffer("window", torch.hann_window(win))

    def forward(self, x: Tensor) -> Tensor:
        """See the class; L must be at least ``n_fft``."""
        spectrum: Tensor = torch.stft(
            x.squeeze(1), self.n_fft, self.hop, self.win, self.window, center=False, return_complex=True
        )
        return (spectrum / self.window.square().sum().sqrt()).unsqueeze(1)


class StftDiscriminator(nn.Module):
    """Looks at real and imaginary parts of a spectrogram with the given (n_fft, hop, window)."""

    def __init__(self, resolution: Sequence[int]) -> None:
        super().__init__()
        n_fft, hop, win = resolution
        self.spec_transform = ComplexStft(n_fft, hop, win)
        width = _STFT_WIDTH
        self.convs = nn.ModuleList(
            [
                WNConv2d(2, width, (3, 9), 1, (1, 4)),
                *(WNConv2d(width, width, (3, 9), (1, 2), (d, 4), (d, 1)) for d in (1, 2, 4)),
                WNConv2d(width, width, (3, 3), 1, (1, 1)),
            ]
        )
        self.conv_post = WNConv2d(width, 1, (3, 3), 1, (1, 1))

    def forward(self, x: Tensor) -> Judgement:
        """Logits ``(B, N)`` and six maps ``(B, C, frames, bins')`` of a waveform ``(B, 1, L)``."""
        spectrum = self.spec_transform(x)
        parts = torch.cat([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)  # (B, 2, frames, bins)
        return _judge(self.convs, self.conv_post, parts)


class MultiDiscriminator(nn.Module):
    """All of them, spectrograms first."""

    def __init__(self, resolutions: Sequence[Sequence[int]] = RESOLUTIONS, periods: Sequence[int] = PERIODS) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList([*map(StftDiscriminator, resolutions), *map(PeriodDiscriminator, periods)])

    def forward(self, x: Tensor) -> list[Judgement]:
        """What each one says of the waveforms ``(B, 1, L)``."""
        return [discriminator(x) for discriminator in self.discriminators]
