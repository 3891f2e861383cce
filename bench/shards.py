"""Records of clips on disk: what a training reads of each clip, made once and kept.

A record that was asked for alone is a file of its own (:meth:`RecordKind.of`); :mod:`bench.prepare` makes those of many
clips in advance and writes them together, as a shard. Both find what the other has made. A system says what a record
is, by a subclass of :class:`RecordKind`.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bench.records import Clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATTERN = "shard-*.safetensors"
_DAMAGED = (SafetensorError, OSError, KeyError, ValueError, TypeError)
_DIGITS = 32

Record = TypeVar("Record")
_Made = TypeVar("_Made", covariant=True)


class Makers(Protocol[_Made]):
    """What turns a clip into its record; ``identity`` names networks, weights and settings."""

    @property
    def identity(self) -> str:
        """At most 40 letters and digits; equal where the records are."""

    def make(self, clip: Clip) -> _Made:
        """The record of ``clip``. Raises :class:`bench.api.Unscorable` where it has none."""


class RecordKind(ABC, Generic[Record]):
    """A kind of record. ``name`` begins the names of its folders; what is written is in files of safetensors."""

    name: ClassVar[str]

    @abstractmethod
    def key(self, clip: Clip) -> str:
        """The name of a clip's record, equal where content and cut are: :func:`clip_key` with a version."""

    @abstractmethod
    def write(self, path: Path, records: Mapping[str, Record]) -> None:
        """Records by key into one file, by :func:`write_arrays`."""

    @abstractmethod
    def read(self, path: Path, key: str) -> Record:
        """One record of a file. Raises ``SafetensorError``, ``OSError``, ``KeyError``, ``ValueError`` or ``TypeError``
        where it is damaged.
        """

    @abstractmethod
    def keys(self, path: Path) -> Iterable[str]:
        """The keys of the records in a file. Raises what :meth:`read` does."""

    def rounded(self, record: Record) -> Record:
        """``record`` as it comes back from a file."""
        return record

    def folder(self, folder: Path, makers: Makers[Record]) -> Path:
        """Where in ``folder`` the records of these makers are; others may share it."""
        return folder / f"{self.name}-{makers.identity}"

    def of(self, clip: Clip, folder: Path, makers: Makers[Record]) -> Record:
        """The clip's record: from a shard or a file in ``folder``, else made now and written there as a file.

        ``folder`` may be shared by data sets, trainings and processes.

        Raises:
            Unscorable: the clip has none.
        """
        key, place = self.key(clip), self.folder(folder, makers)
        found = self.kept(place, key)
        if found is None:
            found = self.rounded(makers.make(clip))
            self.write(place / f"{key}.safetensors", {key: found})
        return found

    def kept(self, place: Path, key: str) -> Record | None:
        """What is kept under ``key`` in ``place``, or ``None``; a damaged file is as good as none."""
        for path in (_shards(self, place).get(key), place / f"{key}.safetensors"):
            if path is not None and path.is_file():
                try:
                    return self.read(path, key)
                except _DAMAGED:
                    continue
        return None

    def write_shard(self, place: Path, records: Mapping[str, Record]) -> None:
        """A shard under the next free number."""
        number = 1 + max((int(path.stem.rpartition("-")[2]) for path in place.glob(PATTERN)), default=-1)
        self.write(place / f"shard-{number:05d}.safetensors", records)
        forget()


def forget() -> None:
    """To be called when shards were written: which records they hold is read once per folder."""
    _shards.cache_clear()


@lru_cache(maxsize=16)
def _shards(kind: RecordKind[Any], place: Path) -> dict[str, Path]:
    """Keys of records to the shards that hold them; damaged shards are left out."""
    found: dict[str, Path] = {}
    for path in sorted(place.glob(PATTERN)):
        try:
            found.update(dict.fromkeys(kind.keys(path), path))
        except _DAMAGED:
            continue
    return found


def clip_key(clip: Clip, version: int, *more: object) -> str:
    """Hexadecimal digits of a clip's content and cut, of a version, and of what else decides a record (JSON types)."""
    parts = [astuple(source)[1:] if source is not None else None for source in (clip.audio, clip.video)]
    told = json.dumps([version, clip.content_sha256, parts, *more])
    return hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, str] | None = None) -> None:
    """A file of ``arrays``, with ``facts`` in its header; it appears when it is whole.

    Several processes may write the same one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    # safetensors writes the memory as it lies, so rows must lie one behind the other
    lying = {name: array.copy(order="C") for name, array in arrays.items()}
    try:
        save_file(lying, part, metadata=None if facts is None else dict(facts))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def arrays_of(path: Path, names: Iterable[str]) -> list[NDArray[Any]]:
    """Arrays of a file by name. Raises ``SafetensorError``, ``OSError``."""
    with safe_open(path, framework="np") as file:
        return [file.get_tensor(name) for name in names]
