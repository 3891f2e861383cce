"""Stage ``motion-encoder``: the encoder learns alone, from landmarks and mouth states, what a code is to say.

Without it the codes stay unused: from a random start they say nothing about the mouth, so the decoder learns to do
without them, and then nothing teaches the encoder. Rare mouths are drawn as often as usual ones, and the states of the
mouth count most: held out, the lips' width is then read with a correlation of 0.99 and their tuck with 0.94; by the
recipe of 14.2, frames as they come and lower weights, with 0.63 and 0.08. Facts: specs/talker.md, 14.2 (stage 2a),
14.6.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import nn

from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_start import begin_as_copy
from bench.systems.talker.motion_model import MotionEncoder
from bench.systems.talker.training import motion_losses
from bench.systems.talker.training.motion_balance import Visemes
from bench.systems.talker.training.motion_data import Shot, altered
from bench.systems.talker.training.motion_measures import agreement
from bench.systems.talker.training.motion_options import MotionConfig, MotionOptions, config_of
from bench.systems.talker.training.motion_stage import MotionStage
from bench.train import Loss, Stage
from bench.train_request import TrainRequest

_BY_VISEME = 0.6  # of a batch's frames; the others are drawn as they come


def encoder(request: TrainRequest) -> Stage:
    """The stage ``motion-encoder``.

    Raises:
        UsageError: another configuration than ``tiny``, or clips without landmarks.
    """
    return EncoderStage(request, request.options(MotionOptions), config_of(request.config))


class Frames(NamedTuple):
    """``pictures`` (B, 3, S, S) from -1 to 1, and what is to be read in them (B, 142)."""

    pictures: torch.Tensor
    wanted: torch.Tensor


class EncoderStage(MotionStage):
    """All of the encoder but its first layer, which begins by handing on the picture and stays so."""

    name = "talker-motion-encoder"

    def __init__(self, request: TrainRequest, options: MotionOptions, config: MotionConfig) -> None:
        super().__init__(request, options, config.encoding, config.small.size)
        self.clip_norm = {"adam": config.encoding.clip_norm}
        self._visemes = Visemes(self._clips)
        generator = begin_as_copy(Generator(config.small))
        self._model = MotionEncoder(generator.enc, config.small.motion_dim)
        first = {id(parameter) for parameter in generator.enc.enc_2r.block1.parameters()}
        learning = [parameter for parameter in self._model.parameters() if id(parameter) not in first]
        self._adam = self._optimised([(learning, 1.0)])

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"encoder": self._model}

    def batch(self, step: int, rank: int, world: int) -> Frames:
        """See :meth:`Stage.batch`."""
        random = self._random(step, rank)
        rare = round(_BY_VISEME * self._batch_size)
        shots = [self._visemes.draw(random) for _ in range(rare)]
        shots += [self._shot(random) for _ in range(self._batch_size - rare)]
        seen = self._clips.seen(shots)
        wanted = self._targets.wanted(seen, self._clips, [shot.clip for shot in shots])
        return Frames(altered([seen.pictures], random)[0], wanted)

    def losses(self, batch: Frames, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        device = self._model.head.weight.device
        pictures, wanted, weights = (one.to(device) for one in (*batch, self._weights))
        codes, read = self._model(pictures)
        loss = motion_losses.reading(read, wanted, weights, codes)
        yield Loss("adam", loss, {"reading": loss.detach(), **self._measured})

    @torch.no_grad()
    def _measure(self) -> Mapping[str, float]:
        """Correlations of the mouth states that are read in held-out frames with the true ones."""
        clips, device = self._held_out, self._model.head.weight.device
        read, true = [], []
        for index in filter(clips.usable, range(len(clips))):
            seen = clips.seen([Shot(index, place) for place in range(clips.count(index))])
            read.append(self._model(seen.pictures.to(device))[1])
            true.append(seen.mouth)
        return agreement(torch.cat(read), torch.cat(true))
