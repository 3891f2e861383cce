"""The bare loop of ``speed_overhead.py``: the same encode calls, without a harness.

python bare_loop.py FOLDER TASK CLIPS WAYS   (in a process of its own, as a worker of the harness is)
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from speed_media import RATE, Shot

from bench.media import write_audio, write_video
from bench.records import Audio, request_seed


def prepared(folder: Path, ways: int) -> list[Shot]:
    """The arrays that the prepared system returns, by their number."""
    return [
        Shot(np.load(folder / f"frames-{i}.npy"), Audio(np.load(folder / f"audio-{i}.npy"), RATE)) for i in range(ways)
    ]


def bare_loop(folder: Path, task: str, made: Sequence[Shot], clip_ids: Sequence[str]) -> None:
    """Write each file under a temporary name, sync and rename it, sync the folder: what loses no result."""
    folder.mkdir()
    for clip_id in clip_ids:
        shot = made[request_seed(0, clip_id) % len(made)]
        write_video(folder / "part.mp4", shot.frames)
        _settle(folder / "part.mp4", folder / f"{clip_id}.mp4")
        if task == "t2av":
            write_audio(folder / "part.wav", shot.audio)
            _settle(folder / "part.wav", folder / f"{clip_id}.wav")
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
    shutil.rmtree(folder)


def _settle(part: Path, target: Path) -> None:
    _sync(part, os.O_RDWR)
    part.replace(target)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def clip_ids(n: int) -> list[str]:
    """The ids of the benchmark's clips."""
    return [f"clip{i:03}" for i in range(n)]


if __name__ == "__main__":
    work = Path(sys.argv[1])
    bare_loop(work / "bare", sys.argv[2], prepared(work, int(sys.argv[4])), clip_ids(int(sys.argv[3])))
    print("{}")
