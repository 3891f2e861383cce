"""``bench data prepare``: records of a data set's clips (:mod:`bench.shards`), made before a training asks for them.

A shard holds some hundred clips; it appears when it is whole, so work that was stopped goes on with the next one.
Clips that are there already, in a shard or alone, are not made again. Those that cannot be used are told and left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bench.errors import Unscorable
from bench.progress import Progress
from bench.records import Clip
from bench.shards import Makers, Record, RecordKind, forget

SHARD = 256  # clips


class ShardOptions(BaseModel):
    """What every preparation can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shard: int = Field(default=SHARD, ge=1, le=100_000, description="clips in a file")


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


def prepare(
    kind: RecordKind[Record],
    clips: Sequence[Clip],
    folder: Path,
    makers: Makers[Record],
    progress: Progress,
    shard: int = SHARD,
) -> Prepared:
    """Make the records of ``clips`` that are not yet in ``folder``, ``shard`` of them in a file."""
    place = kind.folder(folder, makers)
    place.mkdir(parents=True, exist_ok=True)
    forget()
    done = Prepared(place)
    room: dict[str, Record] = {}
    try:
        with progress.stage(kind.name, len(clips)) as bar:
            for key, record in _missing(kind, clips, makers, progress, done):
                if record is not None:
                    room[key] = record
                if len(room) == shard:
                    kind.write_shard(place, room)
                    room = {}
                bar.advance()
    finally:  # what a stopped call has made is kept
        if room:
            kind.write_shard(place, room)
    return done


def _missing(
    kind: RecordKind[Record], clips: Sequence[Clip], makers: Makers[Record], progress: Progress, done: Prepared
) -> Iterator[tuple[str, Record | None]]:
    """Each clip's key, and its record if it had to be made."""
    seen: set[str] = set()
    for clip in clips:
        key = kind.key(clip)
        if key in seen or kind.kept(done.folder, key) is not None:
            done.there += 1
            yield key, None
            continue
        seen.add(key)
        try:
            record = kind.rounded(makers.make(clip))
        except Unscorable as error:
            done.left_out[error.kind] += 1
            progress.say(f"left out: {clip.id}: {error}")
            yield key, None
            continue
        done.made += 1
        yield key, record
