"""The pitch predictor of text-to-vec: wav2vec features at 50 Hz to log F0 at 200 Hz.

A HiFi-GAN generator (Kong et al. 2020, arXiv 2010.05646) that up-samples by 4 instead of to a waveform. Names follow
``sh-lee-prml/HierSpeechpp: ttv_v1/t2w2v_transformer.py, modules.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.weight_norm import WNConv1d, WNConvTranspose1d

SLOPE = 0.1
#: The last activation is written without a slope in the official code, so it has torch's own.
_LAST_SLOPE = 0.01
_STAGES = 2
_UP_KERNEL, _UP_STRIDE = 4, 2
_KERNELS = (3, 5, 7)
_DILATIONS = (1, 3, 5)
_EDGE_KERNEL = 7
#: Pitch values per feature frame.
PITCH_RATE = _UP_STRIDE**_STAGES


class ResBlock1(nn.Module):
    """Pairs of convolutions, the first of each dilated, each pair added to its input: ``(B, C, T)`` to the same."""

    def __init__(self, channels: int, kernel_size: int = 3, dilation: Sequence[int] = _DILATIONS) -> None:
        super().__init__()
        self.convs1, self.convs2 = nn.ModuleList(), nn.ModuleList()
        for rate in dilation:
            pad = (kernel_size - 1) * rate // 2
            self.convs1.append(WNConv1d(channels, channels, kernel_size, padding=pad, dilation=rate))
            self.convs2.append(WNConv1d(channels, channels, kernel_size, padding=(kernel_size - 1) // 2))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, C, T)`` to the same; what lies outside of ``mask`` ``(B, 1, T)`` is read as 0."""
        for first, second in zip(self.convs1, self.convs2, strict=True):
            y = first(_masked(F.leaky_relu(x, SLOPE), mask))
            x = x + second(_masked(F.leaky_relu(y, SLOPE), mask))
        return x


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


class PitchPredictor(nn.Module):
    """``(B, feature_size, T)`` to log(F0 + 1), F0 in hertz and 0 where unvoiced, ``(B, 1, 4 T)``.

    No gradient goes back into features or style.

    Args:
        feature_size: channels of the features.
        channels: after the first convolution; each stage halves them.
        gin_channels: of the style.
    """

    def __init__(self, feature_size: int = 1024, channels: int = 256, gin_channels: int = 256) -> None:
        super().__init__()
        self.conv_pre = nn.Conv1d(feature_size, channels, _EDGE_KERNEL, padding=_EDGE_KERNEL // 2)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for _ in range(_STAGES):
            pad = (_UP_KERNEL - _UP_STRIDE) // 2
            self.ups.append(WNConvTranspose1d(channels, channels // 2, _UP_KERNEL, _UP_STRIDE, pad))
            channels //= 2
            self.resblocks.extend(ResBlock1(channels, kernel) for kernel in _KERNELS)
        self.conv_post = nn.Conv1d(channels, 1, _EDGE_KERNEL, padding=_EDGE_KERNEL // 2, bias=False)
        self.cond = nn.Conv1d(gin_channels, self.conv_pre.out_channels, 1)

    def forward(self, x: Tensor, g: Tensor, mask: Tensor | None = None) -> Tensor:
        """The pitch ``(B, 1, 4 T)``.

        Args:
            x: features ``(B, feature_size, T)``.
            g: the style ``(B, gin, 1)``.
            mask: ``(B, 1, T)``: gives each item of a padded batch what it gets alone, 0 in the padding. The official
                network has no mask.
        """
        x = self.conv_pre(_masked(x.detach(), mask)) + self.cond(g.detach())
        for i, up in enumerate(self.ups):
            x = up(_masked(F.leaky_relu(x, SLOPE), mask))
            mask = None if mask is None else mask.repeat_interleave(_UP_STRIDE, dim=2)
            blocks = self.resblocks[i * len(_KERNELS) : (i + 1) * len(_KERNELS)]
            x = torch.stack([block(x, mask) for block in blocks]).mean(0)
        pitch: Tensor = self.conv_post(_masked(F.leaky_relu(x, _LAST_SLOPE), mask))
        return _masked(pitch, mask)
