"""Batches for the stage ``dit``: crops of kept records, with the voices of their speakers (hicodit.md C.4, E.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.api import FPS, Clip, DataError, Unscorable
from bench.systems.hicodit.sizes import Sizes
from bench.systems.hicodit.training.records import ClipRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.progress import Progress

PER_FRAME = 2  # codec frames of a video frame
_IN_MEMORY = 4096  # clips


@dataclass(frozen=True, slots=True)
class Item:
    """A crop of T video frames and L = 2 T codec frames, or a whole clip.

    Attributes:
        tokens: (levels, L) int64.
        lip: (T, …), as in the clip's record.
        voice: (V,) what the network is told of the speaker: the vector of the clip's voice.
        face: (E,) what the identity adapter reads.
        emotion: (ceil(L / stride),) int64.
    """

    tokens: Tensor
    lip: Tensor
    voice: Tensor
    face: Tensor
    emotion: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Items padded at their ends; ``lengths`` (B,) in codec frames."""

    tokens: Tensor
    lip: Tensor
    voice: Tensor
    face: Tensor
    emotion: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Batch:
        """On ``device``."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))

    @property
    def frames(self) -> Tensor:
        """(B,): the lengths in video frames."""
        return self.lengths // PER_FRAME

    @property
    def valid(self) -> Tensor:
        """(B, L): which codec frames there are."""
        return torch.arange(self.tokens.shape[2], device=self.tokens.device) < self.lengths[:, None]


class Records:
    """The usable ones of ``clips``, read when they are asked for.

    ``load`` gives a clip's record; ``seconds``: clips shorter than the first are not usable, and only the beginning of
    those longer than the second is.

    Raises:
        DataError: there are no clips.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        load: Callable[[Clip], ClipRecord],
        seconds: tuple[float, float],
        progress: Progress,
    ) -> None:
        if not clips:
            raise DataError("there is no clip to train on", "see `bench data check`.")
        self.clips, self._seconds, self._progress = clips, seconds, progress
        self._loaded = lru_cache(_IN_MEMORY)(lambda index: self._cut(load(clips[index])))
        self._unusable: set[int] = set()

    def __len__(self) -> int:
        return len(self.clips)

    def find(self, index: int) -> tuple[int, ClipRecord]:
        """The record of the clip, or of the next one that is usable, and which clip that is.

        Raises:
            DataError: none is.
        """
        for place in range(index, index + len(self)):
            place %= len(self)
            record = self.maybe(place)
            if record is not None:
                return place, record
        raise DataError("no clip can be trained on", "see `bench data check`.")

    def maybe(self, index: int) -> ClipRecord | None:
        """The record of the clip, ``None`` where it is not usable; why is said once."""
        if index in self._unusable:
            return None
        try:
            return self._loaded(index)
        except Unscorable as error:
            self._unusable.add(index)
            self._progress.say(f"left out: {self.clips[index].id}: {error}")
            return None

    def _cut(self, record: ClipRecord) -> ClipRecord:
        """With as many frames in both streams, not more than are wanted."""
        least, most = self._seconds
        frames = min(len(record.lip), record.codes.shape[1] // PER_FRAME, round(most * FPS))
        if frames < max(1, least * FPS):
            raise Unscorable("too_short", f"{frames} frames")
        codes = record.codes[:, : frames * PER_FRAME]
        return ClipRecord(codes, record.lip[:frames], record.face, record.voice, record.emotion)


class Order:
    """Shuffled passes over ``clips`` clips: which of them have the places from ``first`` on."""

    def __init__(self, clips: int, seed: int) -> None:
        self._clips, self._seed = clips, seed
        self._shuffled = lru_cache(4)(self._shuffle)

    def __call__(self, first: int, count: int) -> list[int]:
        """``count`` clips."""
        places = (divmod(place, self._clips) for place in range(first, first + count))
        return [int(self._shuffled(number)[place]) for number, place in places]

    def _shuffle(self, number: int) -> NDArray[np.int64]:
        return np.random.default_rng((self._seed, number)).permutation(self._clips)


def item(record: ClipRecord, voice: Tensor, sizes: Sizes, first: int = 0, frames: int | None = None) -> Item:
    """``frames`` video frames of a record from ``first`` on; all that there are by default."""
    last = len(record.lip) if frames is None else min(first + frames, len(record.lip))
    tokens = torch.from_numpy(record.codes[:, first * PER_FRAME : last * PER_FRAME].astype(np.int64))
    steps = math.ceil(tokens.shape[1] / sizes.stride)
    return Item(
        tokens=tokens,
        lip=torch.from_numpy(record.lip[first:last]),
        voice=voice,
        face=torch.from_numpy(record.face),
        emotion=torch.full((steps,), int(record.emotion)),
    )


def crop(record: ClipRecord, voice: Tensor, sizes: Sizes, frames: int, random: np.random.Generator) -> Item:
    """A crop of ``frames`` video frames at a random place; what is shorter stays whole."""
    first = int(random.integers(max(0, len(record.lip) - frames) + 1))
    return item(record, voice, sizes, first, frames)


def collated(items: Sequence[Item], frames: int | None = None) -> Batch:
    """Items padded with zeros to ``frames`` video frames, or to the longest."""
    longest = frames or max(len(one.lip) for one in items)
    tokens = torch.zeros(len(items), len(items[0].tokens), longest * PER_FRAME, dtype=torch.int64)
    lip = items[0].lip.new_zeros(len(items), longest, *items[0].lip.shape[1:])
    for row, one in enumerate(items):
        tokens[row, :, : one.tokens.shape[1]] = one.tokens
        lip[row, : len(one.lip)] = one.lip
    return Batch(
        tokens=tokens,
        lip=lip,
        voice=torch.stack([one.voice for one in items]),
        face=torch.stack([one.face for one in items]),
        emotion=_extended([one.emotion for one in items]),
        lengths=torch.tensor([one.tokens.shape[1] for one in items]),
    )


def _extended(emotions: Sequence[Tensor]) -> Tensor:
    """(B, steps): the class of each goes on in the padding."""
    padded: Tensor = pad_sequence(list(emotions), batch_first=True, padding_value=-1)
    last = torch.stack([one[-1] for one in emotions])[:, None]
    return torch.where(padded < 0, last, padded)
