"""Text of any length: piece after piece, each going on from the last seconds of the one before.

A piece is an utterance of its own whose known beginning is the end of the piece before it, in sound and motion (the
"cross-sentence" use of a prefix); voice and face stay those of the reference. Memory is that of the longest piece,
whatever the text: a piece's frames are handed out as soon as they are there. Several texts go side by side, and the
pieces of one text take turns with those of the others in the same batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.systems.talker.generate import Generator, Made
from bench.systems.talker.jobs import Job, Planner, Reference, Task

#: How much of a piece the next one begins with, where nothing else is asked for.
CARRIED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LongText:
    """A text in pieces.

    Attributes:
        key: for whoever asks.
        pieces: token ids (S_i,) of each piece, at least one.
        reference: voice, face and, with a prefix, the beginning of the first piece.
        noise: generator of this text alone.
        task: ``t2av`` or ``tts``.
    """

    key: Any
    pieces: Sequence[Tensor]
    reference: Reference
    noise: torch.Generator
    task: Task = "t2av"


@dataclass(frozen=True, slots=True)
class Part:
    """New frames of one piece: of ``text``, its ``number``, and whether it is the last one."""

    text: LongText
    number: int
    made: Made

    @property
    def last(self) -> bool:
        """Whether the text ends here."""
        return self.number == len(self.text.pieces) - 1


def speak(
    generator: Generator, planner: Planner, texts: Iterable[LongText], carried_seconds: float = CARRIED_SECONDS
) -> Iterator[Part]:
    """The parts of all texts as they are done; those of one text in their order.

    Args:
        generator: its rows are texts.
        planner: with the settings of the first pieces; later ones differ in their prefix alone.
        texts: taken one by one as there is room; keys of jobs are theirs and the piece's number.
        carried_seconds: what a piece begins with of the one before it; 0: nothing.
    """

    def first(text: LongText) -> Job:
        return planner.plan(text.task, text.pieces[0], text.reference, text.noise, (text, 0))

    def follow(made: Made) -> Job | None:
        text, number = made.job.key
        return None if number + 1 == len(text.pieces) else _next(planner, made, carried_seconds)

    for made in generator.run((first(text) for text in texts), follow):
        text, number = made.job.key
        yield Part(text, number, made)


def _next(planner: Planner, made: Made, seconds: float) -> Job:
    """The piece behind ``made``; it may be as long as that one at most."""
    text, number = made.job.key
    config, of = planner.config, text.reference
    frames = int(seconds * config.fps) // config.patch_size * config.patch_size
    count = min([frames, *(len(stream) for stream in (made.speech, made.motion) if stream is not None)])
    first = of.motion[0] if of.first_motion is None and len(of.motion) else of.first_motion
    ended = Reference(_last(made.speech, count, of.speech), _last(made.motion, count, of.motion), of.speaker, first)
    settings = replace(planner.settings, prefix_seconds=seconds if count else 0.0, max_patches=made.job.steps)
    later = Planner(config, settings)
    return later.plan(text.task, text.pieces[number + 1], ended, text.noise, (text, number + 1))


def _last(made: Tensor | None, count: int, like: Tensor) -> Tensor:
    """The last ``count`` frames of a stream; none of one that was not made."""
    return like[:0] if made is None else made[len(made) - count :]
