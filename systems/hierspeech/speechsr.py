"""SpeechSR: speech at 16 kHz to 24 or 48 kHz.

One convolution, linear interpolation, one bank of AMP blocks. Names follow ``sh-lee-prml/HierSpeechpp:
speechsr24k/speechsr.py, speechsr48k/speechsr.py``; both official files have one layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.weight_norm import WNConv1d
from bench.systems.hierspeech.alias_free import Activation1d
from bench.systems.hierspeech.amp_block import ACTIVATION_REACH, AmpBank, amp_reach

INPUT_RATE = 16000
_POST_REACH = 3
#: Output samples of a block: 32 channels of them stay in the cache.
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class SpeechSrConfig:
    """Sizes; names as in the official configuration, whose other entries change nothing."""

    upsample_initial_channel: int = 32
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))


class SpeechSrDecoder(nn.Module):
    """``(B, 1, L)`` at 16 kHz to ``(B, 1, int(factor L))``."""

    def __init__(self, config: SpeechSrConfig, factor: Fraction) -> None:
        super().__init__()
        width = config.upsample_initial_channel
        sizes = (config.resblock_kernel_sizes, config.resblock_dilation_sizes)
        self.factor = factor
        self.conv_pre = WNConv1d(1, width, 7, padding=3)
        self.resblocks = AmpBank([width], *sizes)
        self.activation_post = Activation1d(width)
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3, bias=False)
        self._reach = amp_reach(*sizes) + ACTIVATION_REACH + _POST_REACH

    def forward(self, x: Tensor) -> Tensor:
        """See the class; all at once, for training."""
        return self._refine(self._interpolated(x))

    def in_blocks(self, x: Tensor, block: int = _BLOCK) -> Tensor:
        """The same up to rounding, block by block behind the interpolation.

        The interpolation itself is done on the whole clip: its float32 positions depend on the clip's length.
        """
        wide = self._interpolated(x)
        length = wide.shape[-1]
        pieces = []
        for start in range(0, length, block):
            first, stop = max(0, start - self._reach), min(start + block, length)
            around = self._refine(wide[..., first : min(length, stop + self._reach)])
            pieces.append(around[..., start - first : stop - first])
        return torch.cat(pieces, dim=-1)

    def _interpolated(self, x: Tensor) -> Tensor:
        size = int(self.factor * x.shape[-1])
        return F.interpolate(self.conv_pre(x), size=size, mode="linear", align_corners=False)

    def _refine(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv_post(self.activation_post(self.resblocks.stage(0, x))))


class SpeechSr(nn.Module):
    """Super-resolution of speech; ``dec`` is all of it.

    Args:
        config: sizes.
        output_rate: 24000 or 48000 Hz.
    """

    def __init__(self, config: SpeechSrConfig, output_rate: int) -> None:
        super().__init__()
        if output_rate not in {24000, 48000}:
            raise ValueError(f"SpeechSR makes 24000 or 48000 Hz, not {output_rate}")
        self.output_rate = output_rate
        self.dec = SpeechSrDecoder(config, Fraction(output_rate, INPUT_RATE))

    def forward(self, x: Tensor) -> Tensor:
        """Samples in [-1, 1], ``(B, 1, L)`` at 16 kHz, to ``(B, 1, int(L output_rate / 16000))``."""
        wave: Tensor = self.dec(x)
        return wave

    @torch.no_grad()
    def enhance(self, x: Tensor) -> Tensor:
        """:meth:`forward` for inference: in bounded memory, up to rounding the same."""
        return self.dec.in_blocks(x)
