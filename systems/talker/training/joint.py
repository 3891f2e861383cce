"""Joint training of backbone, patch encoders, heads and stop predictor on kept latents (stage ``joint``).

The full configuration has the official settings (talker.md 9.4); the tiny one the recipe of 14.6.2, with a part of its
clips whole. The weights that the tiny one ships are an average over steps, in its state of the lowest held-out loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Clip, DataError, UsageError
from bench.embedded import EMBEDDED
from bench.systems.talker import motion_stats, tiny, weight_files
from bench.systems.talker.latents import LATENTS, Latents
from bench.systems.talker.makers import latent_makers
from bench.systems.talker.motion_model import MotionModel
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.parts import text_table
from bench.systems.talker.text import TextTable
from bench.systems.talker.training.joint_average import Average
from bench.systems.talker.training.joint_data import JointBatch, JointClips, JointItem, collated, with_other_texts
from bench.systems.talker.training.joint_losses import Taught, weighted
from bench.systems.talker.training.joint_options import RECIPES, JointOptions, Recipe
from bench.systems.talker.training.joint_start import started
from bench.systems.talker.training.packing import Packing
from bench.train import Loss, Stage, step_seed
from bench.train_rates import cosine, set_rate
from bench.train_request import TrainRequest
from bench.train_sharding import Sharded
from bench.trained import filled

if TYPE_CHECKING:
    from bench.shards import Makers
    from bench.systems.talker.speech_llm import SpeechLLM

_ADAM: Mapping[str, Any] = {"betas": (0.9, 0.95), "weight_decay": 0.01, "fused": True}
_CLIP_NORM = 1.0
_HEADS = ("speech", "motion")
_JUDGED_BY = ("", "_by_mouth", "_by_sound")  # what the average is kept by
_JUDGED = -1  # stands for the rank in the seeds of evaluation batches, which all processes share


@dataclass(frozen=True, slots=True)
class JointData:
    """What is learned from and judged by (None: nothing), and what names the networks that made the latents.

    ``driven``: the held-out clips with the mouth given, and with the sound, by name; none where nothing runs ahead.
    """

    clips: JointClips
    held_out: JointClips | None
    latents: str
    driven: Mapping[str, JointClips]


def stage(request: TrainRequest) -> Stage:
    """The stage ``joint``.

    Raises:
        UsageError: weights that the latents need, or that training begins with, are not here.
    """
    options = request.options(JointOptions)
    recipe = RECIPES[request.config].changed(options)
    makers = latent_makers(request.config, request.device, vae=options.vae, motion=options.motion)
    data = joint_data(request, recipe, makers, stats_of(request.config, options.motion), table_of(request.config))
    model, start = started(recipe, request.config, options.start, request.seed)
    return JointStage(request, options, model, data, start)


def joint_data(
    request: TrainRequest, recipe: Recipe, makers: Makers[Latents], stats: MotionStats, table: TextTable
) -> JointData:
    """The clips of a request; held-out ones always with text and motion."""
    load = partial(LATENTS.of, folder=request.folder.parent / "talker", makers=makers)

    def made(clips: Sequence[Clip], rules: Recipe) -> JointClips:
        return JointClips(clips, load, table, stats, rules, request.progress)

    judged = replace(recipe, text_drop=0.0, tts_share=0.0)
    held_out = made(request.held_out, judged) if request.held_out else None
    rules = {"mouth": replace(judged, text_drop=1.0, sound_share=0.0, whole_share=0.0)}
    rules["sound"] = replace(judged, text_drop=1.0, sound_share=1.0)
    driven = {name: made(request.held_out, rule) for name, rule in rules.items()} if held_out and recipe.ahead else {}
    return JointData(made(request.clips, recipe), held_out, makers.identity, driven)


def stats_of(config: str, motion: str | None) -> MotionStats:
    """Mean and deviation of motion codes: the published ones; tiny: of a file of the stage ``motion``, or shipped."""
    if config == "full":
        return motion_stats.official()
    if motion is not None:
        return filled(MotionStats.blank(tiny.LIA.motion_dim), Path(motion), "motion.motion_stats", "motion")
    return EMBEDDED.fill(MotionModel(tiny.LIA), weight_files.TINY_MOTION).motion_stats


def table_of(config: str) -> TextTable:
    """How text becomes ids.

    Raises:
        UsageError: the official tokenizer is not here.
    """
    try:
        return text_table(config)
    except DataError as error:
        raise UsageError(f"the training needs the tokenizer: {error.message}", error.hint) from error


class JointStage(Stage):
    """All losses of :mod:`.joint_losses`; the curve has them without their weights."""

    name = "talker-joint"
    clip_norm: Mapping[str, float] = {"joint": _CLIP_NORM}

    def __init__(
        self, request: TrainRequest, options: JointOptions, model: SpeechLLM, data: JointData, start: str
    ) -> None:
        self._recipe = RECIPES[request.config].changed(options)
        self._options, self._seed, self._data = options, request.seed, data
        self._told = {
            **request.identity(),
            **options.model_dump(mode="json", exclude={"vae", "motion"}),
            **self._recipe.described(),
            "start": start,
            "latents": data.latents,
        }
        lengths = data.clips.lengths()
        self._packing = Packing(lengths, self._recipe.batch_size, options.positions, options.pool, request.seed)
        recompute_activations(model, self._recipe.recompute)
        self._taught = Taught(model, self._recipe)  # its read-outs draw on from the seed of the model
        decay = self._recipe.average
        self._average = Average(self._taught, decay) if decay is not None else None
        learning = [parameter for parameter in self._taught.parameters() if parameter.requires_grad]
        self._adam = torch.optim.AdamW(learning, self._recipe.rate, **_ADAM)
        self._measured: dict[str, float] = {}

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`; ``joint`` is what is shipped."""
        if self._average is not None:
            return self._average.networks()
        own: dict[str, nn.Module] = {"joint": self._taught.joint}
        return own if self._taught.read_outs is None else {**own, "read_outs": self._taught.read_outs}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"joint": self._adam}

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return self._told

    def sharded(self) -> Sequence[Sharded]:
        """See :meth:`Stage.sharded`: what learns, and its average and what is kept of that where there are such."""
        copies = [self._taught] if self._average is None else [self._taught, self._average.taught]
        parts = [Sharded(taught, [*taught.joint.llm.model.layers], ("losses",)) for taught in copies]
        if self._average is not None:
            parts.append(Sharded(self._average.kept, [*self._average.kept.llm.model.layers]))
        return parts

    def batch(self, step: int, rank: int, world: int) -> list[JointBatch]:
        """The batches of a step, one after the other for each process."""
        random, count = np.random.default_rng(step_seed(self._seed, step, rank)), self._options.accumulate
        first = (step * world + rank) * count
        return [self._data.clips.batch(self._packing.batch(first + more), random) for more in range(count)]

    def begin(self, step: int) -> None:
        """Sets the learning rate; takes the step before into the average, and now and then measures."""
        recipe = self._recipe
        set_rate(self._adam, recipe.rate * cosine(step, recipe.schedule, recipe.warm_up, recipe.floor))
        self._measured = {}
        if step == 0:
            return
        if self._average is not None:
            self._average.update()
        if step % self._options.eval_every == 0 and self._data.held_out is not None:
            self._measured = self._judged(self._data.held_out)

    def losses(self, batch: list[JointBatch], step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        told: list[dict[str, Tensor]] = []
        for some in batch:
            found = self._taught.losses(some.to(self._device()), self._recipe, generator)
            told.append({name: value.detach() for name, value in found.items()})
            means = {name: _mean([each[name] for each in told]) for name in told[0]}
            share = weighted(found, self._recipe) / len(batch)
            yield Loss("joint", share, {**means, **self._measured}, partial=len(told) < len(batch))

    def finish(self) -> None:
        """The last step's average is judged too; without held-out clips it is what is kept."""
        if self._average is None:
            return
        self._average.update()
        if self._data.held_out is not None:
            self._judged(self._data.held_out)
        if self._data.held_out is None or self._options.keep == "last":
            self._average.keep()

    def _device(self) -> torch.device:
        return self._taught.joint.device

    @torch.no_grad()
    def _judged(self, clips: JointClips) -> dict[str, float]:
        """Mean losses of fixed batches with fixed draws, also with the texts of other clips, and where one stream is
        given; offers the average. What is given has a loss of 0."""
        taught = self._taught if self._average is None else self._average.taught
        rules = replace(self._recipe, speech_share=1.0, motion_share=1.0, repeats=1)
        sums: dict[str, float] = {}
        taught.eval()
        for number in range(self._options.eval_batches):
            seed = step_seed(self._seed, number, _JUDGED)
            items = self._held_out_items(clips, number, np.random.default_rng(seed))
            kinds = {"": items, "_other_text": with_other_texts(items)}
            for name, driven in self._data.driven.items():
                kinds[f"_by_{name}"] = self._held_out_items(driven, number, np.random.default_rng(seed))
            for suffix, some in kinds.items():
                generator = torch.Generator(self._device()).manual_seed(seed)
                found = taught.losses(collated(some, rules.sizes).to(self._device()), rules, generator)
                for name, value in found.items():
                    sums[name + suffix] = sums.get(name + suffix, 0.0) + float(value)
        taught.train()
        means = {f"eval_{name}": value / self._options.eval_batches for name, value in sums.items()}
        if self._average is not None:
            speech, motion = (sum(means.get(f"eval_{kind}{end}", 0.0) for end in _JUDGED_BY) for kind in _HEADS)
            self._average.offer(speech + self._recipe.motion_weight * motion)
        return means

    def _held_out_items(self, clips: JointClips, number: int, random: np.random.Generator) -> list[JointItem]:
        """Batch ``number`` of held-out clips in their order."""
        size = min(self._recipe.batch_size, len(clips))
        return [clips.item((number * size + place) % len(clips), random) for place in range(size)]


def recompute_activations(model: SpeechLLM, wanted: bool) -> None:
    """Keep the inputs of blocks alone, and compute the rest again on the way back."""
    model.llm.model.checkpointing = wanted
    heads = (model.speech_cfm.estimator.decoder, model.motion_cfm.estimator.decoder)
    for stack in (model.speech_patch_encoder, model.motion_patch_encoder, *heads):
        stack.recompute = wanted


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()
