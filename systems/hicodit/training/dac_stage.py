"""Training of DAC, for the stage ``codec`` of configuration full: reconstruction, two kinds of discriminators, level
dropout. Facts and weights: specs/codec.md 1.7 (``descriptinc/descript-audio-codec: scripts/train.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bench.nets.weight_norm import WNConv1d
from bench.systems.hicodit.codec import codec_hash
from bench.systems.hicodit.codec.dac import Dac, DacCodec, DacSizes
from bench.systems.hicodit.training.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from bench.systems.hicodit.training.mel_distance import mel_distance
from bench.systems.hicodit.training.speech_crops import SpeechCrops
from bench.train import Loss, Stage, step_seed
from bench.train_files import Sound
from bench.train_rates import set_rate
from bench.train_request import TrainRequest

_MEL, _FEATURES, _ADVERSARIAL, _COMMITMENT, _CODEBOOK = 15.0, 2.0, 1.0, 0.25, 1.0
_BETAS = (0.8, 0.99)
_INITIAL_DEVIATION = 0.02
_JUDGED = 8  # held-out clips of an evaluation


class DacOptions(BaseModel):
    """The defaults are those that the published file was trained with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder_dim: int = Field(default=64, ge=1, description="width of the encoder's first layer")
    decoder_dim: int = Field(default=1536, ge=16, multiple_of=16, description="width of the decoder's first layer")
    levels: int = Field(default=12, ge=1, le=64)
    codes: int = Field(default=1024, ge=2, le=65_536, description="codes of a level")
    discriminator_dim: int = Field(default=32, ge=1, description="width of the discriminators' first layers")
    batch_size: int = Field(default=72, ge=1, le=4096, description="excerpts per step and process")
    frames: int = Field(default=19, ge=4, le=1000, description="20 ms frames of an excerpt")
    rate: float = Field(default=1e-4, gt=0, le=1, description="learning rate of AdamW at the first step")
    decay: float = Field(default=0.999996, gt=0, le=1, description="of the learning rate by each step")
    eval_every: int = Field(default=1000, ge=1, description="steps between two evaluations on held-out clips")

    def sizes(self) -> DacSizes:
        """The codec's."""
        return DacSizes(
            encoder_dim=self.encoder_dim,
            decoder_dim=self.decoder_dim,
            n_codebooks=self.levels,
            codebook_size=self.codes,
        )


class DacStage(Stage):
    """One step of the discriminators on what the codec made, then one of the codec."""

    name = "hicodit-codec-dac"
    clip_norm: Mapping[str, float] = {"codec": 1e3, "discriminators": 10.0}

    def __init__(self, request: TrainRequest, options: DacOptions) -> None:
        self._request, self._options = request, options
        torch.manual_seed(request.seed)  # of the fresh weights
        self._codec = initialised(Dac(options.sizes()))
        self._discriminators = Discriminators(options.discriminator_dim)
        self._adam = {
            name: torch.optim.AdamW(network.parameters(), options.rate, betas=_BETAS)
            for name, network in self.networks().items()
        }
        self._clips = SpeechCrops(request.clips, self._codec.sizes.sample_rate, request.progress.say)
        self._held_out = SpeechCrops(request.held_out, self._codec.sizes.sample_rate, request.progress.say)
        self._measured: dict[str, float] = {}

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"codec": self._codec, "discriminators": self._discriminators}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return self._adam

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return {**self._request.identity(), **self._options.model_dump(mode="json")}

    def begin(self, step: int) -> None:
        """Sets the learning rates; judges now and then."""
        for adam in self._adam.values():
            set_rate(adam, self._options.rate * self._options.decay**step)
        judged = step > 0 and step % self._options.eval_every == 0 and len(self._held_out) > 0
        self._measured = {"eval_mel": self._error()} if judged else {}

    def batch(self, step: int, rank: int, world: int) -> Tensor:
        """Excerpts ``(B, 1, T)``."""
        random = np.random.default_rng(step_seed(self._request.seed, step, rank))
        samples = self._options.frames * self._codec.sizes.hop
        crops = [self._clips.crop(random, samples) for _ in range(self._options.batch_size)]
        return torch.from_numpy(np.stack(crops))[:, None]

    def losses(self, batch: Tensor, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        codec, judges = self._codec, self._discriminators
        whole = batch.to(next(codec.parameters()).device)
        levels = dropped_levels(len(whole), codec.sizes, generator)
        found = codec.quantizer(codec.encoder(whole), levels)
        made = codec.decoder(found.values)
        true = whole[..., : made.shape[-1]]  # odd strides lose some samples
        verdict = discriminator_loss(judges(made.detach()), judges(true))
        yield Loss("discriminators", verdict, {"discriminators": verdict.detach()})
        ours, theirs = judges(made), judges(true)
        parts = {
            "mel": mel_distance(made[:, 0], true[:, 0], codec.sizes.sample_rate),
            "features": feature_loss(ours, theirs),
            "adversarial": adversarial_loss(ours),
            "commitment": found.commitment,
            "codebook": found.codebook,
        }
        weights = (_MEL, _FEATURES, _ADVERSARIAL, _COMMITMENT, _CODEBOOK)
        loss = torch.stack([weight * part.float() for weight, part in zip(weights, parts.values(), strict=True)]).sum()
        yield Loss("codec", loss, {**{name: part.detach() for name, part in parts.items()}, **self._measured})

    def sounds(self, step: int) -> Mapping[str, Sound]:
        """After an evaluation a held-out clip, and what the codec makes of it."""
        pair = self._copied(0) if step % self._options.eval_every == 0 and len(self._held_out) else None
        rate = self._codec.sizes.sample_rate
        return {} if pair is None else {"true": Sound(pair[0][0], rate), "copy": Sound(pair[1][0], rate)}

    def finish(self) -> None:
        """Measures the reconstruction of held-out clips."""
        self._measured = {"held_out_mel": self._error()} if len(self._held_out) else {}

    def facts(self) -> Mapping[str, str]:
        """The codec's hash, and how far from held-out clips it is."""
        told = {"codec": DacCodec.name, "codebooks": codec_hash(DacCodec.name, self._codec.quantizer.codebooks())}
        return {**told, **{name: f"{value:.4f}" for name, value in self._measured.items()}}

    @torch.no_grad()
    def _copied(self, index: int) -> tuple[Tensor, Tensor] | None:
        """A held-out clip's whole frames and what the codec makes of them ``(1, T)``; None: it cannot be decoded."""
        samples, codec = self._held_out.clip(index), self._codec
        if samples is None or len(samples) < codec.sizes.hop:
            return None
        true = torch.from_numpy(samples[: len(samples) // codec.sizes.hop * codec.sizes.hop])[None, None]
        true = true.to(next(codec.parameters()).device)
        made = codec.decoder(codec.quantizer(codec.encoder(true)).values)
        return true[:, 0, : made.shape[-1]], made[:, 0]

    def _error(self) -> float:
        """The mean distance of the first held-out clips to what the codec makes of them."""
        pairs = [self._copied(index) for index in range(min(_JUDGED, len(self._held_out)))]
        rate = self._codec.sizes.sample_rate
        errors = [float(mel_distance(made, true, rate)) for true, made in filter(None, pairs)]
        return float(np.mean(errors)) if errors else float("nan")


def initialised(network: Dac) -> Dac:
    """``network`` with the published initial numbers: normal within two deviations of 0.02, no bias."""
    for module in network.modules():
        if isinstance(module, WNConv1d):
            nn.init.trunc_normal_(module.weight_v, std=_INITIAL_DEVIATION)
            with torch.no_grad():
                module.weight_g.copy_(torch.linalg.vector_norm(module.weight_v, dim=(1, 2), keepdim=True))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def dropped_levels(batch: int, sizes: DacSizes, generator: torch.Generator) -> Tensor:
    """How many levels each sample is heard with ``(B,)``: any number for the first share of them, all for the rest."""
    levels = torch.full((batch,), sizes.n_codebooks, device=generator.device)
    first = int(sizes.quantizer_dropout * batch)
    levels[:first] = torch.randint(1, sizes.n_codebooks + 1, (first,), generator=generator, device=generator.device)
    return levels
