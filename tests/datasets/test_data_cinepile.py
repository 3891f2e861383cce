"""CinePile: cuts by a manifest, the tree of the own selection; trees made of demo clips."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import trees

from bench.api import Audio, Source, UsageError
from bench.datasets.cinepile import CinePile
from bench.datasets.lrs2 import Lrs2
from bench.datasets.lrs3 import Lrs3

FILM_S = 6.0


def test_a_film_of_24_fps_is_cut_to_exact_frames_and_samples(cinepile, cache: Path) -> None:  # type: ignore[no-untyped-def]
    from bench.media import decode_audio, decode_video

    found = {clip.id: clip for clip in CinePile(cinepile[0], cache).clips("test")}
    expected = {
        "test/raw-film_0001/00000500-00001700-crop80-20-160-160": (30, 57_600, 160, 160, "HELLO THERE"),
        "test/raw-film_0001/00002250-00003750": (38, 72_000, 320, 180, "WE DON'T NEED 2"),
        "test/raw-film_0001/00004000-end-crop110-70-100-101": (50, None, 100, 101, None),
    }
    assert set(found) == set(expected)
    for clip_id, (frames, samples, width, height, words) in expected.items():
        clip = found[clip_id]
        assert (clip.n_frames, clip.width, clip.height, clip.transcript) == (frames, width, height, words)
        assert clip.video is not None and clip.audio is not None
        assert decode_video(clip.video).frames.shape == (frames, height, width, 3)
        audio = decode_audio(clip.audio)
        assert audio.rate == 48_000 and audio.samples.ndim == 1
        if samples is not None:
            assert len(audio.samples) == samples


def test_cuts_show_what_the_film_shows_then(cinepile, cache: Path) -> None:  # type: ignore[no-untyped-def]
    from bench.media import decode_video

    film = decode_video(Source(cinepile[0] / "films/raw-film_0001.mp4")).frames
    clip = next(c for c in CinePile(cinepile[0], cache).clips("test") if "crop80" in c.id)
    assert clip.video is not None
    cut = decode_video(clip.video).frames.astype(int)
    there = film[12:42, 20:180, 80:240].astype(int)  # 0.5 s is half way between frames 12 and 13 of the grid
    later = film[13:43, 20:180, 80:240].astype(int)
    assert min(np.abs(cut - there).mean(), np.abs(cut - later).mean()) < 1.0


def test_speakers_of_two_films_are_two(cinepile, cache: Path) -> None:  # type: ignore[no-untyped-def]
    dataset = CinePile(cinepile[0], cache)
    cuts = dataset.clips("test")
    assert {clip.speaker for clip in cuts} == {"Three Shots/ann", "Three Shots/bob"}
    assert {clip.group for clip in cuts} == {"Three Shots"} and cuts[0].extra["lang"] == "en"
    tree = dataset.clips("oodface-v1")
    assert [clip.id for clip in tree] == sorted(cinepile[1])
    assert {clip.speaker for clip in tree} == {"A Film 0/s0", "A Film 1/s1"}
    assert tree[0].extra["Start"] == "1.0"


def test_content_follows_the_cut(cinepile, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = trees.copy_tree(cinepile[0], tmp_path / "data")
    before = CinePile(root, cache)
    old = {clip.n_frames: clip.content_sha256 for clip in before.clips("test")}
    path = root / "manifest.csv"
    path.write_text(path.read_text().replace("2.25,3.75", "2.25,3.79"))
    after = CinePile(root, cache)
    assert after.content_sha256("test") != before.content_sha256("test")
    assert len({clip.content_sha256 for clip in after.clips("test")} & set(old.values())) == 2


def test_what_the_manifest_asks_for_in_vain(cinepile, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = trees.copy_tree(cinepile[0], tmp_path / "data")
    (root / "expected.json").unlink()
    (root / "manifest.csv").write_text(
        "video_id,start,end,crop\nraw-film_0001,5,9,\nabsent-film,0,1,\nraw-film_0001,0,1,\"300,0,100,100\"\nraw-film_0001,7,8,\n"
    )  # fmt: skip
    report = CinePile(root, cache).check("test")
    found = {(issue.where.split("/")[2], issue.code) for issue in report.issues}
    assert found == {
        ("00005000-00009000", "truncated"),
        ("00000000-00001000", "missing-video"),
        ("00000000-00001000-crop300-0-100-100", "manifest"),
        ("00007000-00008000", "truncated"),
    }
    assert len(CinePile(root, cache).clips("test")) == 4


def test_two_files_of_one_stem_need_a_path(cinepile, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = trees.copy_tree(cinepile[0], tmp_path / "data")
    shutil.copy(root / "films/raw-film_0001.mp4", root / "raw-film_0001.mp4")
    report = CinePile(root, cache).check("test")
    assert {issue.code for issue in report.issues} == {"manifest", "count"}
    assert "several files" in next(issue.detail for issue in report.issues if issue.code == "manifest")


def test_tree_alone_and_manifest_alone(cinepile, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = trees.copy_tree(cinepile[0], tmp_path / "cinepile")
    (root / "manifest.csv").rename(root / "cinepile.csv")
    assert len(CinePile(tmp_path, cache).clips("test")) == 3
    (root / "cinepile.csv").unlink()
    assert len(CinePile(tmp_path, cache).clips("oodface-v1")) == 4
    with pytest.raises(UsageError) as caught:
        CinePile(tmp_path, cache).clips("test")
    assert "oodface-v1" in caught.value.hint


def test_says_that_the_published_subset_is_not_distributed() -> None:
    assert "not distributed" in CinePile.notes and "cinepile/oodface-v1" in CinePile.notes


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of the demo's shape: <split>/<speaker>/<clip>.mp4, .wav, .txt."""
    from bench.media import write_audio, write_video

    root = tmp_path_factory.mktemp("demo")
    for speaker in ("s1", "s2"):
        for number in range(2):
            clip = trees.Clip(f"{speaker}{number}", speaker, (224, 224), 30 + number)
            stem = root / "test" / speaker / f"{speaker}-test-{number:03d}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            write_video(stem.with_suffix(".mp4"), trees.pictures(clip))
            write_audio(stem.with_suffix(".wav"), Audio(trees.sound(clip)[0], 16_000))
            stem.with_suffix(".txt").write_text("bin blue at f two now\n")
    return root


@pytest.mark.parametrize(("kind", "dataset"), [("lrs3", Lrs3), ("lrs2", Lrs2), ("cinepile", CinePile)])
def test_trees_of_demo_clips_are_usable(kind: str, dataset, demo: Path, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    made = trees.demo_tree(kind, demo, tmp_path / kind)
    data = dataset(tmp_path, cache)
    clips = data.clips("test")
    assert [clip.id for clip in clips] == made
    assert sorted(clip.n_frames for clip in clips) == [30, 30, 31, 31]
    report = data.check("test")
    assert report.issues == ()
    expected = "bin blue at f two now" if kind == "cinepile" else "BIN BLUE AT F TWO NOW"
    assert {clip.transcript for clip in clips} == {expected}
    assert len({clip.identity for clip in clips}) == 2
    size = {"lrs3": 224, "lrs2": 160, "cinepile": 200}[kind]
    assert {(clip.width, clip.height) for clip in clips} == {(size, size)}
