"""The two discriminators of DAC's training: one sees waveforms folded by a period, one complex spectra in bands.

Facts: specs/codec.md 1.7 (``descriptinc/descript-audio-codec: dac/model/discriminator.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.weight_norm import WNConv2d

PERIODS = (2, 3, 5, 7, 11)
WINDOWS = (2048, 1024, 512)
_BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of the bins
_GROWTH = (1, 4, 16, 32, 32)  # of the period discriminator's width
_SLOPE = 0.1
_PEAK, _LEAST_PEAK = 0.8, 1e-9

#: What a discriminator says after each layer; the last is its judgement.
Maps = list[Tensor]


class PeriodDiscriminator(nn.Module):
    """Samples a period apart are neighbours."""

    def __init__(self, period: int, width: int = 32) -> None:
        super().__init__()
        self._period = period
        widths = [1, *(width * growth for growth in _GROWTH)]
        last = len(widths) - 2
        self.convs = nn.ModuleList(
            WNConv2d(one, two, (5, 1), (1 if i == last else 3, 1), (2, 0))
            for i, (one, two) in enumerate(pairwise(widths))
        )
        self.conv_post = WNConv2d(widths[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, wave: Tensor) -> Maps:
        """``wave`` ``(B, T)``; T is filled up by reflection, with a whole period where it already is a multiple."""
        wave = F.pad(wave[:, None], (0, self._period - wave.shape[-1] % self._period), "reflect")
        x = wave.reshape(len(wave), 1, -1, self._period)  # (B, 1, T / period, period)
        made = _followed(x, self.convs)
        return [*made, self.conv_post(made[-1])]


class BandDiscriminator(nn.Module):
    """Real and imaginary parts of a spectrum, each band with layers of its own."""

    def __init__(self, window: int, width: int = 32) -> None:
        super().__init__()
        self._window = window
        bins = window // 2 + 1
        self._sizes = [int(high * bins) - int(low * bins) for low, high in pairwise(_BANDS)]
        self.bands = nn.ModuleList(_band(width) for _ in self._sizes)
        self.conv_post = WNConv2d(width, 1, (3, 3), padding=(1, 1))

    def forward(self, wave: Tensor) -> Maps:
        """``wave`` ``(B, T)``."""
        window = torch.hann_window(self._window, device=wave.device)
        spectra = torch.stft(wave.float(), self._window, self._window // 4, window=window, return_complex=True)
        x = torch.view_as_real(spectra).permute(0, 3, 2, 1)  # (B, 2, frames, bins)
        maps: Maps = []
        ends: list[Tensor] = []
        for part, layers in zip(torch.split(x, self._sizes, dim=-1), self.bands, strict=True):
            made = _followed(part, layers.children())
            maps += made
            ends.append(made[-1])
        return [*maps, self.conv_post(torch.cat(ends, dim=-1))]


class Discriminators(nn.Module):
    """All of them. ``width``: of the first layers."""

    def __init__(self, width: int = 32, periods: Sequence[int] = PERIODS, windows: Sequence[int] = WINDOWS) -> None:
        super().__init__()
        by_period = [PeriodDiscriminator(period, width) for period in periods]
        self.parts = nn.ModuleList([*by_period, *(BandDiscriminator(window, width) for window in windows)])

    def forward(self, wave: Tensor) -> list[Maps]:
        """What each says of ``wave`` ``(B, 1, T)``, whose mean is removed and whose peak becomes 0.8 first."""
        plain = wave[:, 0] - wave[:, 0].mean(-1, keepdim=True)
        plain = _PEAK * plain / (plain.abs().amax(-1, keepdim=True) + _LEAST_PEAK)
        return [part(plain) for part in self.parts]


def discriminator_loss(made: list[Maps], true: list[Maps]) -> Tensor:
    """Least squares: judgements of what was made to 0, of what is true to 1."""
    pairs = zip(made, true, strict=True)
    return torch.stack([one[-1].square().mean() + (1 - two[-1]).square().mean() for one, two in pairs]).sum()


def adversarial_loss(made: list[Maps]) -> Tensor:
    """Least squares: judgements of what was made to 1."""
    return torch.stack([(1 - one[-1]).square().mean() for one in made]).sum()


def feature_loss(made: list[Maps], true: list[Maps]) -> Tensor:
    """Mean absolute differences of all layers but the judgements."""
    pairs = [pair for one, two in zip(made, true, strict=True) for pair in zip(one[:-1], two[:-1], strict=True)]
    return torch.stack([F.l1_loss(one, two.detach()) for one, two in pairs]).sum()


def _band(width: int) -> nn.Sequential:
    wide = [WNConv2d(2 if i == 0 else width, width, (3, 9), (1, 1 if i == 0 else 2), (1, 4)) for i in range(4)]
    return nn.Sequential(*wide, WNConv2d(width, width, (3, 3), padding=(1, 1)))


def _followed(x: Tensor, layers: Iterable[nn.Module]) -> Maps:
    """What comes out of each layer."""
    maps: Maps = []
    for layer in layers:
        x = F.leaky_relu(layer(x), _SLOPE)
        maps.append(x)
    return maps
