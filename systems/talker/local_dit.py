"""The estimator of a diffusion head: the velocity of one patch, given the hidden state and the patch before.

Names follow ``zhenye234/Talker-T2AV: local_dit.py``. The sequence of the decoder is: hidden state plus time, global
condition, frames of the condition, noisy frames; the velocity is read at the noisy frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.talker.nar import ContinuousDecoder

TIME_SCALE = 1000.0
LONGEST_PERIOD = 10_000.0


@dataclass(frozen=True)
class DitConfig:
    """Sizes of a head's decoder; ``feat_dim`` is also the width of the hidden state that conditions it."""

    feat_dim: int = 1024
    hidden_size: int = 1024
    n_layer: int = 8
    n_head: int = 8


def time_features(t: Tensor, dim: int, scale: float = TIME_SCALE) -> Tensor:
    """Sines, then cosines of times ``(N,)`` or a 0-d time: ``(N, dim)``."""
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    speeds = torch.exp(steps * (-math.log(LONGEST_PERIOD) / (half - 1)))
    angles = scale * t.reshape(-1, 1) * speeds
    return torch.cat((angles.sin(), angles.cos()), -1)


class TimestepEmbedding(nn.Module):
    """Two layers on the features of a time."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_channels, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels)`` to ``(N, width)``."""
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class LocDiT(nn.Module):
    """The velocity network of one modality.

    Args:
        sizes: of the decoder.
        in_channels: channels C of a frame.
        global_cond_channels: width G of the global condition (voice, or first motion frame).
    """

    def __init__(self, sizes: DitConfig, in_channels: int, global_cond_channels: int) -> None:
        super().__init__()
        width = sizes.feat_dim
        self.in_channels, self.width = in_channels, width
        self.in_proj = nn.Linear(in_channels, width)
        self.cond_proj = nn.Linear(in_channels, width)
        self.global_cond_proj = nn.Linear(global_cond_channels, width)
        self.out_proj = nn.Linear(sizes.hidden_size, in_channels)
        self.time_mlp = TimestepEmbedding(width, width)
        self.delta_time_mlp = TimestepEmbedding(width, width)
        self.decoder = ContinuousDecoder(sizes.feat_dim, sizes.hidden_size, sizes.n_layer, sizes.n_head)

    def forward(self, x: Tensor, mu: Tensor, t: Tensor, cond: Tensor, global_cond: Tensor, dt: Tensor) -> Tensor:
        """The velocity ``(N, C, T)`` at ``x``.

        Args:
            x: noisy frames ``(N, C, T)``.
            mu: hidden states ``(N, H)``.
            t: times ``(N,)``, 1 is noise.
            cond: earlier frames ``(N, C, T')``.
            global_cond: ``(N, G)``.
            dt: the second time ``(N,)``, 0 in use.
        """
        return self.velocity(x, mu + self.time_token(t, dt), self.context(cond, global_cond))

    def time_token(self, t: Tensor, dt: Tensor) -> Tensor:
        """What is added to the hidden state at times ``(N,)``: ``(N, H)``."""
        out: Tensor = self.time_mlp(time_features(t, self.width)) + self.delta_time_mlp(time_features(dt, self.width))
        return out

    def context(self, cond: Tensor, global_cond: Tensor) -> Tensor:
        """The tokens that do not change from step to step, projected for the decoder: ``(N, 1 + T', hidden)``."""
        tokens = torch.cat((self.global_cond_proj(global_cond)[:, None], self.cond_proj(cond.transpose(1, 2))), 1)
        out: Tensor = self.decoder.input_proj(tokens)
        return out

    def velocity(self, x: Tensor, first: Tensor, context: Tensor) -> Tensor:
        """The velocity ``(N, C, T)`` at ``x``, given hidden state plus time ``(N, H)`` and the `context`."""
        project = self.decoder.input_proj
        noisy = project(self.in_proj(x.transpose(1, 2)))
        tokens = torch.cat((project(first)[:, None], context, noisy), 1)
        out: Tensor = self.out_proj(self.decoder.tail(tokens, x.shape[2]))
        return out.transpose(1, 2)
