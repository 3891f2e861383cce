"""``bench data prepare hicodit``: what training reads of a data set's clips as shards, before it asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.prepare import Prepared, ShardOptions, prepare
from bench.systems.hicodit.training.makers import record_makers
from bench.systems.hicodit.training.records import RECORDS

if TYPE_CHECKING:
    from bench.train_request import TrainRequest


class PrepareOptions(ShardOptions):
    """``codec``: weights.safetensors of the stage codec, in the place of what is shipped."""

    codec: str | None = None


def prepared(request: TrainRequest) -> Prepared:
    """What ``bench data prepare hicodit`` does: the clips that are learned from, and those to judge by.

    Raises:
        UsageError: unknown settings, networks that are not here.
    """
    options = request.options(PrepareOptions)
    makers = record_makers(request.config, request.device, options.codec)
    clips = [*request.clips, *request.held_out]
    return prepare(RECORDS, clips, request.folder.parent / "hicodit", makers, request.progress, options.shard)
