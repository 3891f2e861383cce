"""What training reads of a clip: codes, lip stream, face, voice and emotion, made once and kept on disk.

The stage asks for one clip at a time (:func:`record_of`); ``bench data prepare hicodit`` makes all of a split in
advance and writes them as shards. Both find what the other has made. Facts: specs/hicodit.md, C.4 and E.4.

    record = record_of(clip, folder, makers)                # ClipRecord
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bench.records import Clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 1  # of what is kept: a change makes new files
_PARTS = ("codes", "lip", "face", "voice", "emotion")
PATTERN = "shard-*.safetensors"
_DAMAGED = (SafetensorError, OSError, KeyError, ValueError)


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


class RecordMakers(Protocol):
    """What turns a clip into a :class:`ClipRecord`; ``identity`` names networks, weights and settings."""

    @property
    def identity(self) -> str:
        """At most 40 letters and digits; equal where the records are."""

    def make(self, clip: Clip) -> ClipRecord:
        """The record of ``clip``. Raises :class:`bench.api.Unscorable` where it has none."""


def record_of(clip: Clip, folder: Path, makers: RecordMakers) -> ClipRecord:
    """The clip's record: from a shard or a file in ``folder``, else made now and written there as a file.

    ``folder`` may be shared by data sets, trainings and processes.

    Raises:
        Unscorable: the clip cannot be decoded, has no audio or video, or shows no face.
    """
    key, place = clip_key(clip), kept_in(folder, makers.identity)
    found = kept(place, key)
    if found is None:
        found = makers.make(clip)
        write(place / f"{key}.safetensors", {key: found})
    return found


def kept(place: Path, key: str) -> ClipRecord | None:
    """What is kept for a clip in ``place``, or ``None``; a damaged file is as good as none."""
    for path in (_shards(place).get(key), place / f"{key}.safetensors"):
        if path is not None and path.is_file():
            try:
                return read(path, key)
            except _DAMAGED:
                continue
    return None


def kept_in(folder: Path, identity: str) -> Path:
    """The folder of the records that makers of this identity make."""
    return folder / f"records-{identity}"


def clip_key(clip: Clip) -> str:
    """The name of a clip's record: equal where content and cut are."""
    parts = [astuple(source)[1:] if source is not None else None for source in (clip.audio, clip.video)]
    told = json.dumps([_VERSION, clip.content_sha256, parts, clip.extra.get("emotion")])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def write(path: Path, clips: Mapping[str, ClipRecord]) -> None:
    """The file appears when it is whole; several processes may write the same one."""
    # safetensors writes the memory as it lies, so rows must lie one behind the other
    arrays = {
        f"{key}.{name}": np.array(getattr(record, name), order="C") for key, record in clips.items() for name in _PARTS
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(arrays, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path, key: str) -> ClipRecord:
    """One clip's record of a file. Raises ``KeyError``, ``OSError``, ``ValueError`` or ``SafetensorError``."""
    with safe_open(path, framework="np") as file:
        return ClipRecord(*(file.get_tensor(f"{key}.{name}") for name in _PARTS))


def forget_shards() -> None:
    """To be called when shards were written: which clips they hold is read once per folder."""
    _shards.cache_clear()


@lru_cache(maxsize=16)
def _shards(place: Path) -> dict[str, Path]:
    """Keys of clips to the shards that hold them; damaged shards are left out."""
    found: dict[str, Path] = {}
    for path in sorted(place.glob(PATTERN)):
        try:
            with safe_open(path, framework="np") as file:
                names = file.keys()
            found.update(dict.fromkeys((name.partition(".")[0] for name in names), path))
        except _DAMAGED:
            continue
    return found
