"""Alias-free SnakeBeta: a periodic non-linearity between a two-fold up- and a two-fold down-sampling.

``x + sin²(x eᵅ) / (eᵝ + 1e-9)`` makes harmonics above the Nyquist frequency; computed at twice the rate, they
are filtered away instead of folding back (BigVGAN, arXiv 2206.04658, section 3.2). Both filters are one
Kaiser-windowed sinc of 12 taps; it is a buffer, as checkpoints of ``sh-lee-prml/HierSpeechpp`` contain it.

:class:`Activation1d` has two ways to one result. Training runs the convolutions that define it. Inference on the
CPU runs :mod:`bench.systems.hierspeech.alias_free_cpu`: both filters by phases, in one pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.hierspeech import alias_free_cpu

TAPS = 12
_CUTOFF = 0.25  # of the sampling rate at the doubled rate: the old Nyquist frequency
_HALF_WIDTH = 0.3  # of the transition band
_PAD = TAPS // 2 - 1
_TINY = 1e-9


def kaiser_sinc() -> Tensor:
    """The low-pass filter ``(1, 1, 12)``, sum 1, symmetric; Kaiser's formula gives the window's shape."""
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 4 * _HALF_WIDTH + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    window = torch.kaiser_window(TAPS, periodic=False, beta=beta, dtype=torch.float64)
    times = torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2
    taps = window * torch.sinc(2 * _CUTOFF * times)
    return (taps / taps.sum()).float().reshape(1, 1, TAPS)


class UpSample1d(nn.Module):
    """Doubles the rate: zeros between the samples, then the filter with gain 2; ends repeat the outermost sample."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", kaiser_sinc())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, L)`` to ``(B, C, 2 L)``."""
        channels = x.shape[1]
        padded = F.pad(x, (_PAD, _PAD), mode="replicate")
        kernel = self.filter.to(x.dtype).expand(channels, 1, TAPS)
        wide = F.conv_transpose1d(padded, 2 * kernel, stride=2, groups=channels)
        crop = 2 * _PAD + _PAD  # the padding at the doubled rate, and the filter's own delay
        return wide[..., crop:-crop]


class LowPassFilter1d(nn.Module):
    """The filter, then every second sample; ends repeat the outermost sample."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", kaiser_sinc())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, L)`` to ``(B, C, ceil(L / 2))``."""
        channels = x.shape[1]
        padded = F.pad(x, (_PAD, _PAD + 1), mode="replicate")
        kernel = self.filter.to(x.dtype).expand(channels, 1, TAPS)
        return F.conv1d(padded, kernel, stride=2, groups=channels)


class DownSample1d(nn.Module):
    """Halves the rate; a module around :class:`LowPassFilter1d` because checkpoints name it so."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = LowPassFilter1d()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, L)`` to ``(B, C, ceil(L / 2))``."""
        result: Tensor = self.lowpass(x)
        return result


class SnakeBeta(nn.Module):
    """``x + sin²(x eᵅ) / (eᵝ + 1e-9)`` with α and β ``(C,)`` per channel, both 0 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def frequency(self) -> Tensor:
        """eᵅ, ``(C,)``."""
        return self.alpha.exp()

    def magnitude(self) -> Tensor:
        """1 / (eᵝ + 1e-9), ``(C,)``."""
        return (self.beta.exp() + _TINY).reciprocal()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, L)`` to the same shape."""
        wave = x * self.frequency()[:, None]
        height = self.magnitude()[:, None]
        if torch.is_grad_enabled():
            wave = torch.sin(wave)
            return torch.addcmul(x, wave * wave, height)
        wave = wave.sin_().square_()  # nothing is asked for later: one array, not three
        return torch.addcmul(x, wave, height, out=wave)


class Activation1d(nn.Module):
    """SnakeBeta at twice the rate; with ``alias_free`` off, SnakeBeta alone (the tiny configurations)."""

    def __init__(self, channels: int, alias_free: bool = True) -> None:
        super().__init__()
        self.act = SnakeBeta(channels)
        self.alias_free = alias_free
        if alias_free:
            self.upsample = UpSample1d()
            self.downsample = DownSample1d()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, L)`` to the same shape, at any length of at least 1."""
        result: Tensor
        if not self.alias_free:
            result = self.act(x)
        elif alias_free_cpu.serves(x):
            result = alias_free_cpu.activation(
                x,
                self.act.frequency(),
                self.act.magnitude(),
                self.upsample.filter,
                self.downsample.lowpass.filter,
            )
        else:
            result = self.downsample(self.act(self.upsample(x)))
        return result
