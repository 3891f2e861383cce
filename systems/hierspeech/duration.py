"""The stochastic duration predictor: how many frames each token lasts, as a distribution.

VITS (Kim et al. 2021, arXiv 2106.06103, section 2.2.2 and appendix B): flows of neural splines, trained on a
variational bound with dequantisation. Names follow ``sh-lee-prml/HierSpeechpp: ttv_v1/t2w2v_transformer.py,
ttv_v1/modules.py``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.hierspeech.attention import ChannelNorm
from bench.systems.hierspeech.spline import rational_quadratic_spline

_BINS = 10
_BOUND = 5.0
_LEAST_DURATION = 1e-5  # of what is left of a duration after dequantisation, before the logarithm
_CONV_LAYERS = 3
#: Flows of the posterior; the official constructor's ``n_flows`` is about the prior alone.
_POST_FLOWS = 4
_LOG_2_PI = math.log(2 * math.pi)


class DDSConv(nn.Module):
    """Dilated depth-wise and pointwise convolutions with layer norm and GELU, each pair added to its input."""

    def __init__(self, channels: int, kernel_size: int, n_layers: int, p_dropout: float = 0.0) -> None:
        super().__init__()
        self.drop = nn.Dropout(p_dropout)
        self.convs_sep, self.convs_1x1 = nn.ModuleList(), nn.ModuleList()
        self.norms_1, self.norms_2 = nn.ModuleList(), nn.ModuleList()
        for i in range(n_layers):
            dilation = kernel_size**i
            pad = (kernel_size - 1) * dilation // 2
            self.convs_sep.append(
                nn.Conv1d(channels, channels, kernel_size, padding=pad, dilation=dilation, groups=channels)
            )
            self.convs_1x1.append(nn.Conv1d(channels, channels, 1))
            self.norms_1.append(ChannelNorm(channels))
            self.norms_2.append(ChannelNorm(channels))

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """``(B, C, T)`` to the same, 0 outside of ``mask`` ``(B, 1, T)``; ``g`` ``(B, C, T)`` is added to x first."""
        if g is not None:
            x = x + g
        for sep, norm_1, point, norm_2 in zip(self.convs_sep, self.norms_1, self.convs_1x1, self.norms_2, strict=True):
            y = F.gelu(norm_1(sep(x * mask)))
            x = x + self.drop(F.gelu(norm_2(point(y))))
        return x * mask


class ElementwiseAffine(nn.Module):
    """y = m + exp(logs) x, per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(channels, 1))
        self.logs = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T)`` to the same and the log determinants ``(B,)``."""
        return (self.m + self.logs.exp() * x) * mask, (self.logs * mask).sum((1, 2))

    def inverse(self, y: Tensor, mask: Tensor) -> Tensor:
        """``(B, C, T)`` to the same."""
        return (y - self.m) * (-self.logs).exp() * mask


class ConvFlow(nn.Module):
    """A coupling of two channels: the first one and the condition shape a spline for the second one.

    It begins as splines of equal bins and slopes: ``proj`` is 0.
    """

    def __init__(self, filter_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.scale = filter_channels**-0.5
        self.pre = nn.Conv1d(1, filter_channels, 1)
        self.convs = DDSConv(filter_channels, kernel_size, _CONV_LAYERS)
        self.proj = nn.Conv1d(filter_channels, 3 * _BINS - 1, 1)
        for parameter in self.proj.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, 2, T)`` to the same and the log determinants ``(B,)``; ``g``: the condition ``(B, filter, T)``."""
        y, log_slope = self._spline(x, mask, g, reverse=False)
        return y, (log_slope * mask).sum((1, 2))

    def inverse(self, y: Tensor, mask: Tensor, g: Tensor) -> Tensor:
        """``(B, 2, T)`` to the same."""
        return self._spline(y, mask, g, reverse=True)[0]

    def _spline(self, x: Tensor, mask: Tensor, g: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
        x0, x1 = x.chunk(2, dim=1)
        h = self.proj(self.convs(self.pre(x0), mask, g)) * mask
        widths, heights, slopes = h.transpose(1, 2).unsqueeze(1).split([_BINS, _BINS, _BINS - 1], dim=3)
        x1, log_slope = rational_quadratic_spline(
            x1, widths * self.scale, heights * self.scale, slopes, reverse=reverse, bound=_BOUND
        )
        return torch.cat([x0, x1], dim=1) * mask, log_slope


class Flip(nn.Module):
    """Exchanges the two channels; its own inverse."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 2, T)`` to the same."""
        return x.flip(1)


def _flows(count: int, filter_channels: int, kernel_size: int) -> nn.ModuleList:
    flows = nn.ModuleList([ElementwiseAffine(2)])
    for _ in range(count):
        flows.append(ConvFlow(filter_channels, kernel_size))
        flows.append(Flip())
    return flows


def _run(flows: nn.ModuleList, z: Tensor, mask: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """All flows in order: the result and the sum of the log determinants ``(B,)``."""
    total = z.new_zeros(z.shape[0])
    for flow in flows:
        if isinstance(flow, Flip):
            z = flow(z)
            continue
        z, log_det = flow(z, mask, g) if isinstance(flow, ConvFlow) else flow(z, mask)
        total = total + log_det
    return z, total


class StochasticDurationPredictor(nn.Module):
    """The distribution of durations given the text encoder's output and the style.

    No gradient goes back into either of them.

    Args:
        channels: of the text encoder, and of everything in here.
        kernel_size: of the depth-wise convolutions.
        p_dropout: in the two conditions.
        n_flows: spline couplings of the prior.
        gin_channels: of the style.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        p_dropout: float = 0.5,
        n_flows: int = 4,
        gin_channels: int = 256,
    ) -> None:
        super().__init__()
        self.flows = _flows(n_flows, channels, kernel_size)
        self.post_pre = nn.Conv1d(1, channels, 1)
        self.post_proj = nn.Conv1d(channels, channels, 1)
        self.post_convs = DDSConv(channels, kernel_size, _CONV_LAYERS, p_dropout)
        self.post_flows = _flows(_POST_FLOWS, channels, kernel_size)
        self.pre = nn.Conv1d(channels, channels, 1)
        self.proj = nn.Conv1d(channels, channels, 1)
        self.convs = DDSConv(channels, kernel_size, _CONV_LAYERS, p_dropout)
        self.cond = nn.Conv1d(gin_channels, channels, 1)

    def _condition(self, x: Tensor, mask: Tensor, g: Tensor) -> Tensor:
        x = self.pre(x.detach()) + self.cond(g.detach())
        condition: Tensor = self.proj(self.convs(x, mask)) * mask
        return condition

    def forward(self, x: Tensor, mask: Tensor, w: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        """A bound of the negative log likelihood of the durations, summed over an item's tokens: ``(B,)``, nats.

        Args:
            x: the text encoder's output ``(B, C, Tx)``.
            mask: ``(B, 1, Tx)``.
            w: durations in frames ``(B, 1, Tx)``.
            g: the style ``(B, gin, 1)``.
            noise: standard normal, ``(B, 2, Tx)``.
        """
        condition = self._condition(x, mask, g)
        h_w = self.post_proj(self.post_convs(self.post_pre(w), mask)) * mask
        e_q = noise * mask
        z_q, log_det_q = _run(self.post_flows, e_q, mask, condition + h_w)
        z_u, z_1 = z_q.chunk(2, dim=1)
        log_det_q = log_det_q + ((F.logsigmoid(z_u) + F.logsigmoid(-z_u)) * mask).sum((1, 2))
        log_q = -0.5 * ((_LOG_2_PI + e_q**2) * mask).sum((1, 2)) - log_det_q
        # dequantised: a whole number of frames less a part between 0 and 1
        z_0 = (w - z_u.sigmoid() * mask).mul(mask).clamp(min=_LEAST_DURATION).log() * mask
        z, log_det = _run(self.flows, torch.cat([z_0, z_1], dim=1), mask, condition)
        log_p = -0.5 * ((_LOG_2_PI + z**2) * mask).sum((1, 2)) + log_det - z_0.sum((1, 2))
        return log_q - log_p

    def sample(self, x: Tensor, mask: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        """Logarithms of durations in frames, ``(B, 1, Tx)``, from scaled noise ``(B, 2, Tx)``; see :meth:`forward`."""
        condition = self._condition(x, mask, g)
        # the first coupling only changes the channel that is thrown away
        needed = [flow for i, flow in enumerate(self.flows) if i != 1]
        z = noise
        for flow in reversed(needed):
            if isinstance(flow, ConvFlow):
                z = flow.inverse(z, mask, condition)
            else:
                z = flow.inverse(z, mask) if isinstance(flow, ElementwiseAffine) else flow(z)
        return z[:, :1]
