"""Encoders of the synthesizer's hierarchy, and its prosody decoder.

Each encoder gives mean and log standard deviation of a Gaussian; drawing from it is the caller's. Names follow
``sh-lee-prml/HierSpeechpp: hierspeechpp_speechsynthesizer.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.nets.weight_norm import WNConv1d
from bench.systems.hierspeech.alias_free import Activation1d
from bench.systems.hierspeech.amp_block import AmpBank
from bench.systems.hierspeech.attention import RelativeEncoder
from bench.systems.hierspeech.source import SOURCE_RATE
from bench.systems.hierspeech.wavenet import WN

#: Mean and log standard deviation, ``(B, C, T)`` each.
Gaussian = tuple[Tensor, Tensor]

_WN_KERNEL = 5
_WN_DILATION = 1
#: The waveform branch: channels, strides (320 in all) and kernels; they follow no configuration.
_WIDTHS = (16, 32, 64, 128, 192)
_STRIDES = (8, 5, 4, 2)
_KERNELS = (17, 10, 8, 4)
_AMP_KERNELS = (3, 7, 11)
_AMP_DILATIONS = ((1, 3, 5),) * 3


def sample(gaussian: Gaussian, noise: Tensor, scale: float = 1.0) -> Tensor:
    """mean + scale noise σ, ``(B, C, T)``; not masked."""
    mean, log_sigma = gaussian
    return mean + noise * log_sigma.exp() * scale


def _split(proj: nn.Conv1d, x: Tensor, mask: Tensor) -> Gaussian:
    mean, log_sigma = (proj(x) * mask).chunk(2, dim=1)
    return mean, log_sigma


class SemanticEncoder(nn.Module):
    """Source and filter: wav2vec features and F0 to a Gaussian of ``out_channels`` (``PosteriorSFEncoder``).

    Args:
        in_channels: channels of the features.
        out_channels: channels of the latent.
        hidden_channels: width.
        n_layers: of each of the three WN stacks.
        gin_channels: length of the style.
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden_channels: int, n_layers: int, gin_channels: int
    ) -> None:
        super().__init__()
        stack = (hidden_channels, _WN_KERNEL, _WN_DILATION, n_layers, gin_channels)
        self.pre_source = nn.Conv1d(in_channels, hidden_channels, 1)
        self.pre_filter = nn.Conv1d(1, hidden_channels, 2 * SOURCE_RATE + 1, SOURCE_RATE, padding=SOURCE_RATE)
        self.source_enc = WN(*stack)
        self.filter_enc = WN(*stack)
        self.enc = WN(*stack)
        self.proj = nn.Conv1d(hidden_channels, 2 * out_channels, 1)

    def forward(self, features: Tensor, f0: Tensor, mask: Tensor, g: Tensor) -> Gaussian:
        """The Gaussian, 0 in the padding.

        Args:
            features: ``(B, in, T)`` at 50 Hz.
            f0: log(F0 + 1) ``(B, 1, 4 T)``; it must be 0 in the padding (the last frame reads a value beyond it).
            mask: ``(B, 1, T)``.
            g: the style ``(B, gin, 1)``.
        """
        source = self.source_enc(self.pre_source(features) * mask, mask, g)
        pitch = self.filter_enc(self.pre_filter(f0) * mask, mask, g)
        return _split(self.proj, self.enc(source + pitch, mask, g), mask)


class AcousticEncoder(nn.Module):
    """Linear spectrogram and waveform to a Gaussian of ``out_channels`` (``PosteriorAudioEncoder``).

    Args:
        in_channels: bins of the spectrogram.
        out_channels: channels of the latent.
        hidden_channels: width of the spectrogram's branch and of the waveform's result.
        n_layers: of the WN stack.
        gin_channels: length of the style.
        alias_free: as in :class:`Activation1d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        n_layers: int,
        gin_channels: int,
        alias_free: bool = True,
    ) -> None:
        super().__init__()
        self.pre = nn.Conv1d(in_channels, hidden_channels, 1)
        self.enc = WN(hidden_channels, _WN_KERNEL, _WN_DILATION, n_layers, gin_channels)
        self.down_pre = nn.Conv1d(1, _WIDTHS[0], 7, padding=3)
        self.downs = nn.ModuleList(
            WNConv1d(before, after, kernel, stride, padding=(kernel - 1) // 2)
            for before, after, kernel, stride in zip(_WIDTHS, _WIDTHS[1:], _KERNELS, _STRIDES, strict=False)
        )
        self.resblocks = AmpBank(_WIDTHS[1:], _AMP_KERNELS, _AMP_DILATIONS, alias_free)
        self.activation_post = Activation1d(_WIDTHS[-1], alias_free)
        self.conv_post = nn.Conv1d(_WIDTHS[-1], hidden_channels, 7, padding=3)
        self.proj = nn.Conv1d(2 * hidden_channels, 2 * out_channels, 1)

    def forward(self, spectrogram: Tensor, audio: Tensor, mask: Tensor, g: Tensor) -> Gaussian:
        """The Gaussian ``(B, out, T)``, 0 in the padding.

        Args:
            spectrogram: ``(B, in, T)`` at 50 Hz.
            audio: ``(B, 1, 320 T)`` at 16 kHz.
            mask: ``(B, 1, T)``.
            g: the style ``(B, gin, 1)``.
        """
        spectral = self.enc(self.pre(spectrogram) * mask, mask, g)
        wave = self.down_pre(audio)
        for index, down in enumerate(self.downs):
            wave = self.resblocks.stage(index, down(wave))
        wave = self.conv_post(self.activation_post(wave)) * mask
        return _split(self.proj, torch.cat([spectral, wave], dim=1), mask)


class MelDecoder(nn.Module):
    """The latent to the lowest mel bands: a training target that puts prosody into the latent.

    Args:
        hidden_channels: channels of the latent, and width.
        filter_channels: width inside the feed-forward parts.
        mel_size: bands.
        gin_channels: length of the style.
    """

    _HEADS, _LAYERS, _KERNEL, _DROPOUT = 2, 2, 5, 0.1

    def __init__(self, hidden_channels: int, filter_channels: int, mel_size: int, gin_channels: int) -> None:
        super().__init__()
        self.conv_pre = nn.Conv1d(hidden_channels, hidden_channels, 3, padding=1)
        self.cond = nn.Conv1d(gin_channels, hidden_channels, 1)
        self.encoder = RelativeEncoder(
            hidden_channels, filter_channels, self._HEADS, self._LAYERS, self._KERNEL, self._DROPOUT
        )
        self.proj = nn.Conv1d(hidden_channels, mel_size, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor) -> Tensor:
        """``(B, C, T)`` to ``(B, mel_size, T)``, 0 outside of ``mask`` ``(B, 1, T)``."""
        x = self.conv_pre(x * mask) + self.cond(g)
        bands: Tensor = self.proj(self.encoder(x, mask)) * mask
        return bands
