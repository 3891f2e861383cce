"""WhisperX-VAE: 24 kHz speech to 25 latent vectors a second and back.

An acoustic branch hears the waveform, Whisper's encoder what is said; their sum becomes the latent. Facts:
specs/talker.md 6 (``zhenye234/Talker-T2AV: whisperx_vae.py``). No sampling and no normalisation at inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any, Literal

from torch import Tensor, nn

from bench.errors import UsageError
from bench.nets.codec_blocks import CodecDecoder, CodecEncoder
from bench.nets.weight_norm import WNConv1d
from bench.systems.talker.whisper_encoder import SemanticModel, WhisperDims

Layout = Literal["btc", "bct"]


@dataclass(frozen=True, slots=True)
class VAEConfig:
    """Sizes; the defaults are the published ones.

    ``in_dim`` is the first width of the acoustic branch (0: there is none), ``hidden_dim`` that of the features,
    ``whisper`` None: there is no semantic branch.
    """

    in_dim: int = 64
    encoder_ratios: tuple[int, ...] = (2, 4, 10, 12)
    hidden_dim: int = 1280
    decoder_dim: int = 1536
    decoder_ratios: tuple[int, ...] = (12, 10, 4, 2)
    z_dim: int = 32
    sample_rate: int = 24_000
    whisper: WhisperDims | None = field(default_factory=WhisperDims)

    def __post_init__(self) -> None:
        if not self.in_dim and self.whisper is None:
            raise UsageError("a VAE without acoustic and semantic branch hears nothing", "give one of them.")
        if self.whisper is not None and self.whisper.n_audio_state != self.hidden_dim:
            raise UsageError(
                f"Whisper's width {self.whisper.n_audio_state} is not the features' {self.hidden_dim}",
                "the two branches are added.",
            )

    @property
    def hop(self) -> int:
        """Samples of a latent frame."""
        return prod(self.decoder_ratios)

    @classmethod
    def of_checkpoint(cls, codec: Mapping[str, Any], whisper: Mapping[str, Any] | None = None) -> VAEConfig:
        """From ``model`` of the checkpoint's settings, and Whisper's dimensions (left out: no semantic branch).

        Where ``codec_encoder`` is absent there is no acoustic branch, and the width is ``hidden_dim`` beside it.
        """
        encoder, decoder = codec.get("codec_encoder"), codec["codec_decoder"]
        known = {one.name for one in fields(WhisperDims)}
        dims = WhisperDims(**{k: int(v) for k, v in whisper.items() if k in known}) if whisper else None
        return cls(
            in_dim=int(encoder["in_dim"]) if encoder else 0,
            encoder_ratios=tuple(encoder["ratios"]) if encoder else (),
            hidden_dim=int(encoder["hidden_dim"] if encoder else codec["hidden_dim"]),
            decoder_dim=int(decoder["hidden_dim"]),
            decoder_ratios=tuple(decoder["ratios"]),
            z_dim=int(decoder["z_dim"]),
            whisper=dims,
        )


class Projections(nn.Module):
    """Features to mean and scale of the latent, and the latent to features."""

    def __init__(self, width: int, z_dim: int) -> None:
        super().__init__()
        self.in_proj = WNConv1d(width, 2 * z_dim, 1)
        self.out_proj = WNConv1d(z_dim, width, 1)


class WhisperXVAE(nn.Module):
    """The whole network by its official names: ``CodecEnc``, ``CodecDec``, ``vae``, ``semantic_model``."""

    def __init__(self, config: VAEConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VAEConfig()
        self.sample_rate, self.hop = config.sample_rate, config.hop
        if config.in_dim:
            self.CodecEnc = CodecEncoder(config.in_dim, config.encoder_ratios, config.hidden_dim)
        self.CodecDec = CodecDecoder(config.hidden_dim, config.decoder_dim, config.decoder_ratios)
        self.vae = Projections(config.hidden_dim, config.z_dim)
        if config.whisper is not None:
            self.semantic_model = SemanticModel(config.whisper)

    def encode(self, wave: Tensor, mel: Tensor | None = None, layout: Layout = "btc") -> Tensor:
        """The latent's mean, ``(B, L, z)`` or ``(B, z, L)``.

        ``wave`` ``(B, T)`` or ``(B, 1, T)`` at the network's rate; ``mel`` ``(B, 1, n_mels, frames)`` of
        :mod:`.whisper_mel`, of the same clips at 16 kHz. L = T // hop.

        Raises:
            UsageError: no mel for the semantic branch, or more audio than Whisper hears (30 s).
        """
        mean = self.moments(wave, mel)[:, : self.config.z_dim]
        return mean.transpose(1, 2) if layout == "btc" else mean

    def moments(self, wave: Tensor, mel: Tensor | None = None) -> Tensor:
        """Mean and scale ``(B, 2 z, L)``; the scale is for training alone."""
        projected: Tensor = self.vae.in_proj(self._features(wave, mel))
        return projected

    def _features(self, wave: Tensor, mel: Tensor | None) -> Tensor:
        """The sum of both branches ``(B, C, L)``."""
        if not self.config.in_dim:
            return self.semantic(mel, wave.shape[-1] // self.hop)
        acoustic = self.acoustic(wave)
        if self.config.whisper is None:
            return acoustic
        return acoustic + self.semantic(mel, acoustic.shape[-1])

    def acoustic(self, wave: Tensor) -> Tensor:
        """The acoustic branch ``(B, C, L)``."""
        features: Tensor = self.CodecEnc(wave[:, None] if wave.dim() == 2 else wave)
        return features

    def semantic(self, mel: Tensor | None, frames: int) -> Tensor:
        """The semantic branch ``(B, C, frames)``: the mean of each two frames of Whisper's encoder.

        Raises:
            UsageError: there is no mel, or Whisper hears fewer frames.
        """
        if mel is None:
            raise UsageError("this VAE also wants Whisper's log-mel", "bench.systems.talker.whisper_mel makes it.")
        heard: Tensor = self.semantic_model.encoder(mel[:, 0])  # (B, 2 L', C)
        if heard.shape[1] < 2 * frames:
            raise UsageError(
                f"{frames} frames of speech are longer than Whisper's {heard.shape[1] // 2}", "cut the clip to 30 s."
            )
        return ((heard[:, 0 : 2 * frames : 2] + heard[:, 1 : 2 * frames : 2]) / 2).transpose(1, 2)

    def decode(self, latent: Tensor, layout: Layout = "btc") -> Tensor:
        """A waveform ``(B, 1, hop * L)`` in (-1, 1) of a latent ``(B, L, z)`` or ``(B, z, L)``."""
        waves: Tensor = self.CodecDec(self.decoder_input(latent, layout))
        return waves

    def decoder_input(self, latent: Tensor, layout: Layout = "btc") -> Tensor:
        """What the waveform decoder gets ``(B, C, L)``."""
        features: Tensor = self.vae.out_proj(latent.transpose(1, 2) if layout == "btc" else latent)
        return features


def official_shapes(network: WhisperXVAE) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the file that loads into ``network``: Whisper's text decoder included."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if network.config.whisper is not None:
        unused = network.semantic_model.decoder.shapes()
        shapes |= {f"semantic_model.decoder.{name}": shape for name, shape in unused.items()}
    return shapes
