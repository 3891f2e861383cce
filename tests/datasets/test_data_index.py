"""Manifest and index: equal bytes, changes noticed, interrupted builds, many rows."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trees

from bench.api import DataError, Source, UsageError
from bench.datasets import facts, index
from bench.datasets.files import HashCache, file_sha256
from bench.datasets.lrs2 import Lrs2
from bench.datasets.lrs3 import Lrs3
from bench.datasets.manifest import (
    COLUMNS,
    ClipRow,
    clip_of,
    content_sha256,
    make_header,
    read_manifest,
    write_manifest,
)

OLD = 1_600_000_000  # seconds: long ago


def age(root: Path) -> None:
    """Make files look as if written long ago, so that their hashes may be trusted."""
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD))


def row(number: int, **changes: object) -> ClipRow:
    known = ClipRow(
        f"test/group{number // 10:06d}/{number % 10:05d}", "lrs3", "test", "v.mp4", "v.txt", f"group{number // 10:06d}",
        text_raw="SO", text_norm="SO", conf=4, n_words=1, n_frames=50, fps=25.0, width=224, height=224,
        n_samples=32_768, sample_rate=16_000, channels=1, av_gap_frames=1.25, dur_s=2.0, bytes=9,
        sha256=f"{number:064x}", text_sha256=f"{number + 1:064x}", n_grid=50,
    )  # fmt: skip
    return replace(known, **changes)  # type: ignore[arg-type]


def test_rows_come_back_as_they_went_and_in_order(tmp_path: Path) -> None:
    rows = [
        row(3, issues=("av-gap", "size"), details=("a", "b"), status="warn"),
        row(2, crop=(1, 2, 3, 4), start=0.5),
        row(1, text_raw=None),
    ]
    header = make_header("lrs3", "lrs3", rows, note="x")
    write_manifest(tmp_path, rows, header)
    read = read_manifest(tmp_path)
    assert read.rows == rows[::-1]
    assert read.header == header and read.header.content_sha256 == content_sha256(rows)
    assert read.header.splits == {"test": 3} and set(read.header.tools) > {"pyav", "libavcodec"}


def test_equal_content_gives_equal_bytes_in_any_order(tmp_path: Path) -> None:
    rows = [row(i) for i in range(50)]
    for name, order in (("a", rows), ("b", rows[::-1])):
        write_manifest(tmp_path / name, order, make_header("lrs3", "lrs3", order))
    for suffix in ("parquet", "csv", "json"):
        assert (tmp_path / f"a/manifest.{suffix}").read_bytes() == (tmp_path / f"b/manifest.{suffix}").read_bytes()


def test_columns_of_the_specification_come_first(tmp_path: Path) -> None:
    expected = (
        "clip_id dataset split video_path text_path group speaker tag text_raw text_norm conf n_words n_frames fps "
        "width height n_samples sample_rate channels av_gap_frames dur_s bytes sha256 text_sha256 status issues"
    )
    assert " ".join(COLUMNS).startswith(expected + " ")


def test_csv_has_the_same_rows_and_no_formula(tmp_path: Path) -> None:
    write_manifest(
        tmp_path, [row(1, text_raw="=1+1", text_norm="-DASH", av_gap_frames=-1.0)], make_header("d", "d", [])
    )
    (cells,) = csv.DictReader((tmp_path / "manifest.csv").open(newline=""))
    assert (cells["text_raw"], cells["text_norm"], cells["av_gap_frames"]) == ("'=1+1", "'-DASH", "-1.0")


def test_two_rows_of_one_id_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two rows"):
        write_manifest(tmp_path, [row(1), row(1)], make_header("d", "d", []))
    write_manifest(tmp_path, [row(1)], make_header("d", "d", [row(1)]))
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(tmp_path)
    header = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**header, "schema": "bench-manifest-9"}))
    with pytest.raises(DataError, match="bench-manifest-9"):
        read_manifest(tmp_path)
    with pytest.raises(DataError):
        read_manifest(tmp_path / "absent")


def test_content_hash_is_the_one_of_the_specification() -> None:
    import hashlib

    rows = [row(2), row(1, text_sha256=None)]
    lines = f"{rows[1].clip_id}\t{rows[1].sha256}\t\n{rows[0].clip_id}\t{rows[0].sha256}\t{rows[0].text_sha256}\n"
    assert content_sha256(rows) == hashlib.sha256(lines.encode()).hexdigest()
    assert content_sha256([row(1, start=1.0)]) != content_sha256([row(1)])
    assert content_sha256([row(1, audio_sha256="a")]) != content_sha256([row(1)])


def test_clip_hash_follows_content_not_place() -> None:
    def sha(**changes: object) -> str:
        return clip_of(row(1, **changes), Path("/x")).content_sha256

    assert sha() == clip_of(row(1, clip_id="other", video_path="w.mp4"), Path("/y")).content_sha256
    changes = (
        {"sha256": "0"},
        {"text_sha256": "0"},
        {"start": 1.0},
        {"end": 1.0},
        {"crop": (0, 0, 1, 1)},
        {"audio_sha256": "0"},
    )
    assert len({sha(**change) for change in changes} | {sha()}) == 7


def test_clip_of_row() -> None:
    known = clip_of(row(1, tag="NF", extra='{"lang": "en"}'), Path("/x"))
    assert known.video == Source(Path("/x/v.mp4")) and known.audio == known.video
    assert (known.n_frames, known.group, known.tag, known.extra["lang"]) == (50, "group000000", "NF", "en")
    silent = clip_of(row(1, issues=("no-audio",), details=("",)), Path("/x"))
    assert silent.audio is None and silent.video is not None
    assert clip_of(row(1, video_path=None), Path("/x")).video is None


def test_index_is_built_once_and_kept(lrs3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    root = trees.copy_tree(lrs3[0], tmp_path / "data")
    calls: list[tuple[int, int, str]] = []
    clips = Lrs3(root, tmp_path / "cache").clips("test", lambda *args: calls.append(args))
    assert [clip.id for clip in clips] == sorted(key for key in lrs3[1] if key.startswith("test/"))
    assert calls[-1][:2] == (6, 6) and len(calls) == 7
    (parquet,) = (tmp_path / "cache" / "index").rglob("test.parquet")
    before = parquet.stat().st_mtime_ns
    monkeypatch.setattr(index, "full_facts", None)  # any decoding would fail now
    again = Lrs3(tmp_path / "data", tmp_path / "cache")
    assert again.clips("test") == clips and parquet.stat().st_mtime_ns == before
    header = json.loads(parquet.with_suffix(".json").read_text())
    assert header["schema"] == "bench-manifest-1" and str(tmp_path) not in parquet.with_suffix(".json").read_text()
    assert header["content_sha256"] == again.content_sha256("test")


@pytest.mark.parametrize("what", ["mp4", "txt"])
def test_a_changed_file_is_noticed(lrs3, tmp_path: Path, what: str) -> None:  # type: ignore[no-untyped-def]
    root, cache = trees.copy_tree(lrs3[0], tmp_path / "data"), tmp_path / "cache"
    age(root)
    before = Lrs3(root, cache)
    old = {clip.id: clip for clip in before.clips("test")}
    name = "test/under_score/00001"
    if what == "mp4":
        trees.write_media(root / f"{name}.mp4", replace(lrs3[1][name].clip, frames=30))
    else:  # as many bytes, and the old time: only the time of the change of the inode tells
        path = root / f"{name}.txt"
        path.write_text(path.read_text().replace("Conf:  4", "Conf:  7"))
        os.utime(path, (OLD, OLD))
    after = Lrs3(root, cache)
    new = {clip.id: clip for clip in after.clips("test")}
    changed = {key for key in new if new[key] != old[key]}
    assert changed == {name}
    assert after.content_sha256("test") != before.content_sha256("test")
    if what == "mp4":
        assert new[name].n_frames == 30


def test_added_and_removed_clips_are_noticed(lrs3, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root, cache = trees.copy_tree(lrs3[0], tmp_path / "data"), tmp_path / "cache"
    assert len(Lrs3(root, cache).clips("test")) == 6
    (root / "test/under_score/00001.mp4").unlink()
    clips = {clip.id: clip for clip in Lrs3(root, cache).clips("test")}
    lost = clips["test/under_score/00001"]
    assert lost.video is None and lost.audio is None and lost.n_frames == 0 and lost.transcript
    (root / "test/under_score/00001.txt").unlink()
    assert len(Lrs3(root, cache).clips("test")) == 5


def test_broken_clips_stay_in_the_split(lrs3, tmp_path: Path, cache: Path) -> None:  # type: ignore[no-untyped-def]
    root = trees.copy_tree(lrs3[0], tmp_path / "data")
    trees.spoil(root, lrs3[1]["test/under_score/00001"], "zero bytes")
    trees.spoil(root, lrs3[1]["test/under_score/00002"], "no sound")
    clips = {clip.id: clip for clip in Lrs3(root, cache).clips("test")}
    assert clips["test/under_score/00001"].video is not None and clips["test/under_score/00001"].n_frames == 0
    assert clips["test/under_score/00002"].audio is None and clips["test/under_score/00002"].n_frames > 0


def test_an_interrupted_build_goes_on(lrs3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    root, cache = trees.copy_tree(lrs3[0], tmp_path / "data"), tmp_path / "cache"
    decoded: list[str] = []

    def counted(video: Source, audio: Path | None = None) -> facts.Facts:
        decoded.append(video.path.as_posix())
        return facts.full_facts(video, audio)

    def stop(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(index, "full_facts", counted)
    with pytest.raises(KeyboardInterrupt):
        Lrs3(root, cache).clips("test", stop)
    first = set(decoded)
    assert len(Lrs3(root, cache).clips("test")) == 6
    assert len(decoded) <= 6 + 1 and set(decoded) >= first


def test_a_damaged_index_or_cache_is_built_anew(lrs3, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root, cache = trees.copy_tree(lrs3[0], tmp_path / "data"), tmp_path / "cache"
    clips = Lrs3(root, cache).clips("test")
    (parquet,) = (cache / "index").rglob("test.parquet")
    parquet.write_bytes(b"")
    (cache / "hash.sqlite").write_bytes(b"no database at all" * 99)
    assert Lrs3(root, cache).clips("test") == clips
    assert (cache / "hash.sqlite").read_bytes().startswith(b"SQLite")


def test_a_cache_that_cannot_be_written_is_told(lrs3, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(DataError, match="cannot be written"):
        Lrs3(lrs3[0], tmp_path / "cache").clips("test")


def test_modules_of_plug_ins_load_nothing_heavy() -> None:
    code = (
        "import sys, bench.datasets.lrs2, bench.datasets.lrs3, bench.datasets.cinepile, bench.datasets.folder;"
        "print(sorted({'numpy', 'av', 'pyarrow', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_counts_are_those_of_the_decoder(lrs3, cache: Path) -> None:  # type: ignore[no-untyped-def]
    from bench.media import decode_audio, decode_video

    for known in Lrs3(lrs3[0], cache).rows("trainval"):
        path = lrs3[0] / str(known.video_path)
        assert known.n_frames == known.n_grid == len(decode_video(Source(path)).frames)
        assert known.n_samples == len(decode_audio(Source(path)).samples)
        assert known.sha256 == file_sha256(path) and known.bytes == path.stat().st_size
        assert known.av_gap_frames == pytest.approx(known.n_samples / 640 - known.n_frames, abs=1e-5)


def test_other_rates_are_counted_on_the_grid(tmp_path: Path) -> None:
    from bench.media import decode_video

    trees.write_media(tmp_path / "a.mp4", trees.Clip("k", "g", (160, 120), 61, fps=30))
    found = facts.full_facts(Source(tmp_path / "a.mp4"))
    assert (found.n_frames, found.fps) == (61, 30.0)
    assert found.n_grid == len(decode_video(Source(tmp_path / "a.mp4")).frames) == 51


def test_lrs2_splits_come_from_the_lists(lrs2, cache: Path) -> None:  # type: ignore[no-untyped-def]
    dataset = Lrs2(lrs2[0], cache)
    test = dataset.clips("test")
    assert [clip.id for clip in test] == [f"main/6187701173201682297/0000{i}" for i in (1, 2, 3)]
    assert [clip.tag for clip in test] == ["NF", "MV", "NF"]
    assert test[1].transcript is not None and "{" not in test[1].transcript
    assert test[0].group == "6187701173201682297" and test[0].speaker is None
    assert len(dataset.clips("pretrain")) == 2 and dataset.clips("pretrain")[0].id.startswith("pretrain/")
    assert not dataset.speakers_known and "BBC" in dataset.notice
    clip_ids = {clip.id for split in ("train", "val", "test") for clip in dataset.clips(split)}
    assert len(clip_ids) == 9


def test_lists_may_lie_in_the_folder_of_the_media(lrs2, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = trees.copy_tree(lrs2[0], tmp_path / "lrs2")
    for name in ("pretrain", "train", "val", "test"):
        (root / f"{name}.txt").rename(root / f"mvlrs_v1/{name}.txt")
    for given in (root, root.parent, root / "mvlrs_v1"):
        assert len(Lrs2(given, cache).clips("test")) == 3
    with pytest.raises(DataError, match="list-missing"):
        (root / "mvlrs_v1/test.txt").unlink()
        Lrs2(root, cache).clips("test")


def test_root_or_its_parent(lrs3, cache: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ids = [clip.id for clip in Lrs3(lrs3[0], cache).clips("test")]
    assert [clip.id for clip in Lrs3(lrs3[0].parent, cache).clips("test")] == ids
    with pytest.raises(UsageError) as caught:
        Lrs3(tmp_path, cache).clips("test")
    assert str(tmp_path / "lrs3") in caught.value.message and "BENCH_DATA" in caught.value.hint
    with pytest.raises(UsageError, match="no data root"):
        Lrs3(None, cache).clips("test")
    with pytest.raises(UsageError, match="no split 'tets'"):
        Lrs3(lrs3[0], cache).clips("tets")


def test_hash_cache_trusts_old_files_only(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"one")
    hashes = HashCache(tmp_path / "c", tmp_path)
    assert hashes.sha256("f") == file_sha256(tmp_path / "f")
    assert hashes.known("f") is None  # written less than two seconds ago
    stat = (tmp_path / "f").stat()
    hashes._new["f"] = (hashes._new["f"][0], hashes._new["f"][1], stat.st_ctime_ns + 3_000_000_000)
    assert hashes.save()
    again = HashCache(tmp_path / "c", tmp_path)
    assert again.known("f") == file_sha256(tmp_path / "f")
    assert HashCache(tmp_path / "c", tmp_path / "c").known("f") is None
    with pytest.raises(DataError, match="cannot be read"):
        again.sha256("absent")


#: The kernel's mark of this very program: that of getrusage comes over from the process that started it.
_MARK = "[line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]"
_PEAK = f"print(time.process_time() - start, int({_MARK}) / 1024)"
_WRITE = f"""
rows = [row(i) for i in range(100_000)]
start = time.process_time()
write_manifest(folder, rows, make_header("lrs3", "lrs3", rows))
{_PEAK}
"""
_READ = f"""
start = time.process_time()
clips = [clip_of(r, folder) for r in read_manifest(folder).rows]
if len(clips) != 100_000: raise SystemExit("rows are missing")
{_PEAK}
"""


def test_hundred_thousand_rows_are_quick_and_small(tmp_path: Path) -> None:
    """Each in a process of its own, whose peak memory is known."""
    start = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from bench.datasets.manifest import clip_of, make_header, read_manifest, write_manifest
folder = Path({str(tmp_path)!r})
"""
    for code in (start + "from test_data_index import row\n" + _WRITE, start + _READ):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, peak_mib = map(float, done.stdout.split())
        assert seconds < 10
        assert peak_mib < 500


def test_a_duplicate_is_told_while_there_is_one(lrs3, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root, cache = trees.copy_tree(lrs3[0], tmp_path / "data"), tmp_path / "cache"
    one, other = "test/under_score/00001", "test/under_score/00002"
    for suffix in (".mp4", ".txt"):
        (root / f"{other}{suffix}").write_bytes((root / f"{one}{suffix}").read_bytes())

    def found() -> dict[str, tuple[str, ...]]:
        return {row.clip_id: row.issues for row in Lrs3(root, cache).rows("test") if row.issues}

    assert found() == {other: ("duplicate",)} == found()
    for suffix in (".mp4", ".txt"):
        (root / f"{one}{suffix}").unlink()
    assert found() == {}


def test_files_of_sound_alone_and_of_broken_sound(tmp_path: Path, cache: Path) -> None:
    import av
    import numpy as np
    import soundfile

    from bench.datasets.folder import Folder

    trees.write_media(tmp_path / "film.mp4", trees.Clip("k", "g", (96, 96), 26))
    with av.open(str(tmp_path / "film.mp4")) as source, av.open(str(tmp_path / "sound.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    soundfile.write(tmp_path / "film.wav", np.array([0.0, np.nan] * 9000, np.float32), 16_000, subtype="FLOAT")
    dataset = Folder(tmp_path, cache)
    clips = {clip.id: clip for clip in dataset.clips("test")}
    assert clips["sound"].video is None and clips["sound"].audio is not None
    assert clips["sound"].n_frames == round(clips["sound"].duration_s * 25) >= 26
    issues = {(issue.where, issue.code) for issue in dataset.check("test").issues}
    assert issues == {("sound", "no-video"), ("film", "undecodable")}
