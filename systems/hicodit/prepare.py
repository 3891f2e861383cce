"""``bench data prepare hicodit``: what training reads of a data set's clips as shards, before it asks for them.

A shard holds some hundred clips (:mod:`.training.records`); it appears when it is whole, so work that was stopped goes
on with the next one. Clips that are there already, in a shard or alone, are not made again. Those that cannot be used
(no face, no sound) are told and left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import Unscorable
from bench.systems.hicodit.training.makers import record_makers
from bench.systems.hicodit.training.records import PATTERN, clip_key, forget_shards, kept, kept_in, write

if TYPE_CHECKING:
    from bench.progress import Progress
    from bench.records import Clip
    from bench.systems.hicodit.training.records import ClipRecord, RecordMakers
    from bench.train_request import TrainRequest

SHARD = 256  # clips


@dataclass
class Prepared:
    """What a call did: clips that it made, that were there, and that were left out, by reason; where the shards are."""

    folder: Path
    made: int = 0
    there: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line for people."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        left_out = f", left out: {reasons}" if reasons else ""
        return f"{self.made} clips made, {self.there} were there{left_out}: {self.folder}"


class PrepareOptions(BaseModel):
    """``codec``: weights.safetensors of the stage codec, in the place of what is shipped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: str | None = None
    shard: int = Field(default=SHARD, ge=1, le=100_000, description="clips in a file")


def prepared(request: TrainRequest) -> Prepared:
    """What ``bench data prepare hicodit`` does: the clips that are learned from, and those to judge by.

    Raises:
        UsageError: unknown settings, networks that are not here.
    """
    options = request.options(PrepareOptions)
    makers = record_makers(request.config, request.device, options.codec)
    clips = [*request.clips, *request.held_out]
    return prepare(clips, request.folder.parent / "hicodit", makers, request.progress, options.shard)


def prepare(
    clips: Sequence[Clip], folder: Path, makers: RecordMakers, progress: Progress, shard: int = SHARD
) -> Prepared:
    """Make the records of ``clips`` that are not yet in ``folder``, ``shard`` of them in a file."""
    place = kept_in(folder, makers.identity)
    place.mkdir(parents=True, exist_ok=True)
    forget_shards()
    done = Prepared(place)
    room: dict[str, ClipRecord] = {}
    try:
        with progress.stage("clips", len(clips)) as bar:
            for key, record in _missing(clips, place, makers, progress, done):
                if record is not None:
                    room[key] = record
                if len(room) == shard:
                    _write_shard(place, room)
                    room = {}
                bar.advance()
    finally:  # what a stopped call has made is kept
        if room:
            _write_shard(place, room)
    return done


def _missing(
    clips: Sequence[Clip], place: Path, makers: RecordMakers, progress: Progress, done: Prepared
) -> Iterator[tuple[str, ClipRecord | None]]:
    """Each clip's key, and its record if it had to be made."""
    seen: set[str] = set()
    for clip in clips:
        key = clip_key(clip)
        if key in seen or kept(place, key) is not None:
            done.there += 1
            yield key, None
            continue
        seen.add(key)
        try:
            record = makers.make(clip)
        except Unscorable as error:
            done.left_out[error.kind] += 1
            progress.say(f"left out: {clip.id}: {error}")
            yield key, None
            continue
        done.made += 1
        yield key, record


def _write_shard(place: Path, room: dict[str, ClipRecord]) -> None:
    """Under the next free number."""
    number = 1 + max((int(path.stem.rpartition("-")[2]) for path in place.glob(PATTERN)), default=-1)
    write(place / f"shard-{number:05d}.safetensors", room)
    forget_shards()
