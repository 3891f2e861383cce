"""Faces on disk: a frame is looked at once, whatever video it comes in, and a lost or broken file only costs time.

Who finds faces there is charged what looking took.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from bench.faces.kept_faces import KeptFaces
from bench.faces.known import KnownFaces
from bench.measure import Meter


class Detector:
    """As many boxes as the frame's first pixel says."""

    identity = "mine"

    def __init__(self, seconds: float = 0.0) -> None:
        self.looked, self._seconds = 0, seconds  # for a frame

    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        self.looked += len(frames)
        time.sleep(self._seconds * len(frames))
        return [np.full((int(frame[0, 0, 0]) % 3, 5), float(frame[0, 0, 1])) for frame in frames]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))


def video(count: int, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return len(found) == len(wanted) and all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_frames_are_looked_at_once_by_their_pixels(tmp_path: Path) -> None:
    frames, wanted = video(7), Detector()(video(7))
    first, second = Detector(), Detector()
    assert equal(KnownFaces(first).of(frames[:4], "a"), wanted[:4])
    again = KnownFaces(second)  # another run, another key, more frames
    assert equal(again.of(frames, "b"), wanted)
    assert (first.looked, second.looked) == (4, 3)
    assert equal(KnownFaces(second).of(frames, None), wanted)
    assert second.looked == 3
    assert KeptFaces(second, "mine")(frames[:0]) == []
    assert len(list((tmp_path / "faces" / "mine").iterdir())) == 1


def test_other_pixels_sizes_and_detectors_are_looked_at(tmp_path: Path) -> None:
    frames = video(2)
    detector = Detector()
    KeptFaces(detector, "mine")(frames)
    KeptFaces(detector, "another")(frames)
    KeptFaces(detector, "mine")(frames.reshape(2, 6, 4, 3))
    changed = frames.copy()
    changed[1, -1, -1, -1] ^= 1
    KeptFaces(detector, "mine")(changed)
    assert detector.looked == 2 + 2 + 2 + 1


def test_what_cannot_be_read_or_written_is_looked_at_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, wanted = video(3), Detector()(video(3))
    KeptFaces(Detector(), "mine")(frames)
    (path,) = (tmp_path / "faces" / "mine").iterdir()
    with np.load(path) as file:
        kept = dict(file)
    changed = [
        {"seconds": kept["seconds"] * np.nan},
        {"seconds": kept["seconds"] - 9},
        {"seconds": kept["seconds"][1:]},
    ]
    older = {name: array for name, array in kept.items() if name != "seconds"}
    whole = path.read_bytes()
    for broken in (b"", b"PK\3\4 no archive", whole[:60], older, *({**kept, **one} for one in changed)):
        if isinstance(broken, bytes):
            path.write_bytes(broken)
        else:
            np.savez(path, **broken)
        detector = Detector()
        assert equal(KeptFaces(detector, "mine")(frames), wanted)
        assert detector.looked == 3
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    assert equal(KeptFaces(Detector(), "mine")(frames), wanted)


def test_a_detector_without_a_name_is_not_kept(tmp_path: Path) -> None:
    detector = Detector()
    del Detector.identity
    try:
        KnownFaces(detector).of(video(2), "a")
    finally:
        Detector.identity = "mine"
    assert not (tmp_path / "faces").exists()


def test_who_finds_faces_pays_what_looking_took() -> None:
    def cost(frames: np.ndarray, detector: Detector) -> float:
        meter = Meter("cpu")
        KnownFaces(detector).of(frames, "a")
        return meter.read()[0]

    frames, other = video(8), video(9)[8:]
    again = np.concatenate([frames, frames[:2], other])
    slow, quick = Detector(0.5), Detector()
    assert cost(frames[:3], slow) >= 1.5
    assert 1.5 <= cost(frames[:3], quick) < 2.5 and quick.looked == 0
    assert 1.5 <= cost(frames, quick) < 2.5 and quick.looked == 5  # looking at the others took no time
    assert 2.5 <= cost(again, quick) < 3.5 and quick.looked == 6  # two frames come twice
    known = KnownFaces(quick)
    known.of(frames, "a")
    meter = Meter("cpu")
    known.of(frames, "a")  # what an instance remembers is its own
    assert meter.read()[0] < 0.5
