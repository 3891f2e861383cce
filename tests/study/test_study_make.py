"""The folder for participants and the key: what is in them, and what is not."""

from __future__ import annotations

import getpass
import json
import re
import socket
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import study_of
from study_lab import SYSTEMS, add_output, add_run, bench, clip_of, key_of, page_data, sha

from bench import media, registry
from bench.api import CheckReport, Clip, DataError, Dataset, UsageError
from bench.metrics.study import PROCEDURE
from bench.progress import Progress
from bench.results.study import media as stimuli
from bench.results.study.make import Made, Plan, chosen, make
from bench.store import Store
from bench.store_records import OutputRecord


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_folder_has_all_that_the_page_names_and_nothing_else(opinions: Made) -> None:
    found = files(opinions.folder)
    data = page_data(opinions.folder)
    named = {f"media/{name}.mp4" for name in data["stimuli"]}
    page = {
        "index.html",
        "data/study.js",
        *(f"assets/{n}" for n in ("answers.js", "player.js", "study.js", "study.css")),
    }
    assert set(found) == named | page
    links = re.findall(r'(?:src|href)="([^"#]+)"', found["index.html"].decode())
    assert set(links) <= set(found)


def test_nothing_tells_systems_clips_or_this_machine(opinions: Made) -> None:
    """Not the names of files, not the page, not the text inside the media."""
    told = [*SYSTEMS, *(f"clip{i}" for i in range(6)), "speaker0", "toy", str(Path.home()), getpass.getuser()]
    told += [socket.gethostname(), str(opinions.folder.parent), *(run.id[:8] for run in opinions.key.runs)]
    for name, content in files(opinions.folder).items():
        for word in told:
            assert word not in name
            # coded pictures and sound may hold any few letters by chance
            if not name.startswith("assets/") and (len(word) > 5 or not name.startswith("media/")):
                assert not re.search(rb"\b" + re.escape(word.encode()) + rb"\b", content), (name, word)


def test_the_policy_is_strict_and_no_script_or_style_is_inline(opinions: Made) -> None:
    html = (opinions.folder / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in html
    assert "unsafe" not in html and " style=" not in html and "<style" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html) and not re.search(r"\bon\w+=", html)


@pytest.mark.parametrize("name", ["answers.js", "player.js", "study.js"])
def test_scripts_never_read_text_as_html(opinions: Made, name: str) -> None:
    text = (opinions.folder / "assets" / name).read_text(encoding="utf-8")
    for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", ".style"):
        assert banned not in text, banned


def test_texts_cannot_leave_their_script(opinions: Made) -> None:
    raw = (opinions.folder / "data" / "study.js").read_text(encoding="utf-8")
    assert not set("<>&") & set(raw) and raw.isascii()
    assert page_data(opinions.folder)["title"] == "Voices <script>alert(1)</script> & faces"


def test_the_same_again_is_the_same_to_the_byte(filled_store: Path, opinions: Made, tmp_path: Path) -> None:
    again = study_of(filled_store, tmp_path / "again", clips=4, participants=6, title=opinions.key.title)
    assert files(again.folder) == files(opinions.folder)
    assert again.key_file.read_bytes() == opinions.key_file.read_bytes()
    other = study_of(filled_store, tmp_path / "other", clips=4, participants=6, title=opinions.key.title, seed=1)
    assert other.key.study != opinions.key.study
    assert not set(other.key.stimuli) & set(opinions.key.stimuli)


def test_key_and_page_agree(opinions: Made) -> None:
    key, data = key_of(opinions.folder), page_data(opinions.folder)
    assert key == opinions.key and data["study"] == key.study
    assert list(key.sheets) == list(opinions.key.sheets)  # the order in which sheets are balanced
    for code, sheet in key.sheets.items():
        shown = [[data["stimuli"][place] for place in trial] for trial in data["sheets"][code]]
        assert shown == [list(trial) for trial in sheet]
    assert {stimulus.clip for stimulus in key.stimuli.values()} >= set(key.checks.values())
    assert len(key.stimuli) == 4 * 3


def test_clips_are_spread_over_speakers(opinions: Made) -> None:
    clips = {stimulus.clip for stimulus in opinions.key.stimuli.values()}
    assert sum(int(clip[-1]) % 2 for clip in clips) == 2


def test_all_sound_has_one_level_and_rate_whatever_the_system(opinions: Made) -> None:
    levels = []
    for name in opinions.key.stimuli:
        heard = media.decode_audio(media.Source(opinions.folder / "media" / f"{name}.mp4"))
        assert heard.rate == PROCEDURE["rate_hz"]
        levels.append(20 * np.log10(np.sqrt(np.mean(heard.samples[4800:14400].astype(float) ** 2))))
    assert np.allclose(levels, PROCEDURE["level_db"], atol=0.5)


def test_level_respects_the_peak_and_leaves_silence() -> None:
    click = np.zeros(48000, np.float32)
    click[100] = 0.5
    assert np.abs(stimuli.level(click)).max() == pytest.approx(PROCEDURE["peak"])
    assert not stimuli.level(np.zeros(10, np.float32)).any()


def test_a_check_is_noise_and_blocks(opinions: Made) -> None:
    name = next(iter(opinions.key.checks))
    clip = opinions.key.checks[name]
    good = next(n for n, s in opinions.key.stimuli.items() if s.clip == clip)
    spoilt, fine = (media.Source(opinions.folder / "media" / f"{n}.mp4") for n in (name, good))

    def flatness(source: Any) -> float:
        power = np.abs(np.fft.rfft(media.decode_audio(source).samples)) ** 2 + 1e-12
        return float(np.exp(np.mean(np.log(power))) / np.mean(power))

    assert flatness(spoilt) > 20 * flatness(fine)
    frame = media.decode_video(spoilt).frames[0].astype(int)
    size = frame.shape[0] // stimuli.BLOCKS
    blocks = frame.reshape(stimuli.BLOCKS, size, stimuli.BLOCKS, size, 3)
    assert np.abs(blocks - blocks.mean(axis=(1, 3), keepdims=True)).mean() < 3


def test_a_comparison_shows_two_versions_of_one_clip(pairs: Made) -> None:
    key = pairs.key
    for sheet in key.sheets.values():
        for first, second in sheet:
            clips = {key.checks.get(name) or key.stimuli[name].clip for name in (first, second)}
            assert len(clips) == 1 and first != second


def test_a_failed_make_leaves_no_folder(own_store: Path, tmp_path: Path) -> None:
    with Store.open(own_store, write=False) as store:
        run = store.runs(system="talker")[0]
        lost = store.root / str(store.outputs(run.id)["clip0"].video)
    lost.unlink()
    with pytest.raises(DataError, match="is gone"):
        study_of(own_store, tmp_path / "study", clips=6, participants=2)
    assert not (tmp_path / "study").exists() and not (tmp_path / "study.key.json").exists()
    with Store.open(own_store) as store:
        store.add_output(OutputRecord(run.id, "clip0", "failed", kind="model_error"), replace=True)
        add_output(store, run, "clip1", 3)
    made = study_of(own_store, tmp_path / "study", clips=5, participants=2)  # what was left half-made is no obstacle
    assert "clip0" not in {stimulus.clip for stimulus in made.key.stimuli.values()}


def refusal(store: Path, tmp_path: Path, *names: str, folder: str = "new", key: str = "", **plan: Any) -> str:
    with Store.open(store, write=False) as opened, pytest.raises((UsageError, DataError)) as caught:
        key_file = tmp_path / (key or f"{folder}.key.json")
        make(
            opened, chosen(opened, names or SYSTEMS), Plan(**plan), tmp_path / folder, key_file, None, Progress(True)
        )  # fmt: skip
    return str(caught.value)


def test_what_cannot_be_made_is_refused_with_its_reason(filled_store: Path, tmp_path: Path) -> None:
    def told(*names: str, **arguments: Any) -> str:
        return refusal(filled_store, tmp_path, *names, **arguments)

    assert "did you mean 'talker'" in told("talkr")
    assert "named twice" in told("talker", "talker")
    assert "did you mean 'mos'" in told(kind="moss")
    assert "did you mean 'sync'" in told(questions=["synk"])
    assert "'sync' is unknown for --kind preference" in told(kind="preference", questions=["sync"])
    assert "--questions is empty" in told(questions=[])
    assert "at least two runs" in told("talker", kind="preference", questions=["preference"])
    assert "only 6 clips" in told(clips=7)
    assert "--participants 0" in told(participants=0, clips=2)
    assert "inside the folder" in told(clips=2, folder="new", key="new/key.json")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine")
    assert "is there already" in told(clips=2, folder="used")
    (tmp_path / "old.key.json").write_text("{}")
    assert "cannot be read" in told(clips=2, folder="old")


def test_runs_of_unlike_conditions_make_no_study(own_store: Path, tmp_path: Path) -> None:
    with Store.open(own_store) as store:
        add_run(store, "other", reference="same")
        add_run(store, "talker", reference="same")
    assert "one data set, task and condition" in refusal(own_store, tmp_path, "hicodit", "other")
    assert "'talker' has 2 runs" in refusal(own_store, tmp_path, "talker")


class ToySet(Dataset):
    """Six clips, made beforehand."""

    name = "toyset"
    licence = "not to be given away"
    redistributable = False
    made: ClassVar[list[Clip]] = []
    sha: ClassVar[str] = "content"

    def clips(self, split: str, progress: Any = None) -> list[Clip]:
        return self.made

    def content_sha256(self, split: str) -> str:
        return self.sha

    def check(self, *args: Any, **kwargs: Any) -> CheckReport:
        return CheckReport(self.name, "", "fast", {}, (), None)


@pytest.fixture
def toyset(tmp_path: Path) -> Any:
    folder = tmp_path / "data"
    folder.mkdir()
    ToySet.made = [clip_of(folder, i) for i in range(6)]
    ToySet.sha = "content"
    registry._trial["datasets"]["toyset"] = ToySet
    yield ToySet
    del registry._trial["datasets"]["toyset"]


@pytest.mark.parametrize("task", ["vts", "a2v", "tts"])
def test_what_the_task_does_not_make_comes_from_the_data_set(
    toyset: Any, tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    condition = {"pairing": "matched", "audio": "real", "reference": "none"} if task == "a2v" else {}
    with Store.open(tmp_path / "store") as store:
        run = add_run(store, "talker", dataset="toyset", task=task, dataset_sha256="content", **condition)
    folder = tmp_path / "study"
    arguments = ("talker", "--clips", 2, "--participants", 2, "--out", tmp_path / "store", "-o", folder)
    code, out, _ = bench(capsys, "study", "make", *arguments, "-q")
    assert code == 0
    assert ("may not be given to others (not to be given away)" in out) == (task != "tts")
    key = key_of(folder)
    assert list(key.questions) == (["naturalness"] if task == "tts" else ["naturalness", "sync"])
    name, stimulus = next(iter(key.stimuli.items()))
    suffix = "wav" if task == "tts" else "mp4"
    made = media.Source(folder / "media" / f"{name}.{suffix}")
    truth = ToySet.made[int(stimulus.clip[-1])]
    if task == "vts":  # the clip's own picture
        shown, expected = media.decode_video(made).frames, media.decode_video(truth.video).frames
        assert np.abs(shown.astype(int) - expected).mean() < 4
    if task == "a2v":  # the clip's own sound
        pitch = np.argmax(np.abs(np.fft.rfft(media.decode_audio(made).samples[:9600]))) * 48000 / 9600
        assert pitch == pytest.approx(200 + 10 * (50 + int(stimulus.clip[-1])), abs=10)
    assert run.id == stimulus.run


def test_a_data_set_that_has_changed_is_refused(
    toyset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(tmp_path / "store") as store:
        add_run(store, "talker", dataset="toyset", task="vts", dataset_sha256=sha("then"))
    code, _, err = bench(
        capsys, "study", "make", "talker", "--clips", 2, "--out", tmp_path / "store", "-o", tmp_path / "s", "-q"
    )
    assert code == 1 and "toyset/test has changed since run" in err
    assert not (tmp_path / "s").exists()


def test_driving_audio_that_cannot_be_found_is_refused(
    toyset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(tmp_path / "store") as store:
        add_run(store, "talker", dataset="toyset", task="a2v", pairing="matched", audio="tts:talker")
    code, _, err = bench(
        capsys, "study", "make", "talker", "--clips", 2, "--out", tmp_path / "store", "-o", tmp_path / "s", "-q"
    )
    assert code == 2 and "cannot be found again" in err


def test_make_says_what_to_give_to_whom(filled_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = bench(
        capsys, "study", "make", "talker", "hicodit", "--clips", 3, "--participants", 3, "--seed", 5,
        "--out", filled_store, "-o", tmp_path / "study", "--key", tmp_path / "secret" / "key.json", "-q",
    )  # fmt: skip
    assert code == 0
    codes = list(json.loads((tmp_path / "secret" / "key.json").read_text())["sheets"])
    assert len(codes) == 3 and all(code in out for code in codes)
    assert "8 trials per participant, 2 of them checks" in out
    assert "3 is no multiple" in out  # of the two sheets after which all is balanced
