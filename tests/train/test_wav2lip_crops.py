"""Faces of training clips: one search for all cuts, cut as inference cuts, kept under their content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import media
from bench.api import Audio, Clip, Source, Unscorable
from bench.faces.boxes import Pads
from bench.faces.tracks import place
from bench.systems.wav2lip.crops import Cut, Faces, Search

FRAMES = 24


class Detector:
    """A box that jumps about; none in ``lost`` frames. Counts the frames that it has looked at."""

    def __init__(self, lost: tuple[int, ...] = ()) -> None:
        self.lost, self.looked = lost, 0

    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        found = [self.box(self.looked + index) for index in range(len(frames))]
        self.looked += len(frames)
        return found

    def box(self, frame: int) -> np.ndarray:
        x, y = 8 + 3 * (frame % 4), 5 + 2 * (frame % 3)
        return np.zeros((0, 5)) if frame in self.lost else np.array([[x - 0.5, y, x + 30, y + 28, 1.0]])


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    random = np.random.default_rng(5)
    frames = cv2.GaussianBlur(random.integers(0, 256, (48, 64, 3 * FRAMES)).astype(np.float32), (9, 9), 3)
    pictures = np.clip(4 * (frames - 96), 0, 255).astype(np.uint8).reshape(48, 64, FRAMES, 3).transpose(2, 0, 1, 3)
    path = tmp_path / "clip.mp4"
    media.write_video(path, np.ascontiguousarray(pictures), audio=Audio(np.zeros(FRAMES * 640, np.float32), 16_000))
    return Clip("clip", "toy", "train", Source(path), Source(path), None, media.file_sha256(path), FRAMES)


def shelf(folder: Path, detector: Detector) -> Faces:
    return Faces(folder, Search("toy"), lambda: detector)


def test_all_cuts_share_one_search_and_nothing_is_done_twice(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector()
    faces = shelf(tmp_path / "kept", detector)
    cuts = [Cut(96, Pads(), True), Cut(64), Cut(96)]
    made = [faces.clip(clip, cut) for cut in cuts]
    assert detector.looked == FRAMES
    assert [one.faces().shape for one in made] == [(FRAMES, s, s, 3) for s in (96, 64, 96)]
    assert (made[0].faces() != made[2].faces()).any()
    assert made[0].mel_file == made[1].mel_file and made[0].mel().shape == (80, made[0].columns)

    monkeypatch.setattr(media, "iter_video", None)  # another training, another path of the same content
    moved = replace(clip, id="other", video=Source(tmp_path / "elsewhere.mp4"), audio=Source(tmp_path / "else.mp4"))
    again = shelf(tmp_path / "kept", Detector()).clip(moved, cuts[0])
    assert again.faces_file == made[0].faces_file and (again.faces() == made[0].faces()).all()
    assert not list((tmp_path / "kept").glob("*.part"))


def test_padded_and_smoothed_cuts_are_those_of_inference(clip: Clip, tmp_path: Path) -> None:
    lost = (3, 4, 15)
    found = shelf(tmp_path / "kept", Detector(lost)).clip(clip, Cut(32, Pads(1, 9, 2, 0), smooth=True))
    frames = media.decode_video(clip.video).frames  # type: ignore[arg-type]
    looked = Detector(lost)(frames)
    there = [index for index in range(FRAMES) if index not in lost]
    assert found.frames.tolist() == there
    runs = [range(3), range(5, 15), range(16, FRAMES)]
    boxes = np.concatenate([place([looked[i] for i in run], (48, 64), Pads(1, 9, 2, 0)).boxes for run in runs])
    for face, frame, (x1, y1, x2, y2) in zip(found.faces(), there, boxes, strict=True):
        assert (face == cv2.resize(frames[frame, y1:y2, x1:x2, ::-1], (32, 32))).all()


def test_what_cannot_be_used_says_why(clip: Clip, tmp_path: Path) -> None:
    def told(made: Clip, lost: tuple[int, ...] = ()) -> Unscorable:
        with pytest.raises(Unscorable) as caught:
            shelf(tmp_path / str(lost), Detector(lost)).clip(made, Cut(32))
        return caught.value

    assert told(clip, tuple(range(FRAMES))).kind == "no_face"
    assert told(clip, tuple(range(9))).detail == "15 frames with a face, 16 are needed"
    assert told(replace(clip, video=None)).kind == "no_video_stream"
    assert told(replace(clip, audio=None)).kind == "no_audio_stream"


def test_a_given_box_needs_no_detector(clip: Clip, tmp_path: Path) -> None:
    def never() -> Detector:
        raise AssertionError("a detector is made")

    faces = Faces(tmp_path / "kept", Search("box", (4, -1, 6, 50)), never)
    assert (faces.boxes(clip) == [6, 4, 50, 48]).all()
    assert faces.clip(clip, Cut(32)).frames.tolist() == list(range(FRAMES))
