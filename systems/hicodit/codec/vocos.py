"""Vocos: frames to a waveform by ConvNeXt blocks and an inverse short-time Fourier transform.

Names are those of ``open-mmlab/Amphion: models/codec/amphion_codec/vocos.py`` (Siuzdak 2023, arXiv 2306.00814).
Facts: specs/codec.md, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import UsageError

_EPSILON = 1e-6  # of the layer norms
_GREATEST_MAGNITUDE = 100.0
_LEAST_ENVELOPE = 1e-11


@dataclass(frozen=True, slots=True)
class VocosSizes:
    """``n_fft`` is also the window's length, in samples."""

    in_channels: int = 256
    width: int = 512
    inner: int = 4096
    layers: int = 30
    n_fft: int = 1920
    hop: int = 480

    def __post_init__(self) -> None:
        if self.n_fft % 2 or (self.n_fft - self.hop) % 2 or self.hop > self.n_fft:
            raise UsageError(
                f"a transform of {self.n_fft} points does not go with a hop of {self.hop}",
                "both must be even, and the hop no longer.",
            )


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, a layer norm and two linear layers beside the identity."""

    def __init__(self, width: int, inner: int, scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.pwconv1 = nn.Linear(width, inner)
        self.pwconv2 = nn.Linear(inner, width)
        self.gamma = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, width, L)`` to the same shape."""
        y = self.norm(self.dwconv(x).transpose(1, 2))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        z: Tensor = x + y.transpose(1, 2)
        return z


class Backbone(nn.Module):
    """Features to features at the same rate."""

    def __init__(self, sizes: VocosSizes) -> None:
        super().__init__()
        self.embed = nn.Conv1d(sizes.in_channels, sizes.width, 7, padding=3)
        self.norm = nn.LayerNorm(sizes.width, eps=_EPSILON)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(sizes.width, sizes.inner, 1 / sizes.layers) for _ in range(sizes.layers)
        )
        self.final_layer_norm = nn.LayerNorm(sizes.width, eps=_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, L)`` to ``(B, L, width)``."""
        x = self.norm(self.embed(features).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        y: Tensor = self.final_layer_norm(x.transpose(1, 2))
        return y


class InverseSTFT(nn.Module):
    """Overlap and add of windowed frames, cut so that L frames are exactly L hops."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self._n_fft, self._hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, spectra: Tensor) -> Tensor:
        """Complex ``(B, n_fft / 2 + 1, L)`` to ``(B, hop * L)``."""
        frames = torch.fft.irfft(spectra, self._n_fft, dim=1) * self.window[:, None]
        weight = self.window.square()[None, :, None].expand(1, -1, frames.shape[-1])
        return self._added(frames) / self._added(weight).clamp_min(_LEAST_ENVELOPE)

    def _added(self, frames: Tensor) -> Tensor:
        """``(B, n_fft, L)`` to ``(B, hop * L)``."""
        length = (frames.shape[-1] - 1) * self._hop + self._n_fft
        total = F.fold(frames, (1, length), (1, self._n_fft), stride=(1, self._hop))[:, 0, 0]
        margin = (self._n_fft - self._hop) // 2
        return total[:, margin : length - margin]


class Head(nn.Module):
    """Features to log-magnitudes and phases, and these to a waveform."""

    def __init__(self, sizes: VocosSizes) -> None:
        super().__init__()
        self.out = nn.Linear(sizes.width, sizes.n_fft + 2)
        self.istft = InverseSTFT(sizes.n_fft, sizes.hop)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, L, width)`` to ``(B, hop * L)``."""
        log_magnitude, phase = self.out(features).transpose(1, 2).chunk(2, dim=1)
        magnitude = log_magnitude.exp().clamp_max(_GREATEST_MAGNITUDE)
        wave: Tensor = self.istft(torch.polar(magnitude, phase))
        return wave


class Vocos(nn.Module):
    """``backbone`` and ``head`` by their published names."""

    def __init__(self, sizes: VocosSizes) -> None:
        super().__init__()
        self.backbone = Backbone(sizes)
        self.head = Head(sizes)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, L)`` to a waveform ``(B, 1, hop * L)``."""
        wave: Tensor = self.head(self.backbone(features))
        return wave[:, None]


def reach(sizes: VocosSizes) -> int:
    """Frames on each side that a sample depends on."""
    return 3 * (1 + sizes.layers) + -(-sizes.n_fft // sizes.hop)
