"""The hierarchical synthesizer: wav2vec features, F0 and a voice to 16 kHz speech.

HierSpeech++ (arXiv 2311.12454); names follow ``sh-lee-prml/HierSpeechpp: hierspeechpp_speechsynthesizer.py``. At
inference the features' Gaussian (``enc_p_l``) is drawn from, taken through two inverse flows to the acoustic
latent, and that to F0, excitation and samples. ``enc_p``, ``enc_q``, ``mel_decoder`` and the null style ``emb`` are
of training; a third of the parameters need not be there to speak.

The official encoder draws noise once more and throws it away; this one does not, so equal seeds do not give the
official samples. Noise is an argument everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.systems.hierspeech.encoders import AcousticEncoder, Gaussian, MelDecoder, SemanticEncoder, sample
from bench.systems.hierspeech.flows import TransformerFlow
from bench.systems.hierspeech.generator import HOP, Generator, GeneratorConfig
from bench.systems.hierspeech.sequence import Noise, sequence_mask
from bench.systems.hierspeech.source import SOURCE_RATE, SourceNetwork
from bench.systems.hierspeech.style import StyleEncoder

#: Prefixes of the parameters that only training needs.
TRAINING_PARTS = ("enc_p", "enc_q", "mel_decoder", "emb")
#: Spread of the drawn latent: 0.333 is robust, 0.667 expressive.
NOISE_SCALE = 0.333


@dataclass(frozen=True, slots=True)
class SynthesizerConfig:
    """Sizes. The first block has the official configuration's names; the second is fixed in the official code.

    Attributes:
        cfg: whether there is a null style for training without a voice.
        uncond_ratio: how often training uses it.
        prosody_size: mel bands of the prosody decoder.
        source_channels: first width of the source network; None: half of ``upsample_initial_channel``.
        semantic_layers, acoustic_layers: of the WN stacks.
        flow_couplings, flow_blocks, flow_heads: of both flows.
        style_hidden, style_dropout: of the style encoder.
        source_kernel_sizes: AMP kernels of the source network.
        alias_free, head: as in :class:`GeneratorConfig`.
    """

    inter_channels: int = 192
    hidden_channels: int = 192
    filter_channels: int = 768
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    upsample_rates: tuple[int, ...] = (4, 5, 4, 2, 2)
    upsample_initial_channel: int = 512
    upsample_kernel_sizes: tuple[int, ...] = (8, 11, 8, 4, 4)
    gin_channels: int = 256
    cfg: bool = True
    uncond_ratio: float = 0.1
    prosody_size: int = 20

    feature_channels: int = 1024
    spec_channels: int = 641
    n_mels: int = 80
    source_channels: int | None = None
    semantic_layers: int = 8
    acoustic_layers: int = 16
    flow_couplings: int = 4
    flow_blocks: int = 3
    flow_heads: int = 2
    style_hidden: int = 256
    style_dropout: float = 0.1
    source_kernel_sizes: tuple[int, ...] = (3, 5, 7)
    alias_free: bool = True
    head: Literal["wave", "istft"] = "wave"

    @property
    def width_of_source(self) -> int:
        """First width of the source network; its features have a quarter of it."""
        return self.upsample_initial_channel // 2 if self.source_channels is None else self.source_channels

    def generator(self) -> GeneratorConfig:
        """The generator's share."""
        return GeneratorConfig(
            initial_channel=self.inter_channels,
            resblock_kernel_sizes=self.resblock_kernel_sizes,
            resblock_dilation_sizes=self.resblock_dilation_sizes,
            upsample_rates=self.upsample_rates,
            upsample_initial_channel=self.upsample_initial_channel,
            upsample_kernel_sizes=self.upsample_kernel_sizes,
            gin_channels=self.gin_channels,
            source_channels=self.width_of_source // SOURCE_RATE,
            alias_free=self.alias_free,
            head=self.head,
        )


def for_speaking(state: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a state dict that inference needs; for a network built with ``training_parts=False``."""
    return {name: value for name, value in state.items() if name.split(".", 1)[0] not in TRAINING_PARTS}


class Synthesizer(nn.Module):
    """See the module; everything runs on padded batches ``(B, C, T)`` of frames at 50 Hz.

    Args:
        config: sizes.
        training_parts: whether the parts named in :data:`TRAINING_PARTS` are there.
    """

    def __init__(self, config: SynthesizerConfig, training_parts: bool = True) -> None:
        super().__init__()
        self.config = config
        self.enc_p_l = self._semantic()
        self.flow_l = self._flow()
        if training_parts:
            self._add_training_parts()
        self.flow = self._flow()
        self.dec = Generator(config.generator())
        self.sn = SourceNetwork(
            config.inter_channels,
            config.width_of_source,
            config.gin_channels,
            config.source_kernel_sizes,
            config.alias_free,
        )
        self.emb_g = StyleEncoder(config.n_mels, config.style_hidden, config.gin_channels, config.style_dropout)

    def _semantic(self) -> SemanticEncoder:
        c = self.config
        return SemanticEncoder(
            c.feature_channels, c.inter_channels, c.hidden_channels, c.semantic_layers, c.gin_channels
        )

    def _flow(self) -> TransformerFlow:
        c = self.config
        return TransformerFlow(
            c.inter_channels,
            c.hidden_channels,
            n_layers=c.flow_blocks,
            n_flows=c.flow_couplings,
            gin_channels=c.gin_channels,
            heads=c.flow_heads,
        )

    def _add_training_parts(self) -> None:
        c = self.config
        self.enc_p = self._semantic()
        self.enc_q = AcousticEncoder(
            c.spec_channels, c.inter_channels, c.hidden_channels, c.acoustic_layers, c.gin_channels, c.alias_free
        )
        self.mel_decoder = MelDecoder(c.inter_channels, c.filter_channels, c.prosody_size, c.gin_channels)
        if c.cfg:
            self.emb = nn.Embedding(1, c.gin_channels)
            nn.init.normal_(self.emb.weight, std=c.gin_channels**-0.5)

    def style(self, mels: Tensor, mask: Tensor | None = None, isolate: bool = True) -> Tensor:
        """Voices ``(B, gin, 1)`` of log-mel spectrograms ``(B, 80, T)``; ``isolate`` as in the style encoder."""
        whole = torch.ones_like(mels[:, :1]) if mask is None else mask
        g: Tensor = self.emb_g(mels, whole, isolate)
        return g.unsqueeze(-1)

    def null_style(self, batch: int) -> Tensor:
        """The style of no voice, ``(batch, gin, 1)``.

        Raises:
            ValueError: this network has none.
        """
        if not hasattr(self, "emb"):
            raise ValueError("this synthesizer has no null style: its training parts are not there, or cfg is off")
        null = self.emb.weight * math.sqrt(self.config.gin_channels)  # (1, gin)
        return null.expand(batch, -1).unsqueeze(-1)

    def inverse_flows(self, z: Tensor, mask: Tensor, g: Tensor, isolate: bool = False) -> Tensor:
        """From the latent of the features to the acoustic one, ``(B, inter, T)``."""
        z = self.flow_l(z, mask, g, reverse=True, isolate=isolate)
        result: Tensor = self.flow(z, mask, g, reverse=True, isolate=isolate)
        return result

    def latent(
        self,
        features: Tensor,
        f0: Tensor,
        mask: Tensor,
        g: Tensor,
        noise: Noise,
        noise_scale: float = NOISE_SCALE,
        isolate: bool = False,
    ) -> Tensor:
        """The acoustic latent ``(B, inter, T)``.

        Args:
            features: ``(B, 1024, T)``.
            f0: log(F0 + 1) ``(B, 1, 4 T)``, 0 in the padding.
            mask: ``(B, 1, T)``.
            g: the style ``(B, gin, 1)``.
            noise: asked once, for ``(B, inter, T)``.
            noise_scale: spread of the drawn latent.
            isolate: every item as if it were alone; False is the official behaviour (see ``flows``).
        """
        gaussian: Gaussian = self.enc_p_l(features, f0, mask, g)
        drawn = sample(gaussian, noise(tuple(gaussian[0].shape)), noise_scale) * mask
        return self.inverse_flows(drawn, mask, g, isolate)

    def decode(self, z: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Samples ``(B, 1, 320 T)`` and log(F0 + 1) ``(B, 1, 4 T)`` of an acoustic latent; nothing is masked."""
        source, log_f0 = self.sn(z, g)
        return self.dec(z, source, g), log_f0

    def posterior(self, spectrogram: Tensor, audio: Tensor, mask: Tensor, g: Tensor) -> Gaussian:
        """The acoustic latent's Gaussian of real speech (training; see :class:`AcousticEncoder`)."""
        gaussian: Gaussian = self.enc_q(spectrogram, audio, mask, g)
        return gaussian

    def source_f0(self, gaussian: Gaussian, g: Tensor, noise: Noise, noise_scale: float = NOISE_SCALE) -> Tensor:
        """log(F0 + 1) ``(B, 1, 4 T)`` that the source network hears in a posterior (``f0_extraction``)."""
        log_f0: Tensor = self.sn(sample(gaussian, noise(tuple(gaussian[0].shape)), noise_scale), g)[1]
        return log_f0

    @torch.no_grad()
    def speak(
        self,
        features: Tensor,
        f0: Tensor,
        lengths: Tensor,
        g: Tensor,
        noise: Noise,
        noise_scale: float = NOISE_SCALE,
    ) -> list[Tensor]:
        """Samples ``(320 T_i,)`` of every item of a padded batch, each equal to what it gets alone, up to rounding.

        Args:
            features: ``(B, 1024, T)``.
            f0: log(F0 + 1) ``(B, 1, 4 T)``; what lies in the padding is ignored.
            lengths: frames per item, ``(B,)``.
            g: the style ``(B, gin, 1)``.
            noise: asked once, for ``(B, inter, T)``.
            noise_scale: spread of the drawn latent.
        """
        z, mask = self._latents(features, f0, lengths, g, noise, noise_scale)
        counts: list[int] = lengths.tolist()
        if len(counts) > 1 and not self.config.alias_free:
            return self.dec.each(z, self.sn(z, g, mask)[0], g, counts, mask)
        waves = (self.decode(z[i : i + 1, :, :n], g[i : i + 1])[0] for i, n in enumerate(counts))
        return [wave.flatten() for wave in waves]

    @torch.no_grad()
    def stream(
        self,
        features: Tensor,
        f0: Tensor,
        g: Tensor,
        noise: Noise,
        noise_scale: float = NOISE_SCALE,
        frames: int = 200,
    ) -> Iterator[Tensor]:
        """What :meth:`speak` gives for one item, in pieces of ``320 frames`` samples: memory does not grow with it.

        Only the generator works by pieces; the latent, small beside the samples, is computed at once.
        """
        z = self.latent(features, f0, torch.ones_like(features[:, :1]), g, noise, noise_scale)
        source, _ = self.sn(z, g)
        for piece in self.dec.in_chunks(z, source, g, frames):
            yield piece.flatten()

    def _latents(
        self, features: Tensor, f0: Tensor, lengths: Tensor, g: Tensor, noise: Noise, noise_scale: float
    ) -> tuple[Tensor, Tensor]:
        """The latents, and the mask ``(B, 1, T)`` outside of which they are 0."""
        mask = sequence_mask(lengths, features.shape[-1])
        voiced = f0 * mask.repeat_interleave(SOURCE_RATE, dim=-1)
        return self.latent(features, voiced, mask, g, noise, noise_scale, isolate=True), mask


def blend(rows: Tensor, ratio: float) -> Tensor:
    """One style ``(1, gin, 1)`` of those of the original and of the denoised prompt ``(2, gin, 1)``.

    Raises:
        ValueError: not two rows.
    """
    if len(rows) != 2:
        raise ValueError(f"the original's and the denoised prompt's style are blended, not {len(rows)} styles")
    return (1 - ratio) * rows[:1] + ratio * rows[1:]


__all__ = ["HOP", "NOISE_SCALE", "TRAINING_PARTS", "Synthesizer", "SynthesizerConfig", "blend", "for_speaking"]
