"""What training reads of a clip: codes, lip stream, face, voice and emotion, made once and kept on disk.

The stage asks for one clip at a time (``RECORDS.of``); ``bench data prepare hicodit`` makes all of a split in advance
(:mod:`bench.shards`). Facts: specs/hicodit.md, C.4 and E.4.

    record = RECORDS.of(clip, folder, makers)               # ClipRecord
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from bench.records import Clip
from bench.shards import RecordKind, arrays_of, clip_key, write_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VERSION = 1  # of what is kept: a change makes new files
_PARTS = ("codes", "lip", "face", "voice", "emotion")


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """A clip of T video frames at 25 Hz.

    ``codes`` ``(levels, L)`` int16, L about 2 T. ``lip``: what the lip stream begins with, a row for each video frame:
    grey crops ``(T, 44, 44)`` uint8, or features ``(T, 1024)`` float16. ``face`` float32, what the identity adapter
    reads. ``voice`` float32: the speaker embedding, or in the tiny configuration the statistics that it is made of.
    ``emotion``: the class of the utterance, ``()`` int8.
    """

    codes: NDArray[np.int16]
    lip: NDArray[Any]
    face: NDArray[np.float32]
    voice: NDArray[np.float32]
    emotion: NDArray[np.int8]


class _ClipRecords(RecordKind[ClipRecord]):
    """An array for each part of each clip, ``<key>.<part>``."""

    name = "records"

    def key(self, clip: Clip) -> str:
        """See :meth:`RecordKind.key`; the data set's word for the emotion is in a record."""
        return clip_key(clip, _VERSION, clip.extra.get("emotion"))

    def write(self, path: Path, records: Mapping[str, ClipRecord]) -> None:
        """See :meth:`RecordKind.write`."""
        write_arrays(path, {f"{key}.{part}": getattr(one, part) for key, one in records.items() for part in _PARTS})

    def read(self, path: Path, key: str) -> ClipRecord:
        """See :meth:`RecordKind.read`."""
        return ClipRecord(*arrays_of(path, [f"{key}.{part}" for part in _PARTS]))

    def keys(self, path: Path) -> Iterable[str]:
        """See :meth:`RecordKind.keys`."""
        with safe_open(path, framework="np") as file:
            return {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118 (no mapping)


RECORDS = _ClipRecords()
