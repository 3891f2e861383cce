"""Text-to-vec: phoneme tokens and a voice to wav2vec 2.0 features at 50 Hz and log F0 at 200 Hz.

HierSpeech++ (Lee et al. 2023, arXiv 2311.12454, section 3.3). Parameter names and shapes are those of the official
checkpoint (manifest ``hier_ttv_v1.json``, ``sh-lee-prml/HierSpeechpp: ttv_v1/t2w2v_transformer.py``).

Inference gives every item of a padded batch what it gets alone; training follows the official code, where
padding has some influence (see :mod:`bench.systems.hierspeech.flows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import DataError
from bench.systems.hierspeech.align import align
from bench.systems.hierspeech.duration import StochasticDurationPredictor
from bench.systems.hierspeech.flows import TransformerFlow
from bench.systems.hierspeech.pitch_predictor import PitchPredictor
from bench.systems.hierspeech.sequence import (
    Noise,
    pad_items,
    sequence_mask,
    stretch,
    take_slices,
    token_of_frame,
)
from bench.systems.hierspeech.style import StyleEncoder
from bench.systems.hierspeech.ttv_parts import PosteriorEncoder, TextEncoder, W2VDecoder


@dataclass(frozen=True, slots=True)
class TTVConfig:
    """All sizes; the defaults are those of the official checkpoint.

    ``inter_channels`` is the size of the latent and the width of text encoder and duration predictor (the
    feature decoder is twice as wide); ``hidden_channels`` the width of posterior encoder and flow.
    """

    inter_channels: int = 256
    hidden_channels: int = 256
    gin_channels: int = 256
    vocabulary: int = 178
    feature_size: int = 1024
    mel_channels: int = 80
    text_layers: int = 3
    text_heads: int = 4
    text_kernel: int = 9
    text_dropout: float = 0.2
    posterior_layers: int = 16
    decoder_layers: int = 8
    decoder_dropout: float = 0.1
    flow_couplings: int = 4
    flow_blocks: int = 3
    flow_heads: int = 4
    flow_dropout: float = 0.1
    duration_kernel: int = 3
    duration_flows: int = 4
    duration_dropout: float = 0.5
    style_dropout: float = 0.1
    pitch_channels: int = 256
    pitch_frames: int = 60
    """Frames of the slice that the pitch predictor is trained on."""

    @classmethod
    def from_model_section(cls, section: Mapping[str, Any]) -> TTVConfig:
        """From the ``model`` section of an official ``config.json``, of which only two entries have any effect."""
        return cls(inter_channels=section["inter_channels"], hidden_channels=section["hidden_channels"])


@dataclass(frozen=True, slots=True)
class TTVSettings:
    """How to sample; the defaults are those of the official scripts."""

    noise_scale: float = 0.333
    """Spread of the latent; 0.333 is robust, 0.667 expressive."""
    noise_scale_w: float = 1.0
    """Spread of the durations; well below 1 speech becomes too short."""
    length_scale: float = 1.0
    """Slower above 1."""
    max_token_frames: int | None = None
    """The most frames that a token may last; None: no limit, as in the official code."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Texts before they become frames; all are 0 behind an item's tokens.

    ``m`` and ``logs`` ``(B, inter, Tx)``: the Gaussian of each token's latent; ``exact`` ``(B, Tx)``: how many frames a
    token would last, and ``durations`` ``(B, Tx)``, how many it does, a whole number.
    """

    m: Tensor
    logs: Tensor
    exact: Tensor
    durations: Tensor

    @property
    def lengths(self) -> Tensor:
        """Frames per item ``(B,)``, at least one."""
        return self.durations.sum(1).clamp(min=1)


@dataclass(frozen=True, slots=True)
class Utterances:
    """What text-to-vec makes of a batch; behind an item's length everything is 0.

    ``w2v`` ``(B, feature_size, T)``; ``pitch`` = log(F0 + 1) ``(B, 1, 4 T)``, F0 in hertz; ``lengths`` ``(B,)``,
    frames; ``durations`` ``(B, Tx)``, frames per token.
    """

    w2v: Tensor
    pitch: Tensor
    lengths: Tensor
    durations: Tensor


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Real features through posterior encoder and decoder, on their own time axis (frame i is at i / 50 s).

    ``z`` ``(B, inter, T)``; ``w2v`` ``(B, feature_size, T)``; ``pitch`` ``(B, 1, 4 T)``, as :class:`Utterances`.
    """

    z: Tensor
    w2v: Tensor
    pitch: Tensor


@dataclass(frozen=True, slots=True)
class TTVBatch:
    """A batch of training, padded with zeros.

    ``tokens`` ``(B, Tx)`` with blanks and their ``token_lengths`` ``(B,)``; ``w2v`` ``(B, feature_size, T)`` and
    ``lengths`` ``(B,)``, at least as many frames as tokens in each item; ``mel`` ``(B, 80, Tm)`` with ``mel_lengths``:
    where the style comes from (officially the clip itself); ``f0`` ``(B, 1, 4 T)`` in hertz, 0 where unvoiced;
    ``phonemes`` ``(B, L)`` without blanks and ``phoneme_lengths``, for the CTC loss.
    """

    tokens: Tensor
    token_lengths: Tensor
    w2v: Tensor
    lengths: Tensor
    mel: Tensor
    mel_lengths: Tensor
    f0: Tensor
    phonemes: Tensor
    phoneme_lengths: Tensor


@dataclass(frozen=True, slots=True)
class TTVNoise:
    """The random numbers of a training step.

    ``posterior`` ``(B, inter, T)`` and ``durations`` ``(B, 2, Tx)``, standard normal; ``slices`` ``(B,)`` in [0, 1).
    """

    posterior: Tensor
    durations: Tensor
    slices: Tensor

    @classmethod
    def draw(cls, config: TTVConfig, batch: TTVBatch, generator: torch.Generator) -> TTVNoise:
        """New numbers for ``batch``, drawn where the generator lives, on the batch's device."""
        items, count = batch.tokens.shape
        where, device = generator.device, batch.w2v.device
        posterior = torch.randn(items, config.inter_channels, batch.w2v.shape[2], generator=generator, device=where)
        durations = torch.randn(items, 2, count, generator=generator, device=where)
        slices = torch.rand(items, generator=generator, device=where)
        return cls(posterior.to(device), durations.to(device), slices.to(device))


@dataclass(frozen=True, slots=True)
class TTVTraining:
    """What the losses need of a training forward.

    ``w2v`` ``(B, feature_size, T)``; ``z_p``, ``m_q``, ``logs_q`` and, stretched to frames, ``m_p``, ``logs_p``, each
    ``(B, inter, T)``; ``mask`` ``(B, 1, T)``; ``pitch`` ``(B, 1, 4 S)`` of the slices that begin at frame ``starts``
    ``(B,)``; ``durations`` ``(B, Tx)`` in frames; ``duration_loss`` ``(B,)``: nats per token of the batch, None
    where it was not wanted; ``phoneme_logits`` ``(B, vocabulary, T)``.
    """

    w2v: Tensor
    z_p: Tensor
    m_q: Tensor
    logs_q: Tensor
    m_p: Tensor
    logs_p: Tensor
    mask: Tensor
    pitch: Tensor
    starts: Tensor
    durations: Tensor
    duration_loss: Tensor | None
    phoneme_logits: Tensor


class TextToVec(nn.Module):
    """The whole network; see the module. Fold weight norm before inference at speed (``fold_weight_norm``)."""

    def __init__(self, config: TTVConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or TTVConfig()
        inter, gin = c.inter_channels, c.gin_channels
        self.enc_q = PosteriorEncoder(c.feature_size, inter, c.hidden_channels, c.posterior_layers, gin)
        self.enc_p = TextEncoder(
            c.vocabulary, inter, 4 * inter, c.text_heads, c.text_layers, c.text_kernel, c.text_dropout, gin
        )
        self.flow = TransformerFlow(
            inter, c.hidden_channels, c.flow_blocks, c.flow_couplings, gin, c.flow_heads, c.flow_dropout
        )
        self.w2v_decoder = W2VDecoder(inter, 2 * inter, c.decoder_layers, c.feature_size, gin, c.decoder_dropout)
        self.emb_g = StyleEncoder(c.mel_channels, gin, gin, c.style_dropout)
        self.dp = StochasticDurationPredictor(inter, c.duration_kernel, c.duration_dropout, c.duration_flows, gin)
        self.pp = PitchPredictor(c.feature_size, c.pitch_channels, gin)
        self.phoneme_classifier = nn.Conv1d(inter, c.vocabulary, 1, bias=False)

    def style(self, mel: Tensor, lengths: Tensor, isolate: bool = True) -> Tensor:
        """The styles ``(B, gin, 1)`` of log-mels ``(B, 80, Tm)``; ``isolate`` as in :class:`StyleEncoder`."""
        style: Tensor = self.emb_g(mel, sequence_mask(lengths, mel.shape[2]), isolate)
        return style.unsqueeze(2)

    def blended_style(self, mel: Tensor, denoise_ratio: float) -> Tensor:
        """One style ``(1, gin, 1)`` between a prompt's (first row) and its denoised version's (second row).

        Args:
            mel: ``(2, 80, Tm)``.
            denoise_ratio: 0: the prompt as it is, 1: the denoised one alone.

        Raises:
            ValueError: not two rows.
        """
        if mel.shape[0] != 2:
            raise ValueError(f"a prompt has two rows, as it is and denoised, not {mel.shape[0]}")
        rows = mel if denoise_ratio else mel[:1]  # the second row would count for nothing
        g = self.style(rows, torch.full((len(rows),), mel.shape[2], device=mel.device))
        return (1 - denoise_ratio) * g[:1] + denoise_ratio * g[1:] if denoise_ratio else g

    def infer(
        self,
        tokens: Tensor,
        token_lengths: Tensor,
        g: Tensor,
        noises: Sequence[Noise],
        settings: TTVSettings | None = None,
    ) -> Utterances:
        """Features and pitch of texts; every item gets what it gets alone.

        Args:
            tokens: ids with blanks ``(B, Tx)``.
            token_lengths: ``(B,)``.
            g: the styles ``(B, gin, 1)``, or ``(1, gin, 1)`` for all.
            noises: one source per item; it is asked for ``(1, 2, own tokens)``, then ``(1, inter, own frames)``.
            settings: how to sample.

        Raises:
            DataError: the network predicts durations that are no numbers.
        """
        settings = settings or TTVSettings()
        return self.features(self.timing(tokens, token_lengths, g, noises, settings), g, noises, settings)

    def timing(
        self, tokens: Tensor, token_lengths: Tensor, g: Tensor, noises: Sequence[Noise], settings: TTVSettings
    ) -> Timing:
        """The first half of :meth:`infer`: how long each token lasts."""
        with torch.no_grad():
            g = g.expand(tokens.shape[0], -1, -1)
            mask = sequence_mask(token_lengths, tokens.shape[1])
            x, m_p, logs_p = self.enc_p(tokens, mask, g)
            shapes = [(1, 2, count) for count in token_lengths.tolist()]
            noise_w = pad_items(_draw(noises, shapes), tokens.shape[1])
            log_w = self.dp.sample(x, mask, g, noise_w * settings.noise_scale_w)
            exact = (log_w.exp() * mask * settings.length_scale)[:, 0]
            return Timing(m_p, logs_p, exact, _whole_frames(exact, settings))

    def features(self, timing: Timing, g: Tensor, noises: Sequence[Noise], settings: TTVSettings) -> Utterances:
        """The second half of :meth:`infer`: the frames of tokens whose durations are known."""
        with torch.no_grad():
            durations, lengths = timing.durations, timing.lengths
            g = g.expand(len(lengths), -1, -1)
            size = int(lengths.max())
            index, spoken = token_of_frame(durations, size)
            shapes = [(1, timing.m.shape[1], count) for count in lengths.tolist()]
            noise_z = pad_items(_draw(noises, shapes), size)
            spread = stretch(timing.logs, index, spoken).exp() * settings.noise_scale
            z_p = stretch(timing.m, index, spoken) + noise_z * spread
            frames = sequence_mask(lengths, size)
            z = self.flow(z_p, frames, g, reverse=True, isolate=True)
            w2v = self.w2v_decoder(z, frames, g)
            return Utterances(w2v, self.pp(w2v, g, frames), lengths, durations)

    def infer_noise_control(
        self,
        tokens: Tensor,
        mel: Tensor,
        noise: Noise,
        settings: TTVSettings | None = None,
        denoise_ratio: float = 0.0,
    ) -> Utterances:
        """One text in the voice of a prompt, as the official scripts do it.

        Args:
            tokens: ids with blanks ``(1, Tx)``.
            mel: the prompt's two rows ``(2, 80, Tm)``, see :meth:`blended_style`.
            noise: see :meth:`infer`.
            settings: how to sample.
            denoise_ratio: see :meth:`blended_style`.
        """
        with torch.no_grad():
            g = self.blended_style(mel, denoise_ratio)
        lengths = torch.full((1,), tokens.shape[1], device=tokens.device)
        return self.infer(tokens, lengths, g, [noise], settings)

    def reconstruct(self, w2v: Tensor, lengths: Tensor, g: Tensor, noise: Tensor | None) -> Reconstruction:
        """Real features through posterior encoder and decoder: what training of the face's second stage hears.

        Args:
            w2v: features ``(B, feature_size, T)``.
            lengths: ``(B,)``.
            g: the styles ``(B, gin, 1)``.
            noise: ``(B, inter, T)``, standard normal for a sample; None: the posterior's mean.
        """
        with torch.no_grad():
            mask = sequence_mask(lengths, w2v.shape[2])
            z, _, _ = self.enc_q(w2v, mask, g, noise)
            features = self.w2v_decoder(z, mask, g)
            return Reconstruction(z, features, self.pp(features, g, mask))

    def forward(self, batch: TTVBatch, noise: TTVNoise, with_durations: bool = True) -> TTVTraining:
        """A training step's forward; the losses are in :mod:`bench.systems.hierspeech.ttv_losses`.

        Args:
            batch: the clips.
            noise: the step's random numbers.
            with_durations: also run the duration predictor, whose loss reaches nothing else.
        """
        mask = sequence_mask(batch.lengths, batch.w2v.shape[2])
        text_mask = sequence_mask(batch.token_lengths, batch.tokens.shape[1])
        g = self.style(batch.mel, batch.mel_lengths, isolate=False)
        x, m_p, logs_p = self.enc_p(batch.tokens, text_mask, g)
        z, m_q, logs_q = self.enc_q(batch.w2v, mask, g, noise.posterior)
        z_p = self.flow(z, mask, g)
        size = min(self.config.pitch_frames, batch.w2v.shape[2])
        starts = (noise.slices * (batch.lengths - size + 1)).long().clamp(min=0)
        index = align(z_p, m_p, logs_p, batch.lengths, batch.token_lengths)
        durations = torch.zeros_like(text_mask[:, 0]).scatter_add(1, index, mask[:, 0])  # (B, Tx)
        nll = None
        if with_durations:
            nll = self.dp(x, text_mask, durations.unsqueeze(1), g, noise.durations) / text_mask.sum()
        return TTVTraining(
            w2v=self.w2v_decoder(z, mask, g),
            z_p=z_p,
            m_q=m_q,
            logs_q=logs_q,
            m_p=stretch(m_p, index, mask),
            logs_p=stretch(logs_p, index, mask),
            mask=mask,
            pitch=self.pp(take_slices(batch.w2v, starts, size), g),
            starts=starts,
            durations=durations.long(),
            duration_loss=nll,
            phoneme_logits=self.phoneme_classifier(z * mask),
        )


def _draw(noises: Sequence[Noise], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    return [noise(shape) for noise, shape in zip(noises, shapes, strict=True)]


def _whole_frames(exact: Tensor, settings: TTVSettings) -> Tensor:
    """Durations ``(B, Tx)`` in whole frames, rounded up."""
    frames = exact.ceil()
    if settings.max_token_frames is not None:
        frames = frames.clamp(max=settings.max_token_frames)
    if not bool(frames.isfinite().all()):
        raise DataError("text-to-vec predicts durations that are no numbers", "its weights are not trained or damaged")
    return frames.long()
