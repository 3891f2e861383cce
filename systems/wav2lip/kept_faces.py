"""Faces that a detector has found, kept on disk: a table's runs show the same videos under four conditions.

What a detector says of a frame depends on its pixels alone, so they are the key: a video that is cut or staged anew is
known as far as its frames are the same. One small file per video, under ``faces`` in the cache folder; it
may be removed at any time.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.systems.wav2lip.detect import Detect

_FOLDER = "faces"
_DIGEST = 16  # bytes
_Known = dict[bytes, NDArray[Any]]


class KeptFaces:
    """A :class:`.detect.Detect` that asks ``detect`` about frames that it has not seen; ``name`` says who answers."""

    def __init__(self, detect: Detect, name: str) -> None:
        self._detect = detect
        self._name = name

    def __call__(self, frames: NDArray[np.uint8], /) -> list[NDArray[Any]]:
        """The faces of each frame."""
        if not len(frames):
            return []
        marks = [_mark(frame) for frame in frames]
        path = _folder() / self._name / f"{marks[0].hex()}.npz"
        known = _read(path)
        new = [place for place, mark in enumerate(marks) if mark not in known]
        if new:
            asked = frames if len(new) == len(frames) else frames[new]  # no copy of a long video
            known |= {marks[place]: faces for place, faces in zip(new, self._detect(asked), strict=True)}
            _write(path, known)
        return [known[mark] for mark in marks]


def _mark(frame: NDArray[np.uint8]) -> bytes:
    size = "x".join(map(str, frame.shape)).encode()
    return hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=_DIGEST, key=size).digest()


def _folder() -> Path:
    from bench.planning import cache_folder

    return cache_folder() / _FOLDER


def _read(path: Path) -> _Known:
    """What is known; nothing where the file is not there or cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            marks, counts, rows = file["marks"], file["counts"], file["rows"]
            faces = np.split(rows, np.cumsum(counts)[:-1])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}
    return {mark.tobytes(): found for mark, found in zip(marks, faces, strict=True)}


def _write(path: Path, known: _Known) -> None:
    """The file appears whole or not at all; without room or right to write, nothing is kept."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            marks = np.array([np.frombuffer(mark, np.uint8) for mark in known])
            counts = np.array([len(faces) for faces in known.values()])
            np.savez_compressed(file, marks=marks, counts=counts, rows=np.concatenate(list(known.values())))
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
