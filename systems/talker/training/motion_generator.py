"""Stage ``motion64``: the autoencoder at its small size, from an encoder that knows the mouth already.

One frame of a clip is redrawn as another one of the same clip. Other than in specs/talker.md, 14.2 (stage 2b), the
decoder learns alone: drawing teaches the encoder to forget small things, such as a tucked lip. Half of the driving
frames are drawn by viseme; nothing of the source is to be shown between the lips; and what the encoder reads of the
mouth in the made picture is to be what it reads in the true one. Held out at 64 px, 824 steps: a mouth is off by
0.0181, by the recipe of 14.2 by 0.0230. What is kept and shipped is an average of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
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
from bench.systems.talker.training.motion_balance import Visemes
from bench.systems.talker.training.motion_data import Shot, altered
from bench.systems.talker.training.motion_measures import redrawn, trials
from bench.systems.talker.training.motion_options import MotionOptions, Recipe, SmallOptions, config_of
from bench.systems.talker.training.motion_parts import Origin, fingerprint, trained
from bench.systems.talker.training.motion_stage import MotionStage
from bench.train import Loss, Stage
from bench.train_request import TrainRequest

_EDGES, _MOUTH, _MOUTH_EDGES, _FLOW, _INSIDE, _SHAPE = 2.0, 12.0, 6.0, 15.0, 2.0, 0.2  # the pyramid's weight is 1
_MASKS = 2  # so many of the last stages learn where the inside of the mouth is
_BY_VISEME = 0.5  # of the driving frames; the others are drawn as they come
_FIRST = 0.5  # of the sources are their clip's first frame, as when a face is moved later
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
    """Frames of a clip, ``source`` and ``driving`` (B, 3, S, S) from -1 to 1; their landmarks (B, 68, 2)."""

    source: torch.Tensor
    driving: torch.Tensor
    source_points: torch.Tensor
    driving_points: torch.Tensor


class Drawn(NamedTuple):
    """``made`` (B, 3, S, S), the raw flows and masks of all stages (B, 3, N, N), and the ``driving`` codes (B, C)."""

    made: torch.Tensor
    raw: list[torch.Tensor]
    driving: torch.Tensor


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
        self._adam = self._optimised([(self._learning(model), 1.0)])
        self._trials = trials(self._held_out, request.seed)
        self._visemes = Visemes(self._clips)

    def _learning(self, model: MotionModel) -> list[nn.Parameter]:
        """What is trained: the decoder, to draw what the codes say. What they mean stays as it is."""
        model.requires_grad_(False)
        return list(model.generator.dec.requires_grad_(True).parameters())

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"motion": self._average, "learning": self._model}

    def batch(self, step: int, rank: int, world: int) -> Pairs:
        """See :meth:`Stage.batch`."""
        random = self._random(step, rank)
        sources, driving = zip(*(self._pair(random) for _ in range(self._batch_size)), strict=True)
        one, other = self._clips.seen(sources), self._clips.seen(driving)
        pictures = altered([one.pictures, other.pictures], random)
        return Pairs(pictures[0], pictures[1], one.points, other.points)

    def _pair(self, random: np.random.Generator) -> tuple[Shot, Shot]:
        """Two frames of a clip: often its first one to another, and often a rare mouth."""
        rare, first = random.random(2) < (_BY_VISEME, _FIRST)
        driving = self._visemes.draw(random) if rare else self._shot(random)
        place = 0 if first else int(random.integers(self._clips.count(driving.clip)))
        return Shot(driving.clip, place), driving

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
        drawn = self._drawn(batch)
        made, flows = drawn.made, [flow_of(values) for values in drawn.raw[1:]]
        masks = [values[:, 2] for values in drawn.raw[-_MASKS:]]
        head, again = self._model.head, self._model.generator.get_alpha(made)
        return {
            "pyramid": (1.0, motion_losses.pyramid(made, batch.driving)),
            "edges": (_EDGES, motion_losses.edges(made, batch.driving)),
            "mouth": (_MOUTH, motion_losses.mouth(made, batch.driving)),
            "mouth_edges": (_MOUTH_EDGES, motion_losses.mouth_edges(made, batch.driving)),
            "flow": (_FLOW, motion_losses.flow_points(flows, batch.driving_points, batch.source_points)),
            "inside": (_INSIDE, motion_losses.inside(masks, batch.driving_points)),
            "shape": (_SHAPE, motion_losses.shape(head(again), head(drawn.driving))),
        }

    def _drawn(self, batch: Pairs) -> Drawn:
        """The source as the driving picture has it; the encoder is not trained."""
        network, count = self._model.generator, len(batch.source)
        with torch.no_grad():
            z, maps = network.enc.enc_2r(torch.cat([batch.source, batch.driving]))
            codes = network.enc.enc_r2t(z[count:])
        made, raw = network.dec.with_flows(network.styles(z[:count], codes), [level[:count] for level in maps])
        return Drawn(made, raw, codes)

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
