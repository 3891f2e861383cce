"""The anti-aliased multi-periodicity block: residual dilated convolutions between alias-free activations.

BigVGAN (arXiv 2206.04658, section 3.3); names follow ``sh-lee-prml/HierSpeechpp: AMPBlock1``, which the SpeechSR
checkpoints call "resblock 0" and the synthesizer's configuration "resblock 1".
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bench.nets.weight_norm import WNConv1d
from bench.systems.hierspeech.alias_free import Activation1d

#: Reach of an alias-free activation, in samples at each side.
ACTIVATION_REACH = 5


def same_padding(kernel_size: int, dilation: int = 1) -> int:
    """Zeros at each side of an odd kernel that keep the length."""
    return (kernel_size - 1) * dilation // 2


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` ``(B, C, L)`` with 0 outside of ``mask`` ``(B, 1, L)``: what a convolution finds behind an item's end.

    Items in a padded batch get so what they get alone. Activations must keep 0, which alias-free ones do not: theirs
    repeat the outermost sample, so a batch of them cannot be padded.
    """
    return x if mask is None else x * mask


class AmpBlock(nn.Module):
    """For every dilation: x + conv(act(dilated conv(act(x)))).

    Args:
        channels: C.
        kernel_size: of all convolutions, odd.
        dilations: one pair of convolutions each.
        alias_free: as in :class:`Activation1d`.
    """

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int], alias_free: bool = True) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            WNConv1d(channels, channels, kernel_size, padding=same_padding(kernel_size, d), dilation=d)
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            WNConv1d(channels, channels, kernel_size, padding=same_padding(kernel_size)) for _ in dilations
        )
        # in the order of use: before the first convolution, before the second one, and so on
        self.activations = nn.ModuleList(Activation1d(channels, alias_free) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, C, L)`` to the same shape; for ``mask`` see :func:`masked`, ``x`` must be 0 outside of it."""
        pairs = zip(self.convs1, self.activations[::2], self.convs2, self.activations[1::2], strict=True)
        for conv1, act1, conv2, act2 in pairs:
            x = x + masked(conv2(act2(masked(conv1(act1(x)), mask))), mask)
        return x


class AmpBank(nn.ModuleList):
    """``stages`` times one block per kernel size, in one flat list, as checkpoints number them."""

    def __init__(
        self,
        channels: Sequence[int],
        kernel_sizes: Sequence[int],
        dilations: Sequence[Sequence[int]],
        alias_free: bool = True,
    ) -> None:
        super().__init__(
            AmpBlock(width, size, steps, alias_free)
            for width in channels
            for size, steps in zip(kernel_sizes, dilations, strict=True)
        )
        self.per_stage = len(kernel_sizes)

    def stage(self, index: int, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean of what the blocks of stage ``index`` make of ``x`` ``(B, C, L)``; ``mask`` as in the blocks."""
        first = index * self.per_stage
        total: Tensor = self[first](x, mask)
        for other in range(first + 1, first + self.per_stage):
            total = total + self[other](x, mask)
        return total / self.per_stage


def amp_reach(kernel_sizes: Sequence[int], dilations: Sequence[Sequence[int]], alias_free: bool = True) -> int:
    """How far, in samples at each side, the output of a stage depends on its input."""
    activation = ACTIVATION_REACH if alias_free else 0
    reaches = [
        sum(same_padding(size, d) + same_padding(size) + 2 * activation for d in steps)
        for size, steps in zip(kernel_sizes, dilations, strict=True)
    ]
    return max(reaches)
