"""MelVAE: the audio VAE of the tiny configuration, on log-mel frames; same interface as WhisperX-VAE.

A waveform decoder does not learn to speak within minutes on a CPU, so four log-mel frames of 10 ms become one latent of
40 ms, and log-mel frames become sound without a network (:mod:`bench.media.log_mel`). Sizes and layers:
specs/talker.md 14.1. Latents leave standardised, by statistics of the training's data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import UsageError
from bench.media import log_mel
from bench.media.log_mel import LogMelConfig

Layout = Literal["btc", "bct"]
_LOG_VARIANCE = (-8.0, 4.0)  # kept within
LEAST_BAND_DEVIATION = 0.1
LEAST_LATENT_DEVIATION = 0.05


@dataclass(frozen=True, slots=True)
class MelVAEConfig:
    """``stack``: log-mel frames of one latent frame."""

    z_dim: int = 32
    width: int = 128
    stack: int = 4
    dilations: tuple[int, ...] = (1, 2)
    mel: LogMelConfig = field(default_factory=LogMelConfig)

    @property
    def hop(self) -> int:
        """Samples of a latent frame."""
        return self.stack * self.mel.hop_length


class Posterior(NamedTuple):
    """``mean`` and ``log_variance`` ``(B, z, L)``, neither standardised."""

    mean: Tensor
    log_variance: Tensor

    def divergence(self) -> Tensor:
        """From the standard normal distribution, summed over channels: ``(B, L)`` nats."""
        mean, log_variance = self
        return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)


class ResidualBlock(nn.Module):
    """x + conv(GELU(dilated conv(GELU(x))))."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.point = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, L)`` to the same shape."""
        y: Tensor = x + self.point(F.gelu(self.wide(F.gelu(x))))
        return y


class MelVAE(nn.Module):
    """Encoder, decoder, and the statistics that stand between them and the world as buffers."""

    mel_mean: Tensor
    mel_std: Tensor
    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: MelVAEConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MelVAEConfig()
        self.sample_rate, self.hop = config.mel.sample_rate, config.hop
        stacked = config.stack * config.mel.n_mels
        self.encoder = _tower(stacked, config.width, 2 * config.z_dim, config.dilations)
        self.decoder = _tower(config.z_dim, config.width, stacked, config.dilations)
        for name, size in (("mel", config.mel.n_mels), ("latent", config.z_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def encode(self, wave: Tensor, mel: None = None, layout: Layout = "btc") -> Tensor:
        """The standardised latent ``(B, L, z)`` or ``(B, z, L)`` of audio ``(B, T)`` or ``(B, 1, T)`` at 16 kHz.

        L = T / hop, rounded up: the end is padded with zeros. ``mel`` is for networks that also want Whisper's.
        """
        return self.encode_mel(self.log_mel(wave), layout)

    def encode_mel(self, mel: Tensor, layout: Layout = "btc") -> Tensor:
        """As :meth:`encode`, from log-mel frames ``(B, stack * L, n_mels)``."""
        latent = (self.posterior(mel).mean.transpose(1, 2) - self.latent_mean) / self.latent_std
        return latent if layout == "btc" else latent.transpose(1, 2)

    def decode(self, latent: Tensor, layout: Layout = "btc") -> Tensor:
        """A waveform ``(B, 1, hop * L)`` of a standardised latent; see :func:`bench.media.log_mel.inverted`."""
        return log_mel.inverted(self.decode_mel(latent, layout), self.config.mel)[:, None]

    def decode_mel(self, latent: Tensor, layout: Layout = "btc") -> Tensor:
        """Log-mel frames ``(B, stack * L, n_mels)`` of a standardised latent."""
        latent = latent if layout == "btc" else latent.transpose(1, 2)
        return self.mel_of((latent * self.latent_std + self.latent_mean).transpose(1, 2))

    def log_mel(self, wave: Tensor) -> Tensor:
        """Log-mel frames ``(B, stack * L, n_mels)`` of audio ``(B, T)`` or ``(B, 1, T)``, its end padded with zeros."""
        wave = wave[:, 0] if wave.dim() == 3 else wave
        return log_mel.log_mel(log_mel.padded(wave, self.hop), self.config.mel)

    def standardised(self, mel: Tensor) -> Tensor:
        """Log-mel frames ``(…, n_mels)`` in deviations of their bands."""
        return (mel - self.mel_mean) / self.mel_std

    def posterior(self, mel: Tensor) -> Posterior:
        """What the encoder says of log-mel frames ``(B, stack * L, n_mels)``.

        Raises:
            UsageError: the frames are no whole number of latent frames.
        """
        if mel.shape[1] % self.config.stack:
            raise UsageError(f"{mel.shape[1]} log-mel frames are no multiple of {self.config.stack}", "pad the audio.")
        frames = mel.shape[1] // self.config.stack
        stacked = self.standardised(mel).reshape(len(mel), frames, -1)  # (B, L, stack * n_mels), frame behind frame
        mean, log_variance = self.encoder(stacked.transpose(1, 2)).chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(*_LOG_VARIANCE))

    def mel_of(self, latent: Tensor) -> Tensor:
        """Log-mel frames ``(B, stack * L, n_mels)`` of a latent ``(B, z, L)`` that is not standardised."""
        stacked = self.decoder(latent).transpose(1, 2)  # (B, L, stack * n_mels)
        frames = self.config.stack * latent.shape[-1]
        mel: Tensor = stacked.reshape(len(latent), frames, -1) * self.mel_std + self.mel_mean
        return mel

    @torch.no_grad()
    def set_band_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Mean and deviation ``(n_mels,)`` of the training's log-mel frames."""
        self.mel_mean.copy_(mean)
        self.mel_std.copy_(deviation.clamp_min(LEAST_BAND_DEVIATION))

    @torch.no_grad()
    def set_latent_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Mean and deviation ``(z,)`` of the training's latents."""
        self.latent_mean.copy_(mean)
        self.latent_std.copy_(deviation.clamp_min(LEAST_LATENT_DEVIATION))


def _tower(in_channels: int, width: int, out_channels: int, dilations: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(in_channels, width, 3, padding=1),
        *(ResidualBlock(width, dilation) for dilation in dilations),
        nn.GELU(),
        nn.Conv1d(width, out_channels, 1),
    )
