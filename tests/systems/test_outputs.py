"""Finished outputs: names of files against ids of clips."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from system_helpers import Made, a2v, vts

from bench import media
from bench.api import Audio, Failure, Output, UsageError
from bench.systems.baselines.matching import match
from bench.systems.baselines.outputs import Outputs

IDS = ["test/s1/00001", "test/s1/00002", "test/s2/00001", "test/s2/00003"]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        [f"{clip_id}.wav" for clip_id in IDS],
        [f"{clip_id.replace('/', '_')}.wav" for clip_id in IDS],
        [f"{clip_id.replace('/', '__')}.flac" for clip_id in IDS],
        [f"{clip_id.removeprefix('test/')}.WAV" for clip_id in IDS],
        [f"{clip_id.removeprefix('test/').replace('/', '_')}.wav" for clip_id in IDS],
        [f"wavs/16k/{clip_id}.wav" for clip_id in IDS],
        [f"out/{clip_id.replace('/', '_')}.wav" for clip_id in IDS],
    ],
)
def test_nested_flattened_and_shortened_names_match(tmp_path: Path, names: list[str]) -> None:
    found = match(touch(tmp_path, *names), IDS)
    assert [found.matched[clip_id].audio for clip_id in IDS] == [tmp_path / name for name in names]
    assert not found.unmatched_files and not found.unmatched_clips and not found.ambiguous


def test_video_and_audio_in_folders_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, *[f"mp4/{clip_id}.mp4" for clip_id in IDS], *[f"wav/{clip_id}.wav" for clip_id in IDS])
    found = match(tmp_path, IDS)
    files = found.matched[IDS[0]]
    assert files.video == tmp_path / f"mp4/{IDS[0]}.mp4" and files.audio == tmp_path / f"wav/{IDS[0]}.wav"


def test_what_is_left_over_is_listed_on_both_sides(tmp_path: Path) -> None:
    touch(tmp_path, "s1/00001.wav", "s9/00009.wav", "readme.txt", ".hidden/s1_00002.wav", "._s1_00002.wav")
    found = match(tmp_path, IDS)
    assert list(found.matched) == ["test/s1/00001"]
    assert found.unmatched_files == ("s9/00009.wav",)
    assert found.unmatched_clips == ("test/s1/00002", "test/s2/00001", "test/s2/00003")
    text = "\n".join(found.report())
    assert "1 clips matched" in text and "'s9/00009.wav'" in text and "'test/s2/00003'" in text


def test_a_tail_that_two_clips_share_is_not_guessed(tmp_path: Path) -> None:
    found = match(touch(tmp_path, "00001.wav", "00002.wav"), IDS)
    assert list(found.matched) == ["test/s1/00002"]
    assert found.ambiguous == {"test/s1/00001": ("00001.wav",), "test/s2/00001": ("00001.wav",)}
    assert found.unmatched_files == ("00001.wav",)
    assert found.unmatched_clips == ("test/s2/00003",)


def test_two_files_for_one_clip_are_ambiguous_unless_one_says_more(tmp_path: Path) -> None:
    touch(tmp_path, "test/s1/00001.wav", "test_s1_00001.flac", "test_s1_00002.wav", "00002.wav")
    found = match(tmp_path, IDS)
    assert found.ambiguous["test/s1/00001"] == ("test/s1/00001.wav", "test_s1_00001.flac")
    assert found.matched["test/s1/00002"].audio == tmp_path / "test_s1_00002.wav"
    assert "00002.wav" in found.unmatched_files


def test_ids_that_flatten_alike_are_ambiguous(tmp_path: Path) -> None:
    found = match(touch(tmp_path, "a_b_c.wav", "a_b/c.wav"), ["a_b/c", "a/b_c"])
    assert found.matched["a_b/c"].audio == tmp_path / "a_b/c.wav"
    assert "a/b_c" in found.ambiguous


@pytest.mark.parametrize(
    "name",
    ["a b", "quote'd", 'double"', "-leading", "dots.in.name", "new\nline", "emoji 🙂", "e\u0301te\u0301", "%s{0}*?[x]"],
)
def test_nasty_names_match_exactly(tmp_path: Path, name: str) -> None:
    found = match(touch(tmp_path, f"{name}.wav"), [name, "other"])
    assert found.matched[name].audio == tmp_path / f"{name}.wav"


def test_composed_and_decomposed_unicode_are_one_name_and_look_alikes_are_not(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "été")
    touch(tmp_path, unicodedata.normalize("NFD", composed) + ".wav", "сlip.wav")  # a Cyrillic s
    found = match(tmp_path, [composed, "clip"])
    assert list(found.matched) == [composed]
    assert found.unmatched_clips == ("clip",)


def test_ids_that_climb_out_of_the_folder_reach_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "secret.wav", "outputs/fine.wav")
    found = match(tmp_path / "outputs", ["../secret", "fine", "/etc/passwd"])
    assert list(found.matched) == ["fine"]
    assert found.unmatched_clips == ("../secret", "/etc/passwd")


def test_a_folder_named_like_a_file_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").mkdir()
    assert match(tmp_path, ["clip"]).unmatched_clips == ("clip",)


def write_outputs(folder: Path, clips: list[Made]) -> Path:
    folder.mkdir()
    for made in clips[:2]:
        stem = made.clip.id.replace("/", "_")
        media.write_video(folder / f"{stem}.mp4", made.frames, audio=Audio(made.samples, 16_000))
    media.write_audio(folder / f"{clips[0].clip.id.replace('/', '_')}.wav", Audio(clips[0].samples[:3200], 16_000))
    return folder


def test_outputs_are_handed_over_or_missing(clips: list[Made], tmp_path: Path) -> None:
    system = Outputs({"dir": str(write_outputs(tmp_path / "done", clips)), "name": "theirs"})
    system.prepare([made.clip for made in clips])
    sounds = system.generate_from_truth([vts(made) for made in clips], [made.truth for made in clips])
    assert isinstance(sounds[0], Output) and sounds[0].audio == tmp_path / "done" / "test_a_1.wav"
    assert isinstance(sounds[1], Output) and sounds[1].audio == tmp_path / "done" / "test_a_2.mp4"  # its own sound
    assert isinstance(sounds[2], Failure) and sounds[2].kind == "missing_output"
    videos = system.generate_from_truth([a2v(made) for made in clips], [made.truth for made in clips])
    assert isinstance(videos[0], Output) and videos[0].video == tmp_path / "done" / "test_a_1.mp4"


def test_an_ambiguous_clip_is_missing_with_the_files_named(clips: list[Made], tmp_path: Path) -> None:
    system = Outputs({"dir": str(touch(tmp_path / "done", "test/a/1.wav", "test_a_1.wav"))})
    (result,) = system.generate_from_truth([vts(clips[0])], [clips[0].truth])
    assert isinstance(result, Failure) and result.kind == "missing_output"
    assert "test/a/1.wav, test_a_1.wav" in result.detail


def test_a_folder_of_sounds_has_the_tasks_of_speech(tmp_path: Path) -> None:
    assert Outputs({"dir": str(touch(tmp_path, "a.wav"))}).tasks == ("vts", "dub", "tts")
    assert "a2v" in Outputs({"dir": str(touch(tmp_path, "a.mp4"))}).tasks


def test_the_fingerprint_follows_names_and_content(tmp_path: Path) -> None:
    system = Outputs({"dir": str(touch(tmp_path, "a.wav", "b.wav"))})
    first = system.fingerprint()
    assert first == Outputs({"dir": str(tmp_path), "name": "other"}).fingerprint()
    touch(tmp_path, "notes.txt")
    assert system.fingerprint() == first
    (tmp_path / "a.wav").write_bytes(b"y")
    second = system.fingerprint()
    (tmp_path / "a.wav").rename(tmp_path / "c.wav")
    assert len({first, second, system.fingerprint()}) == 3


def test_a_wrong_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a folder"):
        Outputs({})
    touch(tmp_path, "file.wav", "empty/readme.txt")
    for path, message in (("none", "does not exist"), ("file.wav", "is a file"), ("empty", "has no .mp4")):
        (line,) = Outputs({"dir": str(tmp_path / path)}).missing()
        assert message in line


def test_matching_a_hundred_thousand_clips_takes_seconds(tmp_path: Path) -> None:
    ids = [f"test/s{n // 100:04d}/{n:06d}" for n in range(100_000)]
    touch(tmp_path, "s0000/000001.wav")
    assert list(match(tmp_path, ids).matched) == ["test/s0000/000001"]
