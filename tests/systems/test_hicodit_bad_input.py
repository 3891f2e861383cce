"""Films that ``hicodit`` should not be given, through dlib and the small lip reader: by rule, each clip by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hicodit_small import HOP, RATE, asked, faces, film, gradient, loaded, own_weights, portrait, sound, spoken

from bench import cli, media
from bench.api import Audio, Failure
from bench.stage import Staging, stage
from bench.store import Store
from bench.systems.hicodit import landmarks
from bench.systems.hicodit.extract import TinyExtractor
from bench.systems.hicodit.system import HiCoDiTSystem

pytest.importorskip("dlib")


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def system(folder: Path) -> Iterator[HiCoDiTSystem]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        yield loaded(folder)


@pytest.fixture(scope="module")
def good(folder: Path) -> Path:
    return film(folder / "good.mp4", faces(25))


def failed(result: object, kind: str) -> str:
    assert isinstance(result, Failure), result
    assert result.kind == kind
    return result.detail


def test_no_face_fails_alone(system: HiCoDiTSystem, folder: Path, good: Path) -> None:
    bad, fine = system.generate([asked(gradient(folder, 12, "blank")), asked(good, 25)])
    assert "12 frames" in failed(bad, "no_face")
    assert len(sound(fine)) == 25 * HOP


@pytest.mark.parametrize("hidden", [slice(0, 8), slice(9, 16), slice(20, None), slice(1, None)], ids=str)
def test_a_face_that_is_lost_for_some_frames_is_filled_in(system: HiCoDiTSystem, tmp_path: Path, hidden: slice) -> None:
    path = film(tmp_path / "lost.mp4", faces(25, hidden))
    (made,) = system.generate([asked(path, 25)])
    assert len(sound(made)) == 25 * HOP
    assert system._pipeline is not None
    seen = system._pipeline._front.seen(path, None)
    assert seen.lost == len(range(25)[hidden])


@pytest.mark.parametrize("frames", [1, 7, 8])
def test_a_third_of_a_second(system: HiCoDiTSystem, tmp_path: Path, frames: int) -> None:
    (made,) = system.generate([asked(film(tmp_path / "brief.mp4", faces(frames)), frames)])
    assert len(sound(made)) == frames * HOP


def test_a_clip_of_several_windows(system: HiCoDiTSystem, tmp_path: Path, good: Path) -> None:
    path = film(tmp_path / "long.mp4", faces(130))
    long, short = system.generate([asked(path, 130), asked(good, 25)])
    assert len(sound(long)) == 130 * HOP
    (alone,) = system.generate([asked(good, 25)])
    np.testing.assert_allclose(sound(short), sound(alone), rtol=0, atol=1e-6)


@pytest.mark.parametrize("fps", [10, 24, 30, 50])
def test_other_frame_rates(system: HiCoDiTSystem, tmp_path: Path, fps: int) -> None:
    path = film(tmp_path / "rate.mp4", faces(fps), fps)
    staged = stage(Staging("k", "vts", 7, video=media.Source(path)), tmp_path / "work")
    (made,) = system.generate([staged])
    assert abs(len(sound(made)) - RATE) <= HOP  # a second, to the frame


def test_a_grey_video_shows_the_same_lips(system: HiCoDiTSystem, tmp_path: Path) -> None:
    colour = faces(12)
    grey = (colour @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)[..., None].repeat(3, axis=-1)
    paths = [film(tmp_path / f"{name}.mp4", some) for name, some in (("colour", colour), ("grey", grey))]
    (made,) = system.generate([asked(paths[1], 12)])
    assert len(sound(made)) == 12 * HOP
    crops = [TinyExtractor().extract(media.Media(media.Source(path), None, "")).lip for path in paths]
    assert np.corrcoef(crops[0].ravel(), crops[1].ravel())[0, 1] > 0.97
    assert np.corrcoef(crops[0].ravel(), crops[1][:, ::-1].ravel())[0, 1] < 0.9  # the measure can fail


@pytest.mark.parametrize(("rows", "kind"), [(slice(84, 96), None), (slice(40, None), "no_face")], ids=str)
def test_a_covered_mouth_is_read_for_what_it_shows(
    system: HiCoDiTSystem, tmp_path: Path, rows: slice, kind: str | None
) -> None:
    """While the face is found there is speech, of the right length: landmarks do not tell whether a mouth is seen."""
    covered = faces(12)
    covered[:, rows] = 0
    (made,) = system.generate([asked(film(tmp_path / "covered.mp4", covered), 12)])
    if kind is None:
        assert len(sound(made)) == 12 * HOP
    else:
        failed(made, kind)


def test_a_mouth_beyond_the_picture_is_no_mouth(
    system: HiCoDiTSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In some frames it is as if no face were there; in all of them there is none."""
    found = iter(range(24))
    fit = landmarks.landmarks

    def sunken(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        return fit(picture, box) + (np.array([0, 200]) if next(found) >= 4 else 0)

    monkeypatch.setattr(landmarks, "landmarks", sunken)
    some, none = (film(tmp_path / f"{name}.mp4", faces(count)) for name, count in (("some", 12), ("none", 8)))
    made, bad = system.generate([asked(some, 12), asked(none, 8)])
    assert len(sound(made)) == 12 * HOP
    failed(bad, "no_face")
    assert system._pipeline is not None
    assert system._pipeline._front.seen(some, None).lost == 8


@pytest.mark.parametrize("size", [(16, 16), (32, 640), (640, 32)], ids=str)
def test_pictures_of_odd_sizes(system: HiCoDiTSystem, tmp_path: Path, good: Path, size: tuple[int, int]) -> None:
    bad, fine = system.generate(
        [asked(film(tmp_path / "odd.mp4", np.full((4, *size, 3), 90, np.uint8)), 4), asked(good, 25)]
    )
    failed(bad, "no_face")
    assert len(sound(fine)) == 25 * HOP


def test_two_faces_the_larger_one_speaks(system: HiCoDiTSystem, tmp_path: Path) -> None:
    two = np.full((8, 200, 320, 3), 127, np.uint8)
    two[:, 20:180, 10:170] = portrait(160)
    two[:, 60:160, 200:300] = portrait(100)
    (made,) = system.generate([asked(film(tmp_path / "two.mp4", two), 8)])
    assert len(sound(made)) == 8 * HOP


def test_broken_and_absent_files_fail_alone(system: HiCoDiTSystem, tmp_path: Path, good: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    media.write_audio(tmp_path / "sound.wav", Audio(np.zeros(RATE, np.float32), RATE))
    *bad, fine = system.generate(
        [
            asked(tmp_path / "broken.mp4"),
            asked(tmp_path / "gone.mp4"),
            asked(tmp_path / "sound.wav"),
            asked(None),
            asked(good, 25),
        ]
    )
    assert all(isinstance(result, Failure) and result.detail for result in bad)
    failed(bad[-1], "missing_reference")
    assert len(sound(fine)) == 25 * HOP


def test_voices_that_say_nothing(tmp_path: Path, good: Path) -> None:
    system = loaded(tmp_path, mode="audio")
    (tmp_path / "none.wav").write_bytes(b"no sound")
    voices = {
        "too_short": spoken(tmp_path, 0.05, name="brief"),
        "silent_audio": spoken(tmp_path, gain=0.0, name="silent"),
    }
    for kind, path in voices.items():
        bad, fine = system.generate([asked(good, 25, voice=path), asked(good, 25, voice=spoken(tmp_path))])
        failed(bad, kind)
        assert len(sound(fine)) == 25 * HOP
    (none,) = system.generate([asked(good, 25, voice=tmp_path / "none.wav")])
    assert isinstance(none, Failure)


def test_what_was_seen_is_kept_and_paid_for(tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.systems.hicodit import extract

    system = loaded(tmp_path)
    looked, charged = [], []
    find = extract.find_points
    monkeypatch.setattr(extract, "find_points", lambda chunks: looked.append(1) or find(chunks))
    monkeypatch.setattr(extract, "charge", charged.append)
    first, again = (system.generate([asked(good, 25)])[0] for _ in range(2))
    np.testing.assert_array_equal(sound(first), sound(again))
    assert len(looked) == len(charged) == 1
    assert charged[0] > 0


def test_own_weights_are_read_from_where_they_lie(tmp_path: Path, good: Path) -> None:
    one = loaded(tmp_path)
    (tmp_path / "b").mkdir()
    other = HiCoDiTSystem({"tier": "embedded", **own_weights(tmp_path / "b", seed=4)})
    other.load("cpu", "float32")
    (a,), (b,) = one.generate([asked(good, 25)]), other.generate([asked(good, 25)])
    assert np.abs(sound(a) - sound(b)).max() > 1e-2


def test_through_the_harness_every_clip_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    root, out = tmp_path / "tree" / "ann", tmp_path / "store"
    root.mkdir(parents=True)
    pictures = {"face": faces(10), "grey": np.full((10, 64, 64, 3), 127, np.uint8), "lost": faces(10, slice(0, 4))}
    for name, film_of in pictures.items():
        media.write_video(root / f"{name}.mp4", film_of, audio=Audio(np.full(10 * HOP, 0.1, np.float32), RATE))
    own = [part for key, path in own_weights(tmp_path).items() for part in ("--set", f"hicodit.{key}={path}")]
    command = ["run", "-q", "-s", "hicodit", "--dataset", "folder", "--data-root", str(root.parent), "--task", "vts"]
    command += ["--workers", "0", "--metrics", "duration", "--out", str(out), "--set", "hicodit.tier=embedded", *own]
    assert cli.invoke(command) == 0
    with Store.open(out, write=False) as store:
        (run,) = store.runs(task="vts")
        assert run.tier == "embedded"
        rows = store.outputs(run.id)
    assert {name: row.kind or "ok" for name, row in rows.items()} == {
        "ann/face": "ok",
        "ann/grey": "no_face",
        "ann/lost": "ok",
    }
