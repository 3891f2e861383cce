"""``bench data prepare talker``: the latents of a data set's clips as shards, before joint training asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.prepare import Prepared, ShardOptions, prepare
from bench.systems.talker.latents import LATENTS
from bench.systems.talker.makers import latent_makers

if TYPE_CHECKING:
    from bench.train_request import TrainRequest


class PrepareOptions(ShardOptions):
    """``vae``, ``motion``: weights.safetensors of the stages vae and motion, in the place of what is shipped."""

    vae: str | None = None
    motion: str | None = None


def prepared(request: TrainRequest) -> Prepared:
    """What ``bench data prepare talker`` does: the clips that are learned from, and those to judge by.

    Raises:
        UsageError: unknown settings, networks that are not here.
    """
    options = request.options(PrepareOptions)
    makers = latent_makers(request.config, request.device, options.vae, options.motion)
    clips = [*request.clips, *request.held_out]
    return prepare(LATENTS, clips, request.folder.parent / "talker", makers, request.progress, options.shard)
