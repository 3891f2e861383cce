"""Media of a report: what is copied, cut out, given sound, left out by licence or by size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import sha

from bench import registry
from bench.api import UsageError
from bench.media import file_sha256, probe, write_audio, write_video
from bench.progress import Progress
from bench.records import Audio
from bench.results.report import pictures
from bench.results.report.build import Built, Options, build
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord

WER = "wer/pocketsphinx-grid@1"


def sound(seed: int, rate: int = 16_000) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio((0.1 * rng.normal(size=rate)).astype(np.float32), rate)


def frames(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (25, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two recordings, and the two data sets that have them."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for seed, name in enumerate("ab"):
        write_video(folder / f"{name}.mp4", frames(seed))
        write_audio(folder / f"{name}.wav", sound(seed, 8_000))
    monkeypatch.setenv("TOY_RECORDINGS", str(folder))
    before = {group: dict(found) for group, found in registry._trial.items()}
    registry.load_file(Path(__file__).parent / "toy_recordings.py")
    yield
    for group, found in before.items():
        registry._trial[group].clear()
        registry._trial[group].update(found)


def filled(root: Path, dataset: str, task: str = "a2v") -> Path:
    """A store with a system and a control on both clips; outputs are noise."""
    with Store.open(root) as store:
        for number, (system, tier) in enumerate((("talker", "embedded"), ("ground-truth", "control"))):
            pairing, audio = ("matched", "real") if task == "a2v" else ("", "")
            run = RunRecord(
                sha(dataset, task, system)[:16], system, "1", tier, dataset, "test", task, pairing, audio, "none",
                n_split=2,
            )  # fmt: skip
            store.add_run(run)
            store.add_run_clips(run.id, [RunClip(clip, "s", sha("reference", clip), 1.0) for clip in "ab"])
            store.add_run_protocols(run.id, [WER])
            for seed, clip in enumerate("ab"):
                files = {}
                if task != "vts":
                    files["video"] = store.stage_dir() / f"{clip}.mp4"
                    write_video(files["video"], frames(10 * number + seed))
                if task != "a2v":
                    files["audio"] = store.stage_dir() / f"{clip}.wav"
                    write_audio(files["audio"], sound(10 * number + seed))
                output = OutputRecord(run.id, clip, "ok", sha(dataset, task, system, clip), media_seconds=1.0)
                store.add_output(output, files)
                key = (output.sha256 or "", sha("reference", clip), WER, "")
                store.add_scores(
                    [ScoreRecord(*key, "ok", {"wer": 0.0, "macro": 0.0}, {"edits": 0.0, "ref_words": 4.0})]
                )
    return root


def report(store: Path, folder: Path, **options: Any) -> tuple[Built, list[dict[str, Any]], dict[str, Any]]:
    """What was built, its clips' details and its only section."""
    with Store.open(store, write=False) as opened:
        built = build(opened, opened.runs(), folder, Options(**options), Progress(quiet=True))
    text = (folder / "data" / "index.js").read_text()
    (section,) = json.loads(text.removeprefix('bench.load("index",').removesuffix(");\n"))["sections"]
    name = f"detail-{section['id']}-0"
    detail = json.loads(
        (folder / "data" / f"{name}.js").read_text().removeprefix(f'bench.load("{name}",').removesuffix(");\n")
    )
    return built, detail["clips"], section


@pytest.mark.usefixtures("recordings")
def test_talking_heads_get_the_sound_that_drove_them(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "open-recordings")
    _, clips, section = report(store, tmp_path / "report")
    assert (section["no_media"], section["no_reference"]) == ("", "")
    for clip in clips:
        for medium in (clip["reference"], *clip["systems"]):
            facts = probe(tmp_path / "report" / medium["video"])
            assert (facts.has_audio, facts.width, facts.video_codec) == (True, 64, "h264")
            assert (tmp_path / "report" / medium["poster"]).read_bytes()[8:12] == b"WEBP"
        assert clip["reference"]["curves"]["loudness"]["unit"] == "dB of full scale"
    names = {path.name for path in (tmp_path / "report" / "media").iterdir()}
    assert all(len(name.split(".")[0]) == 16 for name in names), names
    assert "words of a" in (next((tmp_path / "report" / "data").glob("scores-*"))).read_text()


@pytest.mark.usefixtures("recordings")
def test_outputs_that_browsers_play_are_the_stores_files(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "open-recordings", "vts")
    _, clips, _ = report(store, tmp_path / "report")
    with Store.open(store, write=False) as opened:
        stored = {file_sha256(store / str(o.audio)) for run in opened.runs() for o in opened.outputs(run.id).values()}
    shown = {file_sha256(tmp_path / "report" / s["audio"]) for clip in clips for s in clip["systems"]}
    assert shown == stored
    report(store, tmp_path / "linked", media="link")
    linked = tmp_path / "linked" / clips[0]["systems"][0]["audio"]
    assert linked.stat().st_nlink == 2


@pytest.mark.usefixtures("recordings")
def test_sound_and_pictures_of_one_output_are_one_file(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "open-recordings", "t2av")
    _, clips, _ = report(store, tmp_path / "report")
    medium = clips[0]["systems"][0]
    assert "audio" not in medium
    assert probe(tmp_path / "report" / medium["video"]).has_audio
    assert {"mel", "wave", "poster"} < set(medium)


@pytest.mark.usefixtures("recordings")
def test_recordings_under_an_agreement_stay_out(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "closed-recordings")
    built, clips, section = report(store, tmp_path / "report")
    assert any("may not be given to others" in notice for notice in built.notices)
    assert "no copies to others" in section["no_reference"]
    rows = {row["system"]: place for place, row in enumerate(section["rows"])}
    for clip in clips:
        assert "reference" not in clip
        truth, talker = (clip["systems"][rows[name]] for name in ("ground-truth", "talker"))
        assert set(truth) == {"absent", "seconds"}
        assert not probe(tmp_path / "report" / talker["video"]).has_audio, "the recording's sound was given away"
    kinds = sorted(path.suffix for path in (tmp_path / "report" / "media").iterdir())
    assert kinds == [".mp4", ".mp4", ".webp", ".webp"]
    assert "may not be given to others" in (tmp_path / "report" / "about.html").read_text()


def test_a_data_set_that_nobody_knows_is_treated_as_closed(tmp_path: Path) -> None:
    _, clips, section = report(filled(tmp_path / "store", "gone"), tmp_path / "report")
    assert "not installed" in section["no_reference"]
    assert all("reference" not in clip for clip in clips)


@pytest.mark.usefixtures("recordings")
def test_a_limit_leaves_the_later_clips_out(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "open-recordings", "vts")
    whole, clips, _ = report(store, tmp_path / "all")
    media = sum(path.stat().st_size for path in (tmp_path / "all" / "media").iterdir())
    assert not whole.notices
    built, few, _ = report(store, tmp_path / "report", max_media=media // 2)
    assert sum(path.stat().st_size for path in (tmp_path / "report" / "media").iterdir()) <= media // 2
    assert few[0]["systems"] == clips[0]["systems"]
    assert "--max-media" in few[-1]["systems"][-1]["absent"]
    assert any("--max-media" in notice for notice in built.notices)


@pytest.mark.usefixtures("recordings")
def test_no_media_says_so(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "open-recordings", "vts")
    built, clips, section = report(store, tmp_path / "report", media="none")
    assert "--media none" in section["no_media"]
    assert not (tmp_path / "report" / "media").exists()
    assert set(clips[0]["systems"][0]) == {"seconds"}
    assert not built.notices


@pytest.mark.usefixtures("recordings")
def test_files_that_are_gone_or_broken_are_told(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "open-recordings", "vts")
    with Store.open(store, write=False) as opened:
        run = opened.runs(system="talker")[0]
        first, second = (store / str(output.audio) for output in opened.outputs(run.id).values())
    first.unlink()
    second.write_bytes(b"no sound")
    _, clips, section = report(store, tmp_path / "report")
    place = next(i for i, row in enumerate(section["rows"]) if row["system"] == "talker")
    assert clips[0]["systems"][place]["absent"] == "The file is no longer in the run store."
    assert clips[1]["systems"][place]["absent"].startswith("Not readable: decode_error")


@pytest.mark.usefixtures("recordings")
def test_media_that_are_there_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "store", "open-recordings", "vts")
    report(store, tmp_path / "report")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "report" / "media").iterdir()}

    def refuse(*_: object) -> bytes:
        raise AssertionError("drawn again")

    monkeypatch.setattr(pictures, "spectrogram", refuse)
    report(store, tmp_path / "report")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "report" / "media").iterdir()} == before


@pytest.mark.usefixtures("recordings")
def test_links_across_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def crossing(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", crossing)
    with pytest.raises(UsageError, match="--media link"):
        report(filled(tmp_path / "store", "open-recordings", "vts"), tmp_path / "report", media="link")


def test_pictures_have_their_sizes_and_repeat() -> None:
    import cv2

    audio = sound(1)
    mel, wave = pictures.spectrogram(audio), pictures.waveform(audio)
    assert cv2.imdecode(np.frombuffer(mel, np.uint8), cv2.IMREAD_COLOR).shape == (80, 101, 3)
    assert cv2.imdecode(np.frombuffer(wave, np.uint8), cv2.IMREAD_UNCHANGED).shape == (64, 800, 4)
    assert (mel, wave) == (pictures.spectrogram(audio), pictures.waveform(audio))
    silence = Audio(np.zeros(16_000, np.float32), 16_000)
    assert set(pictures.loudness(silence)["values"]) == {-80.0}
    assert len(pictures.loudness(Audio(np.ones(1_600_000, np.float32), 16_000))["values"]) == 250
