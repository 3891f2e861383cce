"""Stage ``motion-detail``: the decoder alone learns to open the mouth; what codes mean stays as it is.

Pictures are drawn from the source's maps times masks. After ``motion`` the masks of the last stages are near 1 all over
the face, where the sigmoid has no gradient, so nothing is drawn that the source's closed mouth does not show. Here the
masks begin half open, and fitted to the inside of the mouth; open mouths are drawn as often as closed ones.

Held out, 700 steps after the first ``motion`` that was shipped, whose losses knew nothing of the inside of the lips
(they do now; not tried again since): a mouth is off by 0.0217 (``motion``: 0.0232), with a dark inside and teeth, and
dlib sees 0.64 of the recording's movement of the lips, not 0.51. But landmarks are further off (LMD 26.4, not 25.3),
and mouth and loudness are less alike (0.55, not 0.57; 12 clips). So ``motion`` is what is shipped; ``--set
motion=FILE`` takes this.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bench.systems.talker.lia_decoder import Decoder, ToFlow, ToRGB, flow_of
from bench.systems.talker.lia_decoder import Stage as Names
from bench.systems.talker.lia_ops import ConvLayer
from bench.systems.talker.lia_start import part, rgb_blocks
from bench.systems.talker.motion_model import MOUTH_STATES, MotionModel
from bench.systems.talker.training import motion_losses
from bench.systems.talker.training.motion_data import MotionClips, Shot
from bench.systems.talker.training.motion_generator import DrawingStage, Pairs
from bench.systems.talker.training.motion_options import DetailOptions, Recipe, config_of
from bench.systems.talker.training.motion_parts import Origin, fingerprint, trained
from bench.systems.talker.training.motion_stage import MotionStage
from bench.train import Stage
from bench.train_request import TrainRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

_EDGES, _MOUTH, _MOUTH_EDGES, _FLOW, _INSIDE = 2.0, 12.0, 6.0, 15.0, 2.0  # weights of the losses; the pyramid's is 1
_EXAMPLES = 64  # pairs of frames, to which the masks are fitted
_INSIDE_MASK = -3.0  # what they are to begin with between the lips
_INSIDE_WEIGHT = 15.0  # of a pixel there, less 1
_MASKS = 2  # so many of the last stages learn where the inside of the mouth is
_OPENINGS = 12  # equally wide ranges of openings, each drawn as often as the others
_WIDEST = 0.995  # quantile at which the last of them begins to be open-ended
_FIRST = 0.75  # of the sources are their clip's first frame, as when a face is moved later
_MASK = 2.0  # what the masks of the last stages begin with, before the sigmoid


def stage(request: TrainRequest) -> Stage:
    """The stage ``motion-detail``.

    Raises:
        UsageError: there is no trained autoencoder, another configuration than ``tiny``, or clips without landmarks.
    """
    options, config = request.options(DetailOptions), config_of(request.config)
    model = trained(MotionModel(config.grown), Origin("motion", "motion", "motion", "motion"), options.motion)
    return DetailStage(request, options, config.detailing, model, fingerprint(model))


class DetailStage(DrawingStage):
    """Encoder, head, direction and statistics are those of ``model``, to the bit."""

    name = "talker-motion-detail"

    def __init__(
        self, request: TrainRequest, options: DetailOptions, recipe: Recipe, model: MotionModel, origin: str
    ) -> None:
        open_masks(model.generator.dec)
        super().__init__(request, options, recipe, model, origin)
        self._openings = Openings(self._clips)
        random = np.random.default_rng(request.seed)
        driving = [self._openings.draw(random) for _ in range(_EXAMPLES)]
        sources = [Shot(shot.clip, 0) for shot in driving]
        shown = self._clips.seen(driving)
        fit_masks(model, self._clips.seen(sources).pictures, shown.pictures, shown.points)
        self._average.load_state_dict(model.state_dict())

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"motion": self._average, "learning": self._model.generator.dec}

    def _learning(self, model: MotionModel) -> list[nn.Parameter]:
        learning = super()._learning(model)
        kept = {id(parameter) for parameter in model.generator.dec.direction.requires_grad_(False).parameters()}
        return [parameter for parameter in learning if id(parameter) not in kept]

    def _pair(self, random: np.random.Generator) -> tuple[Shot, Shot]:
        """A frame by its opening, and mostly its clip's first one as the source."""
        driving = self._openings.draw(random)
        first = float(random.random()) < _FIRST
        place = 0 if first else int(random.integers(self._clips.count(driving.clip)))
        return Shot(driving.clip, place), driving

    def _parts(self, batch: Pairs) -> dict[str, tuple[float, torch.Tensor]]:
        made, raw, _ = self._drawn(batch)
        flows = [flow_of(values) for values in raw[1:]]
        masks = [values[:, 2] for values in raw[-_MASKS:]]
        return {
            "pyramid": (1.0, motion_losses.pyramid(made, batch.driving)),
            "edges": (_EDGES, motion_losses.edges(made, batch.driving)),
            "mouth": (_MOUTH, motion_losses.mouth(made, batch.driving)),
            "mouth_edges": (_MOUTH_EDGES, motion_losses.mouth_edges(made, batch.driving)),
            "flow": (_FLOW, motion_losses.flow_points(flows, batch.driving_points, batch.source_points)),
            "inside": (_INSIDE, motion_losses.inside(masks, batch.driving_points)),
        }

    def finish(self) -> None:
        """The codes are the old ones, and so are their statistics."""
        MotionStage.finish(self)


class Openings:
    """Frames of ``clips`` by how far the mouth is open."""

    def __init__(self, clips: MotionClips) -> None:
        self._clips = clips
        gaps = [clips.mouths(index)[:, MOUTH_STATES.index("gap")] for index in range(len(clips))]
        shots = np.array([(clip, place) for clip, found in enumerate(gaps) for place in range(len(found))])
        every = np.concatenate(gaps)
        edges = np.linspace(float(every.min()), float(np.quantile(every, _WIDEST)), _OPENINGS + 1)[1:-1]
        range_of = np.digitize(every, edges)
        self._ranges = [shots[range_of == number] for number in np.unique(range_of)]

    def draw(self, random: np.random.Generator) -> Shot:
        """A frame of a usable clip; each range of openings has equal chances."""
        self._clips.draw(random)  # says so where no clip is usable
        while True:
            found = self._ranges[int(random.integers(len(self._ranges)))]
            clip, place = (int(number) for number in found[int(random.integers(len(found)))])
            if self._clips.usable(clip):
                return Shot(clip, place)


@torch.no_grad()
def open_masks(decoder: Decoder) -> None:
    """The masks of the last stages begin at the sigmoid of :data:`_MASK`, where a gradient moves them; what is made of
    the weaker maps is as strong as before.

    Raw masks are sums over the stages, and so are their biases. A map enters a stage ``gain`` times as strong. What is
    added to it is made weaker, too; within blocks, before the picture and before the next stage that is taken back.
    """
    was, now, before = 0.0, 0.0, 1.0
    for number, names in enumerate(decoder.stages):
        flow, gain = part(ToFlow, decoder, names.to_flow), 1.0
        was += float(flow.bias[0, 2])
        if number >= len(decoder.stages) - _MASKS and was > _MASK:
            gain = (1.0 + math.exp(-was)) / (1.0 + math.exp(-_MASK))
            flow.bias[0, 2] = _MASK - now
        now += float(flow.bias[0, 2])
        _weaken(decoder, names, gain, before)
        before = gain


def _weaken(decoder: Decoder, names: Names, gain: float, before: float) -> None:
    """For maps that are ``gain`` times as strong as they were, those of the stage before ``before`` times."""
    if not names.first:
        _scale(part(ConvLayer, decoder, names.enlarge), gain / before, gain)
    for block in rgb_blocks(decoder, names):
        _scale(block.conv1, 1.0 / gain, 1.0)
        _scale(block.conv2, gain, gain)
    _scale(part(ToRGB, decoder, names.to_rgb).conv, 1.0 / gain, 1.0)


def _scale(layer: ConvLayer, weight: float, bias: float) -> None:
    layer.conv.weight.mul_(weight)
    layer.get_parameter(f"{len(layer) - 1}.bias").mul_(bias)


@torch.no_grad()
def fit_masks(model: MotionModel, sources: torch.Tensor, driving: torch.Tensor, points: torch.Tensor) -> None:
    """The masks of the last stages begin as what tells best, in the maps that they are made from, the inside of the
    mouth from the rest: by least squares, since those maps are faint and small steps would take thousands.

    Pictures (B, 3, S, S), landmarks of ``driving`` (B, 68, 2).
    """
    generator = model.generator
    z, maps = generator.enc.enc_2r(sources)
    style = generator.styles(z, generator.get_alpha(driving))
    for place, names in [*enumerate(generator.dec.stages)][-_MASKS:]:
        flow = part(ToFlow, generator.dec, names.to_flow)
        seen: list[torch.Tensor] = []
        hook = flow.conv.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        _, raw = generator.dec.with_flows(style, maps)
        hook.remove()
        x = seen[0] * flow.conv.modulation(style)[:, :, None, None] * flow.conv.scale
        inside = motion_losses.between_lips(points, x.shape[-1]).to(x.device)
        wanted = _MASK + (_INSIDE_MASK - _MASK) * inside
        if not names.first:
            wanted = wanted - flow.up(raw[place - 1])[:, 2]
        rows = torch.cat([x, torch.ones_like(x[:, :1])], 1).movedim(1, -1).flatten(0, 2).double()
        weights = (1.0 + _INSIDE_WEIGHT * inside).flatten().double()[:, None]
        square = rows.T @ (rows * weights)
        found = torch.linalg.solve(square, rows.T @ (wanted.flatten().double()[:, None] * weights))[:, 0].float()
        flow.conv.weight[0, 2, :, 0, 0] = found[:-1]
        flow.bias[0, 2] = found[-1]
