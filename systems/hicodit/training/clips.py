"""Clips as the stage ``dit`` draws them: the order of passes, crops, and the vector of each clip's speaker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bench.progress import Progress
from bench.systems.hicodit.identity import Vector, mean_direction
from bench.systems.hicodit.joined import VoiceScale
from bench.systems.hicodit.training.data import PER_FRAME, Batch, Item, Order, Records, collated, crop, item
from bench.systems.hicodit.training.options import Recipe
from bench.train import step_seed

#: The vector of a clip, (V,), by its place.
VoiceOf = Callable[[int], Tensor]


class Drawn:
    """Batches of ``records``; ``voice_of`` gives what is told of a clip's speaker."""

    def __init__(self, records: Records, voice_of: VoiceOf, recipe: Recipe, seed: int) -> None:
        self.records, self._voice_of, self._recipe, self._seed = records, voice_of, recipe, seed
        self._order = Order(len(records), seed)

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """The crops of a step, all of one length."""
        random = np.random.default_rng(step_seed(self._seed, step, rank))
        frames = self._frames(step)
        places = self._order((step * world + rank) * self._recipe.batch_size, self._recipe.batch_size)
        items = []
        for wanted in places:
            place, record = self.records.find(wanted)
            items.append(crop(record, self._voice_of(place), self._recipe.sizes, frames, random))
        return collated(items, frames)

    def whole(self, index: int) -> Item | None:
        """All of a clip; ``None`` where it is not usable."""
        record = self.records.maybe(index)
        return None if record is None else item(record, self._voice_of(index), self._recipe.sizes)

    def _frames(self, step: int) -> int:
        """Video frames of a step's crops; the same in all processes, whose gradients count alike."""
        least, most = (length // PER_FRAME for length in self._recipe.crop)
        return int(np.random.default_rng((self._seed, step)).integers(least, most + 1))


def own_voice(records: Records) -> VoiceOf:
    """A clip's own speaker embedding."""

    def voice_of(index: int) -> Tensor:
        return torch.from_numpy(records.find(index)[1].voice)

    return voice_of


def fitted_scale(records: Records, progress: Progress) -> VoiceScale:
    """The standardisation of voice statistics over all of the usable clips (hicodit.md E.1)."""
    statistics = []
    with progress.stage("clips", len(records)) as bar:
        for index in range(len(records)):
            record = records.maybe(index)
            if record is not None:
                statistics.append(record.voice)
            bar.advance()
    if not statistics:
        records.find(0)  # says that there is none
    scale = VoiceScale()
    scale.fit(statistics)
    return scale


def voices(records: Records, scale: VoiceScale) -> dict[str, Tensor]:
    """The vector of each speaker, over all of the speaker's clips."""
    own: dict[str, list[Vector]] = {}
    for index, clip in enumerate(records.clips):
        record = records.maybe(index)
        if record is not None and clip.speaker is not None:
            own.setdefault(clip.speaker, []).append(scale.vector(record.voice))
    return {name: torch.from_numpy(mean_direction(vectors)) for name, vectors in own.items()}


def speaker_voice(records: Records, scale: VoiceScale, known: Mapping[str, Tensor]) -> VoiceOf:
    """The vector of a clip's speaker, where it is ``known``.

    Else that of another clip of its group, since a clip's own would tell of its content; else its own.
    """
    groups: dict[str, list[int]] = {}
    for index, clip in enumerate(records.clips):
        if clip.group is not None:
            groups.setdefault(clip.group, []).append(index)

    def voice_of(index: int) -> Tensor:
        clip = records.clips[index]
        if clip.speaker is not None and clip.speaker in known:
            return known[clip.speaker]
        other = _after(index, groups.get(clip.group or "", [index]))
        record = records.maybe(other) or records.find(index)[1]
        return torch.from_numpy(scale.vector(record.voice))

    return voice_of


def _after(index: int, places: Sequence[int]) -> int:
    """The next one of ``places``, in a circle."""
    return places[(places.index(index) + 1) % len(places)]
