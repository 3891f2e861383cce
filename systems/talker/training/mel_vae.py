"""Training of the tiny audio VAE (specs/talker.md, 14.1): log-mel frames through 32 numbers per 40 ms and back.

The learning rate falls by the step, not by the clock as in the specification's prototype: a training that is resumed,
or repeated on a slower machine, has the same rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bench.api import UsageError
from bench.progress import Progress
from bench.systems.talker.mel_vae import MelVAE
from bench.systems.talker.training.mel_clips import MelClips
from bench.train import Loss, Stage, step_seed
from bench.train_rates import cosine, set_rate
from bench.train_request import TrainRequest

_ADAM: Mapping[str, Any] = {"betas": (0.9, 0.98), "weight_decay": 0.01}
_WARM_UP, _FLOOR = 100, 0.05
_SQUARED, _DIVERGENCE = 0.5, 1e-3  # weights beside the absolute error's


class MelVAEOptions(BaseModel):
    """``schedule``: the steps over which the learning rate falls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=32, ge=1, le=4096, description="crops per step and process")
    crop: int = Field(default=16, ge=1, le=4096, description="latent frames (40 ms) of a crop")
    rate: float = Field(default=2e-3, gt=0, le=1, description="greatest learning rate of AdamW")
    eval_every: int = Field(default=100, ge=1, description="steps between two evaluations on the held-out clips")


def stage(request: TrainRequest) -> Stage:
    """The stage ``vae``.

    Raises:
        UsageError: configuration full, whose VAE is the published one.
    """
    options = request.options(MelVAEOptions)
    if request.config != "tiny":
        raise UsageError(
            f"the audio VAE of configuration {request.config} is WhisperX-VAE, which is given: no code that trains it "
            "is published",
            "`bench doctor` says which file it is; train --config tiny here.",
        )
    return MelVAEStage(request, options)


class MelVAEStage(Stage):
    """Absolute and squared error in deviations of the bands, and a weak pull of the latent to the normal."""

    name = "talker-vae"
    clip_norm: Mapping[str, float] = {"vae": 1.0}

    def __init__(self, request: TrainRequest, options: MelVAEOptions) -> None:
        self._request, self._options = request, options
        torch.manual_seed(request.seed)  # of the fresh weights
        self._vae = MelVAE()
        self._clips = MelClips(request.clips, self._vae.config)
        self._held_out = MelClips(request.held_out, self._vae.config)
        self._adam = torch.optim.AdamW(self._vae.parameters(), options.rate, **_ADAM)
        self._measured: dict[str, float] = {}

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"vae": self._vae}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"vae": self._adam}

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return {**self._request.identity(), **self._options.model_dump(mode="json")}

    def begin(self, step: int) -> None:
        """Measures the bands before the first step; sets the learning rate; judges now and then."""
        if step == 0:
            frames = (torch.from_numpy(mel) for mel in self._clips.all(self._request.progress, "log-mel frames"))
            self._vae.set_band_statistics(*_moments(frames, self._vae.mel_mean))
        set_rate(self._adam, self._options.rate * cosine(step, self._options.schedule, _WARM_UP, _FLOOR))
        self._measured = {}
        if step > 0 and step % self._options.eval_every == 0 and len(self._held_out):
            self._measured = {"eval_l1": mel_error(self._vae, self._held_out)}

    def batch(self, step: int, rank: int, world: int) -> Tensor:
        """Log-mel frames ``(B, stack * crop, n_mels)`` of random crops."""
        random = np.random.default_rng(step_seed(self._request.seed, step, rank))
        frames = self._options.crop * self._vae.config.stack
        return torch.from_numpy(np.stack([self._clips.crop(random, frames) for _ in range(self._options.batch_size)]))

    def losses(self, batch: Tensor, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        mel = batch.to(self._vae.mel_mean.device)
        posterior = self._vae.posterior(mel)
        noise = torch.randn(posterior.mean.shape, generator=generator, device=mel.device)
        made = self._vae.mel_of(posterior.mean + (0.5 * posterior.log_variance).exp() * noise)
        error = (made - mel) / self._vae.mel_std
        absolute, squared, divergence = error.abs().mean(), error.square().mean(), posterior.divergence().mean()
        loss = absolute + _SQUARED * squared + _DIVERGENCE * divergence
        parts = {"absolute": absolute, "squared": squared, "divergence": divergence}
        yield Loss("vae", loss, {**{name: value.detach() for name, value in parts.items()}, **self._measured})

    def finish(self) -> None:
        """Standardises the latents by those of all training clips; measures the error on the held-out ones."""
        vae, none = self._vae, self._vae.latent_mean
        vae.set_latent_statistics(torch.zeros_like(none), torch.ones_like(none))
        clips = self._clips.all(self._request.progress, "statistics of the latents")
        vae.set_latent_statistics(*_moments((_latents(vae, mel) for mel in clips), none))
        self._measured = {"held_out_l1": mel_error(vae, self._held_out)} if len(self._held_out) else {}

    def facts(self) -> Mapping[str, str]:
        """The error on the held-out clips, in nats."""
        return {name: f"{value:.4f}" for name, value in self._measured.items()}


@torch.no_grad()
def mel_error(vae: MelVAE, clips: MelClips) -> float:
    """Mean absolute error in nats of all log-mel frames of ``clips`` that went through the latent's mean."""
    total, count = 0.0, 0
    for frames in clips.all(Progress(quiet=True), "held-out clips"):
        mel = torch.from_numpy(frames)[None].to(vae.mel_mean.device)
        total += float((vae.decode_mel(vae.encode_mel(mel)) - mel).abs().sum())
        count += mel.numel()
    return total / max(1, count)


def _latents(vae: MelVAE, mel: np.ndarray[Any, np.dtype[np.float32]]) -> Tensor:
    return vae.encode_mel(torch.from_numpy(mel)[None].to(vae.mel_mean.device))[0]


def _moments(parts: Iterator[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column of all ``parts`` ``(T, C)`` together; for no parts 0 and 0."""
    count, total = 0, torch.zeros(like.shape, dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in parts:
        wide = part.double().cpu()
        count, total, squares = count + len(wide), total + wide.sum(0), squares + wide.square().sum(0)
    mean = total / max(1, count)
    deviation = (squares / max(1, count) - mean.square()).clamp_min(0).sqrt()
    return mean.to(like), deviation.to(like)
