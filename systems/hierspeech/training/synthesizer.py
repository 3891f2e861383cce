"""Training the tiny synthesizer: features, F0 and a voice to speech.

The official training is unpublished. This one (specs/hierspeech.md, T.3) trains what speaks and nothing else, from
end to end: the Gaussian of the features is drawn from, taken through the inverse flows and decoded, and the waveform is
held against the recorded one by :mod:`.spectral_losses`. The voice comes from another utterance of the same speaker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bench.api import UsageError
from bench.systems.hierspeech import tiny
from bench.systems.hierspeech.encoders import sample
from bench.systems.hierspeech.generator import HOP
from bench.systems.hierspeech.source import SOURCE_RATE
from bench.systems.hierspeech.synthesizer import NOISE_SCALE, Synthesizer
from bench.systems.hierspeech.training.spectral_losses import SpeechLosses, speech_losses
from bench.systems.hierspeech.training.speech_clips import SpeechClip, SpeechClips, speech_clips
from bench.train import Loss, Stage, step_seed
from bench.train_rates import flat_then_linear, set_rate
from bench.train_request import TrainRequest

FRAMES = 32  # of a crop: 0.64 s
STYLE_FRAMES = 50
_GREATEST_LOG_SIGMA = 2.0  # a wild encoder at the beginning does not drown the latent in noise
_ADAM: Mapping[str, Any] = {"betas": (0.8, 0.99), "eps": 1e-9, "weight_decay": 0.01}
_WARM_UP, _FLOOR = 30, 0.05
_JUDGED = -1  # stands for the rank in the seeds of evaluation batches


class SynthesizerOptions(BaseModel):
    """``features``: a file of the stage ``features``; without one the shipped features are taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: str | None = None
    batch_size: int = Field(default=8, ge=1, le=1024, description="crops of 32 frames per step and process")
    rate: float = Field(default=1e-3, gt=0, le=1, description="greatest learning rate of AdamW")
    schedule: int = Field(default=1500, ge=2, description="steps over which the learning rate goes up and down")
    eval_every: int = Field(default=100, ge=1, description="steps between two evaluations")
    eval_batches: int = Field(default=4, ge=1, description="batches of an evaluation")


class SpeechBatch(NamedTuple):
    """``features`` (B, D, 32), ``log_f0`` (B, 1, 128), ``audio`` (B, 10240) of crops; ``style`` (B, 80, 50): log-mel of
    another utterance of each crop's speaker."""

    features: Tensor
    log_f0: Tensor
    audio: Tensor
    style: Tensor


class Crops:
    """Batches of crops of ``clips``; each is a function of its generator's state."""

    def __init__(self, clips: SpeechClips) -> None:
        self._clips = clips

    def draw(self, random: np.random.Generator, size: int) -> SpeechBatch:
        """Crops at random places of random clips, each with the style of another utterance."""
        drawn = [self._one(random) for _ in range(size)]
        return SpeechBatch(*(torch.stack(column) for column in zip(*drawn, strict=True)))

    def _one(self, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index = self._clips.draw(random)
        voice = self._clips[self._clips.partner(index, random)]
        return *_crop(self._clips[index], random), _mel_crop(voice.mel, random)


def _crop(clip: SpeechClip, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Features (D, 32), log(F0 + 1) (1, 128) and audio (10240,) of a random place."""
    start = int(random.integers(clip.frames - FRAMES + 1))
    f0 = clip.f0[SOURCE_RATE * start : SOURCE_RATE * (start + FRAMES)]
    audio = clip.audio[HOP * start : HOP * (start + FRAMES)]
    return clip.features[:, start : start + FRAMES], torch.log1p(f0)[None], audio


def _mel_crop(mel: Tensor, random: np.random.Generator) -> Tensor:
    """(80, 50) of ``mel`` (80, T), which begins anew where it is shorter."""
    start = int(random.integers(max(0, mel.shape[1] - STYLE_FRAMES) + 1))
    return mel[:, (start + torch.arange(STYLE_FRAMES)) % mel.shape[1]]


def stage(request: TrainRequest) -> Stage:
    """The stage ``synthesizer``.

    Raises:
        UsageError: configuration full, whose training is unpublished; no features of the tiny configuration.
    """
    options = request.options(SynthesizerOptions)
    if request.config != "tiny":
        raise UsageError(
            f"the synthesizer of configuration {request.config} cannot be trained: how the official one was trained "
            "is unpublished (its repository has no training code for it)",
            "use the official weights (`bench weights add`), or train --config tiny.",
        )
    clips = speech_clips(request, options.features)
    held_out = speech_clips(request, options.features, held_out=True)
    return SynthesizerStage(request, options, clips, held_out)


class SynthesizerStage(Stage):
    """The distance of spectra and of F0, in random crops."""

    name = "hierspeech-synthesizer"
    clip_norm: Mapping[str, float] = {"synthesizer": 5.0}

    def __init__(
        self, request: TrainRequest, options: SynthesizerOptions, clips: SpeechClips, held_out: SpeechClips
    ) -> None:
        self._seed, self._options = request.seed, options
        self._crops, self._held_out = Crops(clips), Crops(held_out) if len(held_out) else None
        told = options.model_dump(mode="json", exclude={"features"})
        self._told = {**request.identity(), **told, **clips.describe()}
        torch.manual_seed(request.seed)  # of the fresh weights
        self._synthesizer = Synthesizer(tiny.SYNTHESIZER, training_parts=False)
        self._adam = torch.optim.AdamW(self._synthesizer.parameters(), **_ADAM)
        self._measured: dict[str, float] = {}

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"synthesizer": self._synthesizer}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"synthesizer": self._adam}

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return self._told

    def batch(self, step: int, rank: int, world: int) -> SpeechBatch:
        """See :meth:`Stage.batch`."""
        random = np.random.default_rng(step_seed(self._seed, step, rank))
        return self._crops.draw(random, self._options.batch_size)

    def begin(self, step: int) -> None:
        """Sets the learning rate; now and then measures on the held-out clips."""
        factor = flat_then_linear(step, self._options.schedule, _WARM_UP, _FLOOR)
        set_rate(self._adam, self._options.rate * factor)
        self._measured = {}
        if step > 0 and step % self._options.eval_every == 0 and self._held_out is not None:
            self._measured = self._evaluated(self._held_out)

    def losses(self, batch: SpeechBatch, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        found = spoken_losses(self._synthesizer, batch, generator)
        yield Loss("synthesizer", found.total(), {**_logged(found), **self._measured})

    @torch.no_grad()
    def _evaluated(self, crops: Crops) -> dict[str, float]:
        """Means over fixed batches, the network in evaluation mode."""
        self._synthesizer.eval()
        sums: dict[str, float] = defaultdict(float)
        for number in range(self._options.eval_batches):
            seed = step_seed(self._seed, number, _JUDGED)
            batch = crops.draw(np.random.default_rng(seed), self._options.batch_size)
            generator = torch.Generator(_device(self._synthesizer)).manual_seed(seed)
            for name, value in _logged(spoken_losses(self._synthesizer, batch, generator)).items():
                sums[f"eval_{name}"] += float(value) / self._options.eval_batches
        self._synthesizer.train()
        return dict(sums)


def spoken_losses(network: Synthesizer, batch: SpeechBatch, generator: torch.Generator) -> SpeechLosses:
    """What ``network`` makes of a batch, against the batch's audio and F0; the latent's noise is from ``generator``."""
    features, log_f0, audio, style = (tensor.to(_device(network)) for tensor in batch)
    mask = torch.ones_like(features[:, :1])
    g = network.style(style)
    mean, log_sigma = network.enc_p_l(features, log_f0, mask, g)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    drawn = sample((mean, log_sigma.clamp(max=_GREATEST_LOG_SIGMA)), noise, NOISE_SCALE)
    made, made_f0 = network.decode(network.inverse_flows(drawn, mask, g), g)
    return speech_losses(made[:, 0], audio, made_f0, log_f0)


def _logged(losses: SpeechLosses) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in losses._asdict().items()}


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
