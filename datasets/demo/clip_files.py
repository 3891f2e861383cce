"""One clip on disk: its four files, written in one step each, and the record of their hashes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets.files import atomic_path, file_sha256
from bench.errors import DataError

if TYPE_CHECKING:
    from bench.datasets.demo.sentences import ClipPlan

SUFFIXES = ("mp4", "wav", "txt", "npz")
#: What keeps linear algebra to one thread; read by its libraries when they are loaded. With two
#: threads a frame takes ten times as long, because the systems to solve are small.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Record:
    """Hashes of a clip: ``golden`` of frames and samples before encoding, the others of its files.

    ``size`` is that of the mp4 in bytes; ``environment`` names the library versions it was made with.
    """

    golden: str
    mp4: str
    wav: str
    txt: str
    npz: str
    size: int
    environment: str = ""

    def to_json(self) -> dict[str, str | int]:
        """For corpus.json; ``Record(**d)`` is the way back."""
        return asdict(self)


def clip_path(root: Path, plan: ClipPlan, suffix: str) -> Path:
    """Where a file of the clip lies."""
    return root / plan.folder / f"{plan.id}.{suffix}"


def is_intact(root: Path, plan: ClipPlan, record: Record) -> bool:
    """Whether all four files are there with the recorded hashes."""
    try:
        return all(file_sha256(clip_path(root, plan, s)) == getattr(record, s) for s in SUFFIXES)
    except OSError:
        return False


def write_clip(root: Path, plan: ClipPlan) -> Record:
    """Make a clip and write its files; equal plans give equal bytes.

    Raises:
        DataError: espeak-ng failed, or the folder cannot be written.
    """
    import numpy as np

    from bench.datasets.demo.clip import make_clip
    from bench.datasets.demo.speech import RATE
    from bench.media import Audio, write_audio, write_video

    made = make_clip(plan)
    audio = Audio(made.samples, RATE)
    try:
        clip_path(root, plan, "mp4").parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(clip_path(root, plan, "mp4")) as path:
            write_video(path, made.frames, audio=audio)
        with atomic_path(clip_path(root, plan, "wav")) as path:
            write_audio(path, audio)
        with atomic_path(clip_path(root, plan, "txt")) as path:
            path.write_bytes(f"{plan.transcript}\n".encode())
        with atomic_path(clip_path(root, plan, "npz")) as path, path.open("wb") as file:
            np.savez(file, allow_pickle=False, **made.sidecar)
    except OSError as error:
        raise DataError(
            f"demo corpus: {plan.id} cannot be written to {root}: {error}",
            "make room or name another folder; the same command goes on with the clips that are missing.",
        ) from error
    hashes = {suffix: file_sha256(clip_path(root, plan, suffix)) for suffix in SUFFIXES}
    return Record(made.golden_sha256(), **hashes, size=clip_path(root, plan, "mp4").stat().st_size)


@contextmanager
def one_thread_children() -> Iterator[None]:
    """Processes that are started inside have one thread for linear algebra."""
    before: Mapping[str, str | None] = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def start_worker() -> None:
    """Set up a process that makes clips: one thread, and Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)
