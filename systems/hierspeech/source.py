"""The source network: from the latent to F0 and to the excitation features that the generator is driven with.

Also :class:`DBlock`, the generator's way from the source's rate down to that of frames. Names follow
``sh-lee-prml/HierSpeechpp: hierspeechpp_speechsynthesizer.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.weight_norm import WNConv1d, WNConvTranspose1d
from bench.systems.hierspeech.alias_free import Activation1d
from bench.systems.hierspeech.amp_block import AmpBank, masked

LRELU_SLOPE = 0.1
#: The source runs at four times the rate of frames.
SOURCE_RATE = 4
_UP_RATES = (2, 2)
_UP_KERNEL = 4
_KERNELS = (3, 5, 7)
_DILATIONS = (1, 3, 5)


class DBlock(nn.Module):
    """``(B, input_size, L)`` to ``(B, hidden_size, L // factor)``, by the nearest sample (UnivNet's block)."""

    def __init__(self, input_size: int, hidden_size: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.residual_dense = WNConv1d(input_size, hidden_size, 1)
        widths = (input_size, hidden_size, hidden_size)
        self.conv = nn.ModuleList(
            WNConv1d(width, hidden_size, 3, padding=2**i, dilation=2**i) for i, width in enumerate(widths)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """See the class; lengths of at least ``factor``. ``mask`` ``(B, 1, L // factor)``: where ``x`` is not 0."""
        x = F.interpolate(x, size=x.shape[-1] // self.factor)  # a pointwise residual may follow the selection
        residual: Tensor = self.residual_dense(x)
        for conv in self.conv:
            x = masked(conv(F.leaky_relu(x, LRELU_SLOPE)), mask)
        return x + residual


class SourceNetwork(nn.Module):
    """Latent ``(B, C, T)`` to excitation features ``(B, U / 4, 4 T)`` and log(F0 + 1) ``(B, 1, 4 T)``.

    Args:
        initial_channel: C.
        upsample_initial_channel: U; each of two doublings of the rate halves it.
        gin_channels: length of the style.
        kernel_sizes: of the AMP blocks.
        alias_free: as in :class:`Activation1d`.
    """

    def __init__(
        self,
        initial_channel: int = 192,
        upsample_initial_channel: int = 256,
        gin_channels: int = 256,
        kernel_sizes: Sequence[int] = _KERNELS,
        alias_free: bool = True,
    ) -> None:
        super().__init__()
        widths = [upsample_initial_channel >> i for i in range(len(_UP_RATES) + 1)]
        self.conv_pre = WNConv1d(initial_channel, widths[0], 7, padding=3)
        self.cond = nn.Conv1d(gin_channels, widths[0], 1)
        self.ups = nn.ModuleList(
            WNConvTranspose1d(width, width // 2, _UP_KERNEL, rate, padding=(_UP_KERNEL - rate) // 2)
            for width, rate in zip(widths, _UP_RATES, strict=False)
        )
        self.resblocks = AmpBank(widths[1:], kernel_sizes, [_DILATIONS] * len(kernel_sizes), alias_free)
        self.activation_post = Activation1d(widths[-1], alias_free)
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor, g: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features and log(F0 + 1) of the latent ``x`` in the style ``g`` ``(B, gin, 1)``.

        ``mask`` ``(B, 1, T)``: where ``x`` is not 0; not with alias-free activations.
        """
        x = masked(self.conv_pre(x) + self.cond(g), mask)
        for index, up in enumerate(self.ups):
            mask = None if mask is None else mask.repeat_interleave(_UP_RATES[index], dim=2)
            x = self.resblocks.stage(index, masked(up(x), mask), mask)
        features: Tensor = self.activation_post(x)
        return features, self.conv_post(features)
