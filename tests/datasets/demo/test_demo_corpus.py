"""The corpus on disk: determinism, files, resuming, the data set over it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.datasets.demo.clip import MadeClip, make_clip
from bench.datasets.demo.corpus import manifest_rows, read_corpus, recipe_key
from bench.datasets.demo.dataset import Demo
from bench.datasets.demo.make import make_corpus
from bench.datasets.demo.sentences import plan_corpus
from bench.datasets.manifest import read_manifest
from bench.errors import DataError, UsageError
from bench.espeak import available
from bench.media import decode_audio, decode_video

pytestmark = pytest.mark.skipif(bool(available()), reason="espeak-ng is not installed")
CLIP = "s1-train-0001"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training clips, made by two processes."""
    root = tmp_path_factory.mktemp("demo-corpus") / "demo"
    make_corpus(root, size=2, splits=["train"], workers=2)
    return root


@pytest.fixture
def copy(corpus: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(corpus, tmp_path / "demo"))


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_a_clip_made_twice_is_equal(made: Callable[[str], MadeClip]) -> None:
    one = made("s1-val-0001")
    plan = next(plan for plan in plan_corpus()["val"] if plan.id == "s1-val-0001")
    make_clip(replace(plan, speaker="s5", n_frames=75))  # what is made in between must not matter
    other = make_clip(plan)
    assert one.golden_sha256() == other.golden_sha256()
    assert all(np.array_equal(one.sidecar[key], other.sidecar[key]) for key in one.sidecar)


def test_two_processes_make_the_same_corpus_as_one(corpus: Path, tmp_path: Path) -> None:
    make_corpus(tmp_path / "other", size=2, splits=["train"], workers=1)
    one, other = _files(corpus), _files(tmp_path / "other")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


def test_files_are_where_the_recipe_says(corpus: Path) -> None:
    assert sorted(_files(corpus)) == [
        "corpus.json",
        "manifest.csv",
        "manifest.json",
        "manifest.parquet",
        *(f"train/{s}/{s}-train-0001.{suffix}" for s in ("s1", "s2") for suffix in ("mp4", "npz", "txt", "wav")),
    ]


def test_media_on_disk_are_those_that_were_made(corpus: Path, made: Callable[[str], MadeClip]) -> None:
    clip = made(CLIP)
    video = decode_video(Demo(corpus, corpus.parent).clips("train")[0].video)  # type: ignore[arg-type]
    assert video.frames.shape == (75, 224, 224, 3)
    assert video.source_fps == 25 and not video.fps_converted
    assert np.abs(video.frames.astype(int) - clip.frames).mean() < 2.0
    audio = decode_audio(Demo(corpus, corpus.parent).clips("train")[0].audio)  # type: ignore[arg-type]
    assert audio.rate == 16_000
    np.testing.assert_allclose(audio.samples, clip.samples, atol=1.5 / 32767)
    assert (corpus / "train/s1" / f"{CLIP}.txt").read_text() == plan_corpus(2)["train"][0].transcript + "\n"


def test_sidecar_has_the_truth_in_the_documented_shapes(corpus: Path) -> None:
    with np.load(corpus / "train/s1" / f"{CLIP}.npz", allow_pickle=False) as arrays:
        shapes = {key: arrays[key].shape for key in arrays.files}
        words, times = arrays["words"], arrays["word_times"]
        phonemes = arrays["phoneme_times"]
    count = shapes["phonemes"][0]
    assert shapes == {
        "landmarks": (75, 68, 2),
        "mouth": (75, 6),
        "pose": (75, 5),
        "blink": (75,),
        "phonemes": (count,),
        "phoneme_times": (count, 2),
        "words": (6,),
        "word_times": (6, 2),
    }
    assert tuple(words) == plan_corpus(2)["train"][0].sentences[0]
    assert times[0, 0] >= 0.08 and times[-1, 1] <= 2.92
    assert (np.diff(phonemes[:, 0]) >= 0).all()


def test_manifest_and_corpus_json_agree(corpus: Path) -> None:
    known = read_corpus(corpus)
    manifest = read_manifest(corpus)
    assert manifest.rows == manifest_rows(known)
    assert manifest.header.splits == {"train": 2}
    content = json.loads((corpus / "corpus.json").read_text())
    assert content["counts"] == {"clips": 2, "frames": 150}
    assert content["golden_sha256"] == known.golden_sha256()
    assert {"numpy", "opencv", "scipy", "scikit-image", "soxr", "av", "espeakng-loader"} == set(
        next(iter(content["environments"].values()))
    )


def test_making_again_keeps_intact_clips_and_makes_damaged_ones(copy: Path, corpus: Path) -> None:
    assert make_corpus(copy, size=2, splits=["train"]).made == 0
    (copy / "train/s1" / f"{CLIP}.wav").write_bytes(b"damaged")
    summary = make_corpus(copy, size=2, splits=["train"], workers=1)
    assert (summary.made, summary.kept) == (1, 1)
    assert (copy / "train/s1" / f"{CLIP}.wav").read_bytes() == (corpus / "train/s1" / f"{CLIP}.wav").read_bytes()


def test_an_interrupted_make_goes_on(copy: Path) -> None:
    """What a kill leaves: finished clips in the journal (its last line torn), no corpus.json."""
    content = json.loads((copy / "corpus.json").read_text())
    lines = [json.dumps({"id": clip_id, **record}) for clip_id, record in content["clips"].items()]
    (copy / ".making.jsonl").write_text(f"{lines[0]}\n{lines[1][:40]}")
    for name in ("corpus.json", "manifest.json", "manifest.csv", "manifest.parquet"):
        (copy / name).unlink()
    summary = make_corpus(copy, size=2, splits=["train"], workers=1)
    assert (summary.made, summary.kept) == (1, 1)
    assert not (copy / ".making.jsonl").exists()
    assert json.loads((copy / "corpus.json").read_text())["golden_sha256"] == content["golden_sha256"]


def test_a_smaller_train_leaves_the_index_and_comes_back_without_work(copy: Path) -> None:
    make_corpus(copy, size=1, splits=["train"])
    assert [clip.id for clip in Demo(copy, copy.parent).clips("train")] == [CLIP]
    assert make_corpus(copy, size=2, splits=["train"]).made == 0


def test_clips_are_complete(corpus: Path, tmp_path: Path) -> None:
    clips = Demo(corpus, tmp_path).clips("train")
    assert [clip.id for clip in clips] == ["s1-train-0001", "s2-train-0001"]
    clip = clips[0]
    assert (clip.speaker, clip.n_frames, clip.width, clip.height) == ("s1", 75, 224, 224)
    assert clip.transcript == plan_corpus(2)["train"][0].transcript
    assert clip.video is not None and clip.video.path.suffix == ".mp4" and clip.video.path.is_file()
    assert clip.audio is not None and clip.audio.path.suffix == ".wav" and clip.audio.path.is_file()
    assert len({c.content_sha256 for c in clips}) == 2


def test_a_root_may_be_the_parent(corpus: Path, tmp_path: Path) -> None:
    (corpus.parent / "lrs3").mkdir(exist_ok=True)
    here, parent = Demo(corpus, tmp_path), Demo(corpus.parent, tmp_path)
    assert parent.folder == corpus
    assert here.content_sha256("train") == parent.content_sha256("train")


def test_without_a_root_it_lies_in_the_cache(tmp_path: Path) -> None:
    assert Demo(None, tmp_path).folder == tmp_path / "demo" / recipe_key(0)
    assert recipe_key(0) != recipe_key(1)


def test_a_changed_file_is_noticed(copy: Path, tmp_path: Path) -> None:
    assert len(Demo(copy, tmp_path).clips("train")) == 2
    path = copy / "train/s2/s2-train-0001.mp4"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DataError, match=r"s2-train-0001.*another content") as error:
        Demo(copy, tmp_path).clips("train")
    assert "bench data make demo" in error.value.hint


def test_corpus_that_was_not_made_says_how_to_make_it(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(DataError, match="not been made") as error:
        Demo(None, tmp_path).clips("test")
    assert "bench data make demo" in error.value.hint
    with pytest.raises(DataError, match="'test'") as error:
        Demo(corpus, tmp_path).clips("test")
    assert "--splits test" in error.value.hint


def test_wrong_names_and_another_seed_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tset") as error:
        Demo(corpus, tmp_path).clips("tset")
    assert "test" in error.value.hint
    with pytest.raises(UsageError, match="trian"):
        make_corpus(corpus, splits=["trian"])
    with pytest.raises(UsageError, match=r"seed 0.*seed 5"):
        make_corpus(corpus, size=2, seed=5)
    with pytest.raises(UsageError, match="workers"):
        make_corpus(tmp_path / "new", size=1, splits=["train"], workers=0)


def test_damaged_corpus_json_is_an_error_with_a_remedy(copy: Path, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"schema": "other"}', '{"schema": "bench-demo-1"}'):
        (copy / "corpus.json").write_text(text)
        with pytest.raises(DataError, match=r"corpus\.json") as error:
            Demo(copy, tmp_path).clips("train")
        assert "bench data make demo" in error.value.hint


def test_unwritable_folder_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        make_corpus(tmp_path / "file" / "demo", size=1, splits=["train"], workers=1)


def test_check_is_clean_on_a_clean_corpus_and_names_each_defect(copy: Path, tmp_path: Path) -> None:
    report = Demo(copy, tmp_path).check(None)
    assert report.issues == ()
    assert report.splits["train"]["ok"] == 2
    assert report.content_sha256 == Demo(copy, tmp_path).content_sha256("train")
    (copy / "train/s1" / f"{CLIP}.txt").unlink()
    video = copy / "train/s2/s2-train-0001.mp4"
    video.write_bytes(video.read_bytes()[:5000])
    report = Demo(copy, tmp_path).check("train")
    assert {(issue.code, issue.where) for issue in report.issues} >= {
        ("missing-text", CLIP),
        ("changed", "s2-train-0001"),
    }
    assert report.splits["train"]["bad"] == 2
    assert report.content_sha256 is None


def test_check_of_a_corpus_that_was_not_made_is_a_report(tmp_path: Path) -> None:
    report = Demo(None, tmp_path).check(None)
    assert [issue.code for issue in report.issues] == ["root-layout"]


def test_progress_counts_every_clip(copy: Path) -> None:
    calls: list[tuple[int, int]] = []
    (copy / "train/s1" / f"{CLIP}.mp4").unlink()
    make_corpus(copy, size=2, splits=["train"], workers=1, progress=lambda done, total, _: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


def test_frames_strip_is_a_picture_of_the_clip(corpus: Path, tmp_path: Path) -> None:
    from bench.datasets.demo.strip import frames_strip
    from bench.media import read_png

    frames_strip(corpus / "train/s1" / f"{CLIP}.mp4", tmp_path / "strip.png", count=4, width=112)
    picture = read_png(tmp_path / "strip.png")
    assert picture.shape[1:] == (448, 3)
    assert np.abs(np.diff(picture[:112].reshape(112, 4, 112, 3).astype(int), axis=1)).mean() > 1
    with pytest.raises(DataError, match="is missing"):
        frames_strip(tmp_path / "none.mp4", tmp_path / "strip.png")
