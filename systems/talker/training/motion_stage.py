"""What the motion stages share: clips, targets, learning rates and evaluations by step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bench.api import Clip, Unscorable
from bench.systems.talker.training.motion_data import MotionClips, Shot
from bench.systems.talker.training.motion_options import MotionOptions, Recipe
from bench.systems.talker.training.motion_targets import Targets, target_weights
from bench.train import Stage, step_seed
from bench.train_rates import cosine
from bench.train_request import TrainRequest


class MotionStage(Stage):
    """Frames of ``size`` px by step, and ``_measure`` on held-out clips now and then (training clips without any)."""

    _adam: torch.optim.Optimizer

    def __init__(self, request: TrainRequest, options: MotionOptions, recipe: Recipe, size: int) -> None:
        self._recipe, self._seed = recipe, request.seed
        self._batch_size = options.batch_size or recipe.batch
        self._rate, self._length = options.rate or recipe.rate, options.length or recipe.length
        self._every = options.eval_every
        self._clips = self._held_out = _clips(request, request.clips, size)
        if request.held_out:
            self._held_out = _clips(request, request.held_out, size)
        self._targets, self._weights = Targets(self._clips), target_weights()
        self._told: dict[str, Any] = {
            **request.identity(),
            **options.model_dump(mode="json", exclude={"encoder", "small", "motion"}),
            "length": self._length,
        }
        self._measured: dict[str, float] = {}
        self._at_end: Mapping[str, float] = {}
        torch.manual_seed(request.seed)  # of the fresh weights

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return self._told

    def facts(self) -> Mapping[str, str]:
        """What the finished networks measure on held-out clips."""
        return {"held_out": ", ".join(f"{name} {value:.4f}" for name, value in self._at_end.items())}

    def finish(self) -> None:
        """See :meth:`Stage.finish`."""
        self._at_end = self._measure()

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"adam": self._adam}

    def begin(self, step: int) -> None:
        """The learning rates of the step; evaluates now and then: what it finds is in the curve's next line."""
        factor = cosine(step, self._length, self._recipe.warm_up, self._recipe.floor)
        for group in self._adam.param_groups:
            group["lr"] = factor * group["full_rate"]
        self._measured = {}
        if step > 0 and step % self._every == 0:
            self._measured = {f"eval_{name}": value for name, value in self._measure().items()}

    @abstractmethod
    def _measure(self) -> Mapping[str, float]:
        """On held-out clips."""

    def _optimised(self, groups: Sequence[tuple[Sequence[torch.nn.Parameter], float]]) -> torch.optim.Optimizer:
        """Adam over groups of parameters, each with its part of the stage's learning rate."""
        made = [{"params": list(parameters), "full_rate": self._rate * part} for parameters, part in groups]
        return torch.optim.Adam(made, self._rate, self._recipe.betas)

    def _random(self, step: int, rank: int) -> np.random.Generator:
        return np.random.default_rng(step_seed(self._seed, step, rank))

    def _shot(self, random: np.random.Generator) -> Shot:
        clip = self._clips.draw(random)
        return Shot(clip, int(random.integers(self._clips.count(clip))))


def _clips(request: TrainRequest, clips: Sequence[Clip], size: int) -> MotionClips:
    def left_out(clip: Clip, error: Unscorable) -> None:
        request.progress.say(f"left out: {clip.id}: {error}")

    return MotionClips(clips, size, request.folder / "motion-faces", left_out)
