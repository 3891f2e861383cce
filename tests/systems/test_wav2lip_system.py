"""The system ``wav2lip`` whole: rule-made weights and a given detector stand for the official files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from system_helpers import Made, a2v, make_clip

from bench import media
from bench.api import Audio, Failure, Output, Source
from bench.detfill import fill_module
from bench.faces import redraw
from bench.networks import Seeded
from bench.systems.wav2lip.declare import WAV2LIP
from bench.systems.wav2lip.generator import GeneratorSizes, Wav2LipGenerator
from bench.systems.wav2lip.mel import mel_spectrogram, window_starts, windows
from bench.systems.wav2lip.options import Wav2LipOptions
from bench.systems.wav2lip.system import Wav2Lip

SEEDED = Seeded({WAV2LIP.name: 2.0})
SMALL = GeneratorSizes(64, 4, (4, 6, 8, 8, 8), (1, 1, 1, 1, 1), 8, (4, 4, 6, 8), (8, 8, 8, 6, 4, 4), 4)
BOX = (12.0, 6.0, 44.0, 40.0)


class Detector:
    """A box that moves a pixel a frame; ``lost`` frames have none."""

    def __init__(self, lost: tuple[int, ...] = ()) -> None:
        self.lost, self.looked = lost, 0

    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        found = []
        for _ in frames:
            x1, y1, x2, y2 = BOX
            here = [(x1 + self.looked % 3, y1, x2 + self.looked % 3, y2, 0.9)] if self.looked not in self.lost else []
            found.append(np.array(here).reshape(-1, 5))
            self.looked += 1
        return found


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clip(tmp_path: Path) -> Made:
    return make_clip(tmp_path, "one", frames=12)


def loaded(detector: Detector | None = None, sizes: GeneratorSizes = SMALL, **settings: object) -> Wav2Lip:
    system = Wav2Lip(settings, SEEDED, detector or Detector(), sizes)
    system.load("cpu", "float32")
    return system


def run(system: Wav2Lip, *requests: object) -> list[Output | Failure]:
    return list(system.generate(requests))  # type: ignore[arg-type]


def video(result: Output | Failure) -> np.ndarray:
    assert isinstance(result, Output), result
    assert isinstance(result.video, np.ndarray)
    return result.video


def official(made: Made, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """The official loop in plain words, with the given final boxes."""
    frames = [frame[:, :, ::-1].copy() for frame in media.decode_video(made.clip.video).frames]  # type: ignore[arg-type]
    samples = media.decode_audio(made.clip.audio).samples  # type: ignore[arg-type]
    mel = mel_spectrogram(samples)
    network = fill_module(Wav2LipGenerator(), 2.0).eval()
    out = []
    for index, window in enumerate(windows(mel, window_starts(mel.shape[1], 25))):
        x1, y1, x2, y2 = boxes[index % len(boxes)]
        frame = frames[index % len(frames)].copy()
        face = cv2.resize(frame[y1:y2, x1:x2], (96, 96))
        masked = face.copy()
        masked[48:] = 0
        seen = np.concatenate([masked, face], axis=2) / 255.0
        with torch.no_grad():
            made_ = network(torch.tensor(window[None]), torch.tensor(seen.transpose(2, 0, 1)[None]).float())[0]
        levels = (made_.numpy().transpose(1, 2, 0) * 255.0).astype(np.uint8)
        frame[y1:y2, x1:x2] = cv2.resize(levels, (x2 - x1, y2 - y1))
        out.append(frame[:, :, ::-1])
    return np.stack(out)


def test_it_does_what_the_official_loop_does(clip: Made, tmp_path: Path) -> None:
    system = loaded(sizes=GeneratorSizes(), smooth=False, pads=[0, 3, 1, 2], batch_size=4)
    made = video(run(system, a2v(clip, tmp_path / "w"))[0])
    boxes = [(11 + i % 3, 6, 46 + i % 3, 43) for i in range(12)]
    expected = official(clip, boxes)
    assert made.shape == expected.shape
    assert made.dtype == np.uint8
    apart = np.abs(made.astype(int) - expected)
    assert apart.max() <= 1  # a level lies on either side of a cut by rounding
    assert apart.mean() < 0.01
    assert np.abs(made[0].astype(int) - media.decode_video(clip.clip.video).frames[0]).max() > 20  # type: ignore[arg-type]


def test_audio_decides_the_length_and_a_short_video_begins_anew(tmp_path: Path) -> None:
    short = make_clip(tmp_path, "short", frames=5)
    long = make_clip(tmp_path, "long", frames=30)
    detector = Detector()
    request = replace(a2v(short, tmp_path / "w"), audio=long.clip.audio.path, n_frames=None)  # type: ignore[union-attr]
    made = video(run(loaded(detector, smooth=False), request)[0])
    assert len(made) == len(window_starts(1 + 30 * 640 // 200, 25)) == 27
    assert detector.looked == 5
    outside = made[:, :, :11]  # left of the box: the video as it was
    for index in range(27):
        assert (outside[index] == outside[index % 5]).all()


def test_one_request_is_the_same_alone_and_in_company(clip: Made, tmp_path: Path) -> None:
    other = make_clip(tmp_path, "two", frames=7, size=(50, 70))
    requests = [a2v(clip, tmp_path / "a"), a2v(other, tmp_path / "b")]
    together = run(loaded(smooth=False), *requests)
    alone = run(loaded(smooth=False), requests[0])[0]
    assert (video(together[0]) == video(alone)).all()
    assert video(together[1]).shape[1:3] == (50, 70)


def test_faces_are_found_once_per_identity(clip: Made, tmp_path: Path) -> None:
    detector = Detector()
    system = loaded(detector)
    request = replace(a2v(clip, tmp_path / "w"), identity_key="same")
    first, second = run(system, request, replace(request, key="other"))
    assert detector.looked == len(video(first)) == 9
    assert (video(first) == video(second)).all()


def test_a_frame_without_a_face_fails_the_clip_or_stays_as_it_is(clip: Made, tmp_path: Path) -> None:
    request = a2v(clip, tmp_path / "w")
    failed = run(loaded(Detector(lost=(4,))), request)[0]
    assert failed == Failure("no_face", "1 of 9 frames without a face, frame 4 first")
    made = video(run(loaded(Detector(lost=tuple(range(4, 12))), face=0), request)[0])
    frames = media.decode_video(clip.clip.video).frames  # type: ignore[arg-type]
    assert (made[4:] == frames[4:9]).all()
    assert (made[:4] != frames[:4]).any()
    nothing = run(loaded(Detector(lost=tuple(range(12))), face=0), request)[0]
    assert isinstance(nothing, Failure)
    assert nothing.kind == "no_face"


def test_resize_factor_divides_and_rounds_down(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, "odd", frames=6, size=(98, 130))
    made = video(run(loaded(resize_factor=2), a2v(clip, tmp_path / "w"))[0])
    assert made.shape[1:] == (49, 65, 3)
    assert run(loaded(resize_factor=64), a2v(clip, tmp_path / "w"))[0].kind in {"no_face", "too_short"}  # type: ignore[union-attr]


def test_very_short_audio_and_missing_inputs(clip: Made, tmp_path: Path) -> None:
    path = tmp_path / "tick.wav"
    media.write_audio(path, Audio(np.full(160, 0.1, np.float32), 16_000))
    request = a2v(clip, tmp_path / "w")
    results = run(loaded(), replace(request, audio=path), replace(request, identity=None), replace(request, audio=None))
    assert len(video(results[0])) == 2
    assert [result.kind for result in results[1:] if isinstance(result, Failure)] == ["missing_reference"] * 2


def test_long_videos_lie_in_the_requests_folder(clip: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = a2v(clip, tmp_path / "w")
    usual = video(run(loaded(), request)[0])
    monkeypatch.setattr(redraw, "_IN_MEMORY", 1000)
    mapped = video(run(loaded(), request)[0])
    assert isinstance(mapped, np.memmap)
    assert (tmp_path / "w" / "frames.raw").stat().st_size == usual.nbytes
    assert (mapped == usual).all()


def test_settings() -> None:
    given = Wav2LipOptions(pads="1, 2,3 4", face="2", checkpoint="wav2lip_gan")  # type: ignore[arg-type]
    assert given.pads == (1, 2, 3, 4)
    assert given.face == 2
    assert Wav2Lip(given.model_dump(mode="json")).weights[0].name == "wav2lip_gan.pth"
    for wrong in ({"pads": "1,2,3"}, {"face": -1}, {"face": "all"}, {"resize_factor": 0}, {"batch": 3}):
        with pytest.raises(ValidationError):
            Wav2LipOptions(**wrong)  # type: ignore[arg-type]


def test_what_is_missing_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "none"))
    lines = Wav2Lip({}).missing()
    assert len(lines) == 2
    assert "wav2lip.pth" in lines[0]
    assert "s3fd.pth" in lines[1]
    assert all("bench weights add" in line for line in lines)
    assert len(Wav2Lip({"detector": "dlib"}).missing()) == 1
    assert {w.name for w in Wav2Lip.weights} >= {"lipsync_expert.pth", "visual_quality_disc.pth", "wav2lip_gan.pth"}


def test_the_package_detector_finds_nothing_in_a_gradient(clip: Made, tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    system = Wav2Lip({"detector": "dlib"}, SEEDED, sizes=SMALL)
    system.load("cpu", "float32")
    result = run(system, a2v(clip, tmp_path / "w"))[0]
    assert isinstance(result, Failure)
    assert result.kind == "no_face"


def test_an_unreadable_video(clip: Made, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(Source(clip.clip.video.path).path.read_bytes()[:600])  # type: ignore[union-attr]
    result = run(loaded(), replace(a2v(clip, tmp_path / "w"), identity=broken))[0]
    assert isinstance(result, Failure)
    assert result.kind == "decode_error"
