"""``folder``: trees and manifests of users, safe ids, all errors at once."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import trees

from bench.api import Audio, Clip, DataError, UsageError
from bench.datasets import ids
from bench.datasets.check_render import render_text
from bench.datasets.folder import Folder
from bench.datasets.manifest import make_header, write_manifest

CLIP = trees.Clip("k", "g", (96, 96), 26)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    trees.write_media(path, CLIP)
    return path


@pytest.fixture
def put(media: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    root = tmp_path / "data"
    root.mkdir()

    def place(name: str, text: str | None = None) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media, path)
        if text is not None:
            path.with_suffix(".txt").write_text(text, encoding="utf-8")
        return root

    return place


def clips(root: Path, cache: Path, split: str = "test") -> dict[str, Clip]:
    return {clip.id: clip for clip in Folder(root, cache).clips(split)}


def codes(root: Path, cache: Path) -> set[str]:
    return {issue.code for issue in Folder(root, cache).check(None).issues}


def test_any_tree_of_videos(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    put("a.mp4", "Plain words, as said.")
    put("sub folder/it's b.mp4", "Text:  UPPER {NS} HEAD\nConf:  3\n")
    root = put("sub folder/deep/c.MP4")
    (root / "README.txt").write_text("no clip")
    (root / ".hidden.mp4").write_bytes(b"")
    found = clips(root, cache)
    assert list(found) == ["a", "sub folder/deep/c", "sub folder/it's b"]
    assert found["a"].transcript == "Plain words, as said." and found["a"].group is None
    assert found["sub folder/it's b"].transcript == "UPPER HEAD" and found["sub folder/it's b"].group == "sub folder"
    assert found["sub folder/deep/c"].transcript is None
    assert all(clip.n_frames == 26 and clip.audio == clip.video for clip in found.values())
    assert codes(root, cache) == {"duplicate"}  # three copies of one file


def test_sound_beside_the_video_is_used(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    from bench.media import write_audio

    root = put("a.mp4", "x")
    samples = 0.1 * np.sin(np.arange(22_050 * 26 // 25) / 9).astype(np.float32)
    write_audio(root / "a.wav", Audio(samples, 22_050))
    dataset = Folder(root, cache)
    (clip,) = dataset.clips("test")
    assert clip.audio is not None and clip.audio.path == root / "a.wav"
    (row,) = dataset.rows("test")
    assert (row.sample_rate, row.channels, row.n_samples, row.audio_path) == (22_050, 1, 22_050 * 26 // 25, "a.wav")
    before = dataset.content_sha256("test")
    write_audio(root / "a.wav", Audio(samples * 0.5, 22_050))
    assert Folder(root, cache).content_sha256("test") != before
    assert codes(root, cache) == set()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.mp4", "U+000A"),
        ("a\tb.mp4", "U+0009"),
        ("back\\slash.mp4", "backslash"),
        (" lead.mp4", "blank"),
        ("sub/trail /a.mp4", "blank"),
        ("zero\u200bwidth.mp4", "U+200B"),
        ("right\u202eleft.mp4", "U+202E"),
    ],
)
def test_unsafe_names_are_refused(put, cache: Path, name: str, shown: str) -> None:  # type: ignore[no-untyped-def]
    put("fine.mp4")
    root = put(name)
    with pytest.raises(DataError) as caught:
        clips(root, cache)
    assert shown in caught.value.message and "1 entry cannot be used" in caught.value.message
    report = Folder(root, cache).check(None)
    assert [issue.code for issue in report.issues] == ["name"]
    assert name[:-4] not in render_text(report) or name[:-4].isprintable()


def test_names_that_are_no_utf8_are_refused(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("fine.mp4")
    shutil.copy(root / "fine.mp4", os.fsencode(root) + b"/b\xff.mp4")
    with pytest.raises(DataError, match=r"U\+DCFF"):
        clips(root, cache)
    assert codes(root, cache) == {"name"}


@pytest.mark.parametrize(
    ("one", "other"), [("A", "a"), ("ﬁlm", "film"), ("ａ", "a"), ("straße", "STRASSE"), ("é", "É")]
)
def test_names_that_look_alike_are_refused_by_both_names(put, cache: Path, one: str, other: str) -> None:  # type: ignore[no-untyped-def]
    put(f"{one}.mp4")
    root = put(f"{other}.mp4")
    if len(list(root.iterdir())) < 2:
        pytest.skip("this file system takes the two names as one")
    with pytest.raises(DataError) as caught:
        clips(root, cache)
    assert "looks like" in caught.value.message
    assert all(ids.printable(name) in caught.value.message for name in (one, other))


def test_ids_are_composed_unicode(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    name = unicodedata.normalize("NFD", "café")
    assert list(clips(put(f"{name}.mp4"), cache)) == ["café"]


def test_more_than_ten_bad_names_are_counted(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    for i in range(13):
        root = put(f"a\x01{i}.mp4")
    with pytest.raises(DataError, match=r"13 entries(.|\n)*and 3 more"):
        clips(root, cache)


@pytest.mark.parametrize("bad", ["../x", "/etc/x", "a//b", "a/./b", "a\0b", "", "x" * 401, ".."])
def test_ids_that_leave_their_folder(bad: str) -> None:
    assert ids.problem(bad)


@pytest.mark.parametrize("good", ["a", "a b/c'd\"e", "ÄÖ/話", "-x/_y", "a.b", "=1+1", "x;rm -rf", "$(x)"])
def test_ids_that_are_unusual_but_safe(good: str) -> None:
    assert ids.problem(good) == ""


def test_csv_manifest(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    put("m/one.mp4", "beside")
    root = put("m/two.mp4")
    (root / "manifest.csv").write_text(
        "\ufeffvideo,transcript,speaker,split,clip_id,start,end,crop,mood\r\n"
        'm/one.mp4,"Hello, you",ann,,,,,,\r\n'
        'm/one.mp4,part,ann,val,,0.2,0.6,"0,0,48,40",glad\r\n'
        "m/one.mp4,,ben,val,my/id,,,,\r\n"
        "m/two.mp4,,,,,,,,\r\n",
        encoding="utf-8",
    )
    test = clips(root, cache)
    assert list(test) == ["m/one", "m/two"]
    assert (test["m/one"].transcript, test["m/one"].speaker, test["m/two"].transcript) == ("Hello, you", "ann", None)
    val = clips(root, cache, "val")
    assert list(val) == ["m/one/00000200-00000600-crop0-0-48-40", "my/id"]
    cut = val["m/one/00000200-00000600-crop0-0-48-40"]
    assert (cut.n_frames, cut.width, cut.height, dict(cut.extra)) == (10, 48, 40, {"mood": "glad"})
    assert val["my/id"].transcript == "beside" and val["my/id"].n_frames == 26
    report = Folder(root, cache).check(None)
    assert set(report.splits) == {"test", "val"} and report.count("error") == 0
    given = Folder(root / "manifest.csv", cache)
    assert [clip.id for clip in given.clips("test")] == list(test)
    with pytest.raises(UsageError, match="no split"):
        given.clips("train")


def test_changed_manifest_changes_clips(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("a.mp4")
    (root / "manifest.csv").write_text("path,transcript,speaker\na.mp4,one,s1\n")
    first = Folder(root, cache)
    assert (clips(root, cache)["a"].transcript, first.clips("test")[0].speaker) == ("one", "s1")
    (root / "manifest.csv").write_text("path,transcript,speaker\na.mp4,two,s2\n")
    assert (clips(root, cache)["a"].transcript, clips(root, cache)["a"].speaker) == ("two", "s2")
    assert Folder(root, cache).content_sha256("test") != first.content_sha256("test")


def test_parquet_manifest(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("a.mp4")
    table = pyarrow.table(
        {
            "path": ["a.mp4", "a.mp4"],
            "start": [0.0, None],
            "end": [0.4, float("nan")],
            "clip_id": ["x", "y"],
            "n": [1, 2],
        }
    )
    pyarrow.parquet.write_table(table, root / "manifest.parquet")
    found = clips(root, cache)
    assert (found["x"].n_frames, found["y"].n_frames, found["x"].extra["n"]) == (10, 26, "1")


def test_a_manifest_of_our_own_is_read(put, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("test/s1/a.mp4", "some words")
    rows = Folder(root, cache).rows("test")
    write_manifest(root, rows, make_header("mine", "mine", rows))
    found = clips(root, cache)
    assert list(found) == ["test/s1/a"] and found["test/s1/a"].transcript == "some words"
    assert found["test/s1/a"].extra == {}


def test_all_errors_of_a_manifest_are_told_at_once(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("a.mp4")
    (root / "manifest.csv").write_text(
        "path,start,end,crop,clip_id,audio\n"
        "a.mp4,x,,,one,\n"
        "a.mp4,2,1,,two,\n"
        "a.mp4,,,\"1,2,3\",three,\n"
        "a.mp4,,,\"0,0,0,9\",four,\n"
        ",,,,five,\n"
        "a.mp4,,,,../six,\n"
        "a.mp4,,,,seven,\n"
        "a.mp4,,,,Seven,\n"
        "a.mp4,inf,,,eight,\n"
        "a.mp4,,,,nine,gone.wav\n"
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        clips(root, cache)
    message = caught.value.message
    lines = ("2: start is 'x'", "3: end 1", "4: crop", "5: crop", "6: neither", "10: start is 'inf'")
    for part in (*(f"manifest.csv:{line}" for line in lines), "../six", "looks like seven", "gone.wav"):
        assert part in message
    assert codes(root, cache) == {"manifest", "name"}


def test_files_that_a_manifest_names_in_vain(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("a.mp4")
    (root / "manifest.csv").write_text("path,text_path\na.mp4,\ngone.mp4,\nb\0.mp4,\n".replace("\0", ""))
    found = clips(root, cache)
    assert found["gone"].video is None and found["a"].video is not None
    assert codes(root, cache) == {"missing-video"}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no rows"),
        (b"path\n", "no rows"),
        (b"name,words\nx,y\n", "no column that names the video"),
        (b"path,transcrpt\na.mp4,x\n", "did you mean 'transcript'"),
        (b"path\na.mp4,extra,cells\n", "more cells"),
        (b"path\n\xff\xfe\n", "cannot be read"),
    ],
)
def test_manifests_that_cannot_be_read(put, cache: Path, content: bytes, part: str) -> None:  # type: ignore[no-untyped-def]
    root = put("a.mp4")
    (root / "manifest.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        clips(root, cache)
    assert part in str(caught.value)
    assert [issue.code for issue in Folder(root, cache).check(None).issues] == ["manifest"]


def test_broken_parquet_and_two_manifests(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("a.mp4")
    (root / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        clips(root, cache)
    (root / "manifest.csv").write_text("path\na.mp4\n")
    with pytest.raises(DataError, match="several manifests"):
        clips(root, cache)


def test_empty_folder_and_file_as_root(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match="no folder data"):
        Folder(tmp_path, cache).clips("test")
    (tmp_path / "x.bin").write_bytes(b"1")
    with pytest.raises(UsageError):
        Folder(tmp_path / "x.bin", cache).clips("test")


def test_broken_videos_are_clips_and_findings(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    put("good.mp4")
    root = put("zero.mp4")
    (root / "zero.mp4").write_bytes(b"")
    (root / "noise.mp4").write_bytes(os.urandom(5000))
    (root / "empty text.mp4").write_bytes((root / "good.mp4").read_bytes() + b"\0")
    (root / "empty text.txt").write_text("\n")
    found = clips(root, cache)
    assert [found[name].n_frames for name in ("good", "noise", "zero")] == [26, 0, 0]
    assert found["zero"].video is not None and found["empty text"].transcript == ""
    issues = {(issue.where, issue.code) for issue in Folder(root, cache).check(None).issues}
    assert issues == {("zero", "empty"), ("noise", "undecodable"), ("empty text", "text-head")}


def test_a_loop_of_links_ends(put, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = put("sub/a.mp4")
    (root / "sub" / "loop").symlink_to(root, target_is_directory=True)
    assert list(clips(root, cache)) == ["sub/a"]
