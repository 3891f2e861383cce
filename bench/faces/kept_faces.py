"""Faces that a detector has found, kept on disk: a table's runs show the same videos under four conditions.

What a detector says of a frame depends on its pixels alone, so they are the key: a video that is cut or staged anew is
known as far as its frames are the same. One small file per video, under ``faces`` in the cache folder; it
may be removed at any time. The seconds of the search are kept too: whoever is spared it is charged them.
"""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.api import charge

if TYPE_CHECKING:
    from bench.faces.detect import Detect

_FOLDER = "faces"
_DIGEST = 16  # bytes


class _Found(NamedTuple):
    """The faces of a frame, and how long it took to find them."""

    faces: NDArray[Any]
    seconds: float


_Known = dict[bytes, _Found]


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
        charge(sum(known[mark].seconds for mark in marks if mark in known))
        if new:
            asked = frames if len(new) == len(frames) else frames[new]  # no copy of a long video
            known |= {marks[place]: found for place, found in zip(new, self._timed(asked), strict=True)}
            _write(path, known)
        return [known[mark].faces for mark in marks]

    def _timed(self, frames: NDArray[np.uint8]) -> list[_Found]:
        begin = time.perf_counter()
        found = self._detect(frames)
        share = (time.perf_counter() - begin) / len(frames)
        return [_Found(faces, share) for faces in found]


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
            marks, counts, rows, seconds = (file[name] for name in ("marks", "counts", "rows", "seconds"))
            faces = np.split(rows, np.cumsum(counts)[:-1])
        frames = list(zip(marks, faces, seconds.tolist(), strict=True))
        if not (np.isfinite(seconds) & (seconds >= 0)).all():
            return {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}
    return {mark.tobytes(): _Found(found, took) for mark, found, took in frames}


def _write(path: Path, known: _Known) -> None:
    """The file appears whole or not at all; without room or right to write, nothing is kept."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            marks = np.array([np.frombuffer(mark, np.uint8) for mark in known])
            counts = np.array([len(found.faces) for found in known.values()])
            rows = np.concatenate([found.faces for found in known.values()])
            seconds = np.array([found.seconds for found in known.values()])
            np.savez_compressed(file, marks=marks, counts=counts, rows=rows, seconds=seconds)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
