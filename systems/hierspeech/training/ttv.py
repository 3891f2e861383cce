"""Training of text-to-vec: the tiny one from nothing (specs/hierspeech.md, T.4), the full one from the official file.

The full configuration has the settings of ``sh-lee-prml/HierSpeechpp: train_ttv_v1.py`` (4.5): the style comes from
the clip itself, no warm-up, no bound of gradients. In the tiny one the style comes from another utterance of the
speaker, so that it cannot carry what is said, and the duration predictor, whose loss reaches nothing else, learns at
every third step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bench.api import DataError, UsageError
from bench.networks import OFFICIAL
from bench.systems.hierspeech import tiny, weight_files
from bench.systems.hierspeech.training.speech_clips import SpeechClip, SpeechClips, speech_clips
from bench.systems.hierspeech.ttv import TextToVec, TTVBatch, TTVConfig, TTVNoise
from bench.systems.hierspeech.ttv_losses import TTVLosses, TTVLossWeights, ttv_losses
from bench.train import Loss, Stage, step_seed
from bench.train_rates import flat_then_linear, set_rate
from bench.train_request import TrainRequest

_WEIGHTS = TTVLossWeights()
_ADAM: Mapping[str, Any] = {"betas": (0.8, 0.99), "eps": 1e-9, "weight_decay": 0.01}
_DECAY = 0.999  # of the learning rate, per epoch
_WARM_UP, _FLOOR = 50, 0.05
_CLIP_NORM = 10.0
_JUDGED = -1  # stands for the rank in the seeds of evaluation batches, which all processes share


class TtvOptions(BaseModel):
    """``features``: a file of the stage ``features`` (tiny); without one the shipped features are taken. ``schedule``:
    the steps over which the learning rate rises and falls (tiny). ``None``: what the configuration has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: str | None = None
    batch_size: int | None = Field(default=None, ge=1, le=1024, description="clips per step and process")
    rate: float | None = Field(default=None, gt=0, le=1, description="greatest learning rate of AdamW")
    schedule: int = Field(default=1500, ge=2)
    eval_every: int = Field(default=100, ge=1, description="steps between two evaluations")
    eval_batches: int = Field(default=3, ge=1, description="batches of an evaluation")


@dataclass(frozen=True, slots=True)
class _Recipe:
    """``own_style``: from the clip itself; ``durations_every``: at which steps the duration predictor learns."""

    network: TTVConfig
    batch_size: int
    rate: float
    own_style: bool
    durations_every: int


RECIPES = {
    "full": _Recipe(TTVConfig(), 32, 2e-4, own_style=True, durations_every=1),
    "tiny": _Recipe(tiny.TTV, 8, 1e-3, own_style=False, durations_every=3),
}


def stage(request: TrainRequest) -> Stage:
    """The stage ``ttv``.

    Raises:
        UsageError: there are no features, or in full size no official weights to go on from.
        DataError: no clip is left.
    """
    options = request.options(TtvOptions)
    clips = speech_clips(request, options.features, with_text=True)
    held_out = speech_clips(request, options.features, held_out=True, with_text=True)
    torch.manual_seed(request.seed)  # of the fresh weights
    network = TextToVec(RECIPES[request.config].network)
    if request.config == "full":
        network = _official(network)
    return TtvStage(request, options, network, clips, held_out)


def collated(clips: Sequence[SpeechClip], styles: Sequence[SpeechClip]) -> TTVBatch:
    """A batch of ``clips``, each in the voice of the clip beside it, padded with zeros to the longest."""
    return TTVBatch(
        tokens=_padded([clip.tokens for clip in clips]),
        token_lengths=_lengths([clip.tokens for clip in clips]),
        w2v=_padded([clip.features.T for clip in clips]).transpose(1, 2),
        lengths=torch.tensor([clip.frames for clip in clips]),
        mel=_padded([clip.mel.T for clip in styles]).transpose(1, 2),
        mel_lengths=torch.tensor([clip.mel.shape[1] for clip in styles]),
        f0=_padded([clip.f0 for clip in clips])[:, None],
        phonemes=_padded([clip.ids for clip in clips]),
        phoneme_lengths=_lengths([clip.ids for clip in clips]),
    )


class TtvStage(Stage):
    """All losses of :mod:`bench.systems.hierspeech.ttv_losses`; the curve has them without their weights."""

    name = "hierspeech-ttv"

    def __init__(
        self, request: TrainRequest, options: TtvOptions, network: TextToVec, clips: SpeechClips, held_out: SpeechClips
    ) -> None:
        recipe = RECIPES[request.config]
        self._request, self._options = request, options
        self._recipe = replace(
            recipe, batch_size=options.batch_size or recipe.batch_size, rate=options.rate or recipe.rate
        )
        self.clip_norm = {} if request.config == "full" else {"ttv": _CLIP_NORM}
        self._clips, self._held_out = clips, held_out
        self._ttv = network
        self._adam = torch.optim.AdamW(network.parameters(), self._recipe.rate, **_ADAM)
        self._measured: dict[str, float] = {}

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"ttv": self._ttv}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"ttv": self._adam}

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        chosen = self._options.model_dump(mode="json", exclude={"features"})
        return {**self._request.identity(), **chosen, **self._clips.describe()}

    def batch(self, step: int, rank: int, world: int) -> TTVBatch:
        """See :meth:`Stage.batch`."""
        random = np.random.default_rng(step_seed(self._request.seed, step, rank))
        return self._drawn(self._clips, random)

    def begin(self, step: int) -> None:
        """Sets the learning rate; now and then measures on the held-out clips."""
        set_rate(self._adam, self._recipe.rate * self._factor(step))
        self._measured = {}
        if step > 0 and step % self._options.eval_every == 0 and len(self._held_out):
            self._measured = self._evaluated()

    def losses(self, batch: TTVBatch, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        there = self._there(batch)
        noise = TTVNoise.draw(self._recipe.network, there, generator)
        with_durations = step % self._recipe.durations_every == 0
        losses = ttv_losses(self._ttv(there, noise, with_durations), there, _WEIGHTS)
        told = _unweighted(losses)
        if not with_durations:
            del told["durations"]
        yield Loss("ttv", losses.total, {**told, **self._measured})

    def _factor(self, step: int) -> float:
        if self._request.config == "full":
            return float(_DECAY ** (step * self._recipe.batch_size * _processes() // len(self._clips)))
        return flat_then_linear(step, self._options.schedule, _WARM_UP, _FLOOR)

    def _drawn(self, clips: SpeechClips, random: np.random.Generator) -> TTVBatch:
        chosen = [clips.draw(random) for _ in range(self._recipe.batch_size)]
        styles = chosen if self._recipe.own_style else [clips.partner(index, random) for index in chosen]
        return collated([clips[index] for index in chosen], [clips[index] for index in styles])

    def _there(self, batch: TTVBatch) -> TTVBatch:
        device = next(self._ttv.parameters()).device
        return TTVBatch(*(getattr(batch, name).to(device) for name in TTVBatch.__slots__))

    @torch.no_grad()
    def _evaluated(self) -> dict[str, float]:
        """Mean losses of fixed batches of held-out clips, with fixed noise, the network in evaluation mode."""
        self._ttv.eval()
        sums: dict[str, float] = {}
        for number in range(self._options.eval_batches):
            seed = step_seed(self._request.seed, number, _JUDGED)
            batch = self._there(self._drawn(self._held_out, np.random.default_rng(seed)))
            noise = TTVNoise.draw(self._recipe.network, batch, torch.Generator().manual_seed(seed))
            for name, value in _unweighted(ttv_losses(self._ttv(batch, noise), batch, _WEIGHTS)).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        self._ttv.train()
        return {f"eval_{name}": value / self._options.eval_batches for name, value in sums.items()}


def _unweighted(losses: TTVLosses) -> dict[str, Tensor]:
    return {
        "w2v": losses.w2v.detach() / _WEIGHTS.w2v,
        "kl": losses.kl.detach() / _WEIGHTS.kl,
        "f0": losses.f0.detach() / _WEIGHTS.f0,
        "durations": losses.durations.detach(),
        "ctc": losses.ctc.detach(),
    }


def _padded(items: Sequence[Tensor]) -> Tensor:
    """Items (L_i, ...) as (B, max L, ...), zeros behind."""
    return pad_sequence(list(items), batch_first=True)


def _lengths(items: Sequence[Tensor]) -> Tensor:
    return torch.tensor([len(item) for item in items])


def _processes() -> int:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1


def _official(network: TextToVec) -> TextToVec:
    try:
        filled = OFFICIAL.fill(network, weight_files.TTV)
    except DataError as error:
        raise UsageError(f"training goes on from the official weights: {error.message}", error.hint) from error
    return filled.train().requires_grad_(True)
