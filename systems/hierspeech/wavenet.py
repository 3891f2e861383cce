"""The gated residual stack of WaveNet kind ("WN") that the posterior encoders and decoders are made of.

Van den Oord et al. 2016 (arXiv 1609.03499) by way of WaveGlow, Glow-TTS and VITS; names follow
``sh-lee-prml/HierSpeechpp: modules.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.nets.weight_norm import WNConv1d


class WN(nn.Module):
    """``n_layers`` gated convolutions with a global condition; the output is the sum of their skip branches.

    Args:
        hidden_channels: C.
        kernel_size: odd.
        dilation_rate: layer i has dilation ``dilation_rate ** i``.
        n_layers: layers, 1 or more.
        gin_channels: channels of the condition; 0: there is none.
        p_dropout: of the gated activations.
    """

    def __init__(
        self,
        hidden_channels: int,
        kernel_size: int,
        dilation_rate: int,
        n_layers: int,
        gin_channels: int = 0,
        p_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"the kernel of WN must be odd, not {kernel_size}")
        if n_layers < 1:
            raise ValueError(f"WN needs a layer, not {n_layers}")
        self.hidden_channels, self.n_layers = hidden_channels, n_layers
        self.in_layers, self.res_skip_layers = nn.ModuleList(), nn.ModuleList()
        self.drop = nn.Dropout(p_dropout)
        if gin_channels:
            self.cond_layer = WNConv1d(gin_channels, 2 * hidden_channels * n_layers, 1)
        for i in range(n_layers):
            dilation = dilation_rate**i
            pad = (kernel_size - 1) * dilation // 2
            self.in_layers.append(
                WNConv1d(hidden_channels, 2 * hidden_channels, kernel_size, padding=pad, dilation=dilation)
            )
            # behind the last layer nothing would read a residual branch
            branches = 2 if i < n_layers - 1 else 1
            self.res_skip_layers.append(WNConv1d(hidden_channels, branches * hidden_channels, 1))

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """``(B, C, T)`` to the same, 0 outside of ``mask`` ``(B, 1, T)``.

        Args:
            x: the input; it must be 0 in the padding already, the first layer reads it as it is.
            mask: 1 for real steps.
            g: the condition ``(B, gin, 1)``, or None where the stack has none.
        """
        conditions = None if g is None else self.cond_layer(g).split(2 * self.hidden_channels, dim=1)
        skips = torch.zeros_like(x)
        for i, (conv, res_skip) in enumerate(zip(self.in_layers, self.res_skip_layers, strict=True)):
            pre = conv(x) if conditions is None else conv(x) + conditions[i]
            a, b = pre.chunk(2, dim=1)
            y = res_skip(self.drop(torch.tanh(a) * torch.sigmoid(b)))
            if i < self.n_layers - 1:
                residual, y = y.chunk(2, dim=1)
                x = (x + residual) * mask
            skips = skips + y
        return skips * mask
