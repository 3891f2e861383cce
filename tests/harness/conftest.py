"""A small data set of real media for tests of the harness: two speakers, five clips each, 64x64, 2 s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.media import write_video
from bench.records import Audio, Clip, Source

FRAMES = 50


def picture(speaker: int, number: int) -> np.ndarray:
    """(T, H, W, 3): a background per speaker, and a bar that moves with the clip's own speed."""
    frames = np.full((FRAMES, 64, 64, 3), 40 + 90 * speaker, np.uint8)
    for index in range(FRAMES):
        top = (index * (number + 1)) % 48
        frames[index, top : top + 12] = (200, 30 * number, 90)
    return frames


def tone(speaker: int, number: int) -> Audio:
    """A tone per clip with a slow envelope."""
    time = np.arange(FRAMES * 640) / 16_000
    level = 0.2 + 0.1 * np.sin(2 * np.pi * (1 + number) * time)
    samples = level * np.sin(2 * np.pi * (110 + 60 * speaker + 35 * number) * time)
    return Audio(samples.astype(np.float32), 16_000)


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ``<speaker>/<clip>.mp4`` with ``.txt`` beside."""
    root = tmp_path_factory.mktemp("talks")
    for speaker in range(2):
        for number in range(5):
            path = root / f"speaker{speaker}" / f"clip{number}.mp4"
            path.parent.mkdir(exist_ok=True)
            write_video(path, picture(speaker, number), audio=tone(speaker, number))
            path.with_suffix(".txt").write_text(f"bin blue at {'abcde'[number]} one now\n")
    return root


@pytest.fixture(scope="session")
def clips(talks: Path) -> list[Clip]:
    """The same as clips, without any index."""
    found = []
    for path in sorted(talks.glob("*/*.mp4")):
        clip_id = f"{path.parent.name}/{path.stem}"
        found.append(
            Clip(
                id=clip_id,
                dataset="talks",
                split="test",
                video=Source(path),
                audio=Source(path),
                transcript=path.with_suffix(".txt").read_text().strip(),
                content_sha256=clip_id.encode().hex(),
                n_frames=FRAMES,
                speaker=path.parent.name,
            )
        )
    return found
