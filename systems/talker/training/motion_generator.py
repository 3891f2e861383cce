"""Stage ``motion64``: the whole autoencoder at its small size, from an encoder that knows the mouth already.

One frame of a clip is redrawn as another one of the same clip. What is kept and shipped is an average of the weights.
Facts: specs/talker.md, 14.2 (stage 2b), 14.6.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bench.systems.talker.lia_decoder import flow_of
from bench.systems.talker.lia_encoder import Encoder
from bench.systems.talker.lia_start import begin_as_copy
from bench.systems.talker.motion_model import MotionEncoder, MotionModel
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.training import motion_losses
from bench.systems.talker.training.motion_data import Shot, altered
from bench.systems.talker.training.motion_measures import redrawn, trials
from bench.systems.talker.training.motion_options import MotionOptions, Recipe, SmallOptions, config_of
from bench.systems.talker.training.motion_parts import Origin, fingerprint, trained
from bench.systems.talker.training.motion_stage import MotionStage
from bench.train import Loss, Stage
from bench.train_request import TrainRequest

_EDGES, _MOUTH, _READING, _FLOW = 2.0, 4.0, 1.0, 15.0  # weights of the losses; the pyramid's is 1
_AVERAGE = 0.99  # decay of the average, reached gradually
_AT_ONCE = 32


def small(request: TrainRequest) -> Stage:
    """The stage ``motion64``.

    Raises:
        UsageError: there is no trained encoder, another configuration than ``tiny``, or clips without landmarks.
    """
    options, config = request.options(SmallOptions), config_of(request.config)
    sizes = config.small
    knows = MotionEncoder(Encoder(sizes), sizes.motion_dim)
    knows = trained(knows, Origin("encoder", "motion_encoder", "motion-encoder", "encoder"), options.encoder)
    torch.manual_seed(request.seed)  # of the decoder's fresh weights
    model = MotionModel(sizes)
    begin_as_copy(model.generator)
    model.generator.enc.load_state_dict(knows.enc.state_dict())
    model.head.load_state_dict(knows.head.state_dict())
    return SmallStage(request, options, config.drawing, model, fingerprint(knows))


class Pairs(NamedTuple):
    """Frames of a clip, ``source`` and ``driving`` (B, 3, S, S) from -1 to 1; their landmarks (B, 68, 2); what is to be
    read in the driving one (B, 140)."""

    source: torch.Tensor
    driving: torch.Tensor
    source_points: torch.Tensor
    driving_points: torch.Tensor
    wanted: torch.Tensor


class DrawingStage(MotionStage):
    """Goes on from ``model``, which ``origin`` names; the average of all weights is the network ``motion``."""

    def __init__(
        self, request: TrainRequest, options: MotionOptions, recipe: Recipe, model: MotionModel, origin: str
    ) -> None:
        super().__init__(request, options, recipe, model.generator.sizes.size)
        self._told["origin"] = origin
        self.clip_norm = {"adam": recipe.clip_norm}
        self._model = model.requires_grad_(True)
        self._average = deepcopy(model).requires_grad_(False)
        self._adam = self._optimised(self._learning(model))
        self._trials = trials(self._held_out, request.seed)

    def _learning(self, model: MotionModel) -> list[tuple[list[nn.Parameter], float]]:
        """What is trained, each group with its part of the learning rate."""
        known = chain(model.generator.enc.parameters(), model.head.parameters())
        return [(list(model.generator.dec.parameters()), 1.0), (list(known), self._recipe.encoder_rate)]

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"motion": self._average, "learning": self._model}

    def batch(self, step: int, rank: int, world: int) -> Pairs:
        """See :meth:`Stage.batch`."""
        random = self._random(step, rank)
        sources, driving = zip(*(self._pair(random) for _ in range(self._batch_size)), strict=True)
        one, other = self._clips.seen(sources), self._clips.seen(driving)
        wanted = self._targets.wanted(other, self._clips, [shot.clip for shot in driving])
        pictures = altered([one.pictures, other.pictures], random)
        return Pairs(pictures[0], pictures[1], one.points, other.points, wanted)

    def _pair(self, random: np.random.Generator) -> tuple[Shot, Shot]:
        """Two frames of a clip, each with equal chances."""
        clip = self._clips.draw(random)
        places = random.choice(self._clips.count(clip), 2, replace=False)
        return Shot(clip, int(places[0])), Shot(clip, int(places[1]))

    def losses(self, batch: Pairs, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        device = self._model.head.weight.device
        batch = Pairs(*(part.to(device) for part in batch))
        parts = self._parts(batch)
        loss = sum((weight * value for weight, value in parts.values()), torch.zeros((), device=device))
        told = {name: value.detach() for name, (_, value) in parts.items()}
        yield Loss("adam", loss, {"loss": loss.detach(), **told, **self._measured})
        self._follow(min(_AVERAGE, (step + 1) / (step + 10)))

    def _parts(self, batch: Pairs) -> dict[str, tuple[float, torch.Tensor]]:
        """Each loss and its weight."""
        network, count = self._model.generator, len(batch.source)
        z, maps = network.enc.enc_2r(torch.cat([batch.source, batch.driving]))
        codes = network.enc.enc_r2t(z[count:])
        made, raw = network.dec.with_flows(network.styles(z[:count], codes), [level[:count] for level in maps])
        flows = [flow_of(values) for values in raw[1:]]
        read = motion_losses.reading(self._model.head(codes), batch.wanted, self._weights.to(codes.device), codes)
        return {
            "pyramid": (1.0, motion_losses.pyramid(made, batch.driving)),
            "edges": (_EDGES, motion_losses.edges(made, batch.driving)),
            "mouth": (_MOUTH, motion_losses.mouth(made, batch.driving)),
            "reading": (_READING, read),
            "flow": (_FLOW, motion_losses.flow_points(flows, batch.driving_points, batch.source_points)),
        }

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """The average takes a step towards the weights."""
        for mean, value in zip(self._average.parameters(), self._model.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)

    def _measure(self) -> Mapping[str, float]:
        """See :func:`.motion_measures.redrawn`."""
        return redrawn(self._average, self._held_out, self._trials)

    def finish(self) -> None:
        """The statistics of the codes of the training clips' frames."""
        super().finish()
        device = self._average.motion_stats.mean.device
        codes: list[torch.Tensor] = []
        for index in filter(self._clips.usable, range(len(self._clips))):
            pictures = self._clips.pictures(index).to(device)
            codes += [self._average.generator.get_alpha(part) for part in torch.split(pictures, _AT_ONCE)]
        found = MotionStats.measured(torch.cat(codes).cpu().numpy()).to(device)
        self._average.motion_stats.load_state_dict(found.state_dict())


class SmallStage(DrawingStage):
    """At the small size."""

    name = "talker-motion64"
