"""What is heard of a model that is being trained: sounds, the harness' metrics, and tables of models."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hicodit_train_kit import SIZES, FakeCodec, FakeMakers, dit_clip, dit_request, small

from bench import media
from bench.api import Audio, Clip, Source
from bench.progress import Progress
from bench.systems.hicodit.codec.mel_rvq import MelRvq, MelRvqCodec, MelRvqSizes
from bench.systems.hicodit.joined import Joined
from bench.systems.hicodit.training import dit, measure_command
from bench.systems.hicodit.training.clips import Drawn
from bench.systems.hicodit.training.data import Records
from bench.systems.hicodit.training.hearing import Hearing
from bench.systems.hicodit.training.listen import VOICE, WORDS, Listener
from bench.systems.hicodit.training.measure import Exam, row_of_codec, row_of_model, row_of_speech
from bench.systems.hicodit.training.options import RECIPES
from bench.systems.hicodit.training.speak import Line, sound, spoken
from bench.train import TrainSettings, train
from bench.train_files import CurveLog, Sound

QUIET = Progress(quiet=True)
RATE = 16_000


def drawn(clips: Sequence[Clip], makers: FakeMakers | None = None) -> Drawn:
    """Batches whose voices nobody knows."""
    records = Records(clips, (makers or FakeMakers()).make, (0, 60), QUIET)
    return Drawn(records, lambda _: torch.zeros(SIZES.voice), small(), seed=0)


def talking(folder: Path, number: int, text: str) -> Clip:
    """A clip with a sound that a voice could be found in."""
    random = np.random.default_rng(number)
    time = np.arange(RATE) / RATE
    wave = sum(np.sin(2 * np.pi * (110 + 40 * (number % 2)) * k * time) / k for k in range(1, 20))
    path = folder / f"c{number}.wav"
    media.write_audio(path, Audio((0.1 * wave + 0.001 * random.normal(size=RATE)).astype(np.float32), RATE))
    return replace(dit_clip(number, 25, text=text), audio=Source(path))


# --- speaking


def test_tokens_follow_the_clip_and_the_seed_not_the_company() -> None:
    torch.manual_seed(0)
    joined = Joined(SIZES, front=True).eval()
    for parameter in joined.dit.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    own = drawn([dit_clip(n, 12 + n) for n in range(3)])
    items = [own.whole(n) for n in range(3)]
    lines = [Line(f"c{n}", item) for n, item in enumerate(items) if item is not None]
    together = spoken(joined, lines)
    assert [tokens.shape for tokens in together] == [(4, 24), (4, 26), (4, 28)]
    assert torch.equal(spoken(joined, lines[1:2])[0], together[1])
    assert not torch.equal(spoken(joined, lines[1:2], seed=1)[0], together[1])
    assert len(sound(FakeCodec(), together[0])) == 24 * 320  # type: ignore[arg-type]


# --- listening


def test_metrics_judge_what_was_said(tmp_path: Path) -> None:
    clips = [talking(tmp_path, n, "bin blue at a one now") for n in range(2)]
    listener = Listener(clips)
    own, other = (media.decode_audio(clip.audio).samples for clip in clips if clip.audio is not None)
    scores = listener.scores(clips[0], own, RATE)
    assert set(scores) == {WORDS, VOICE}
    assert scores[VOICE].values["secs"] > 0.99 > listener.scores(clips[0], other, RATE)[VOICE].values["secs"]
    figures = listener.figures([(clips[0], own), (clips[1], np.zeros(RATE, np.float32))], RATE)
    assert figures["secs"] > 0.99  # silence has no voice, and all its words are lost
    assert 0.5 <= figures["wer"] <= 1.5


def test_words_outside_the_closed_vocabulary_are_not_listened_for(tmp_path: Path) -> None:
    clip = talking(tmp_path, 0, "hello world")
    assert set(Listener([clip]).scores(clip, np.zeros(RATE, np.float32), RATE)) == set()


def test_held_out_clips_are_heard_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", small(eval_every=100, sound_every=2))
    monkeypatch.setattr(dit, "record_makers", lambda *_: FakeMakers(bad=("c00",)))
    clips = [talking(tmp_path, n, "bin blue at a one now") for n in range(4)]
    stage = dit.stage(dit_request(tmp_path, clips, tuple(clips)))
    played: dict[int, set[str]] = {}

    def play(self: CurveLog, step: int, sounds: object) -> None:
        assert callable(sounds)
        found = sounds(step)
        assert all(isinstance(one, Sound) and len(one.samples) == RATE for one in found.values())
        played[step] = set(found)

    monkeypatch.setattr(CurveLog, "play", play)
    train(stage, TrainSettings(4, tmp_path / "run"), QUIET)
    assert played == {1: set(), 2: set(), 3: {"speech/c01", "speech/c02", "speech/c03"}, 4: set()}
    lines = (tmp_path / "run" / "curve.jsonl").read_text().splitlines()
    assert "eval_wer" in lines[2] and "eval_wer" not in lines[1]


def test_the_first_usable_clips_are_heard() -> None:
    hearing = Hearing(drawn([dit_clip(n) for n in range(12)], FakeMakers(bad=("c02",))), FakeCodec())  # type: ignore[arg-type]
    _, sounds = hearing(Joined(SIZES, front=True).eval(), torch.device("cpu"))
    assert list(sounds) == [f"speech/c{n:02d}" for n in (0, 1, 3, 4, 5, 6, 7, 8)]


def test_tensorboard_plays_what_a_stage_lets_hear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, tuple[int, ...], int, int]] = []

    class Board:
        """Stands in for ``SummaryWriter``."""

        def add_audio(self, name: str, samples: torch.Tensor, step: int, rate: int) -> None:
            played.append((name, tuple(samples.shape), step, rate))

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr("bench.train_files._tensorboard", lambda *_: Board())
    log = CurveLog(tmp_path, 0)
    log.play(7, lambda step: {f"speech/{step}": Sound(torch.zeros(320), RATE)})
    log.close()
    assert played == [("speech/7", (1, 320), 7, RATE)]


# --- tables


@pytest.fixture
def exam(tmp_path: Path) -> Exam:
    """Four clips of two speakers and a codec that knows nothing."""
    clips = [talking(tmp_path, n, f"bin blue at {letter} one now") for n, letter in enumerate("abcd")]
    codec = MelRvqCodec(MelRvq(MelRvqSizes(levels=4, codes=8)))
    return Exam.of(drawn(clips), codec)


def test_a_row_says_how_a_model_does_under_both_videos(exam: Exam) -> None:
    row = row_of_model("untrained", Joined(SIZES, front=True).eval(), exam)
    assert row["row"] == "untrained" and row["clips"] == 4
    assert row["level1"] == row["level1_control"] == pytest.approx(np.log(8))
    assert row["level1_better"] == 0.0
    assert row["log_mel"] == row["log_mel_control"]  # all codes of that codec sound alike
    assert isinstance(row["wer"], float) and row["wer_low"] is None  # no interval below ten clips
    assert exam.control == [2, 3, 0, 1]


def test_true_speech_has_the_right_voice(exam: Exam) -> None:
    row = row_of_speech("true", exam.truth, exam)
    assert row["voice_right"] == 1.0 and float(row["secs"] or 0) > 0.95
    assert row_of_codec("codec", exam)["log_mel"] == pytest.approx(
        exam.mel_errors([i.tokens for i in exam.items])[0], rel=1
    )


def test_tables_are_written_for_people_and_programs(
    tmp_path: Path, exam: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_command, "exam_of", lambda *_: exam)
    monkeypatch.setattr(measure_command.parts, "joined_of", lambda *_, **__: Joined(SIZES, front=True))
    monkeypatch.setattr(measure_command, "facts", lambda path: {"command": f"bench train {path.name} --out /x"})
    target = tmp_path / "table"
    measure_command.main(["--save", str(target), "full=shipped", "bare=file.safetensors"])
    rows = list(csv.DictReader(target.with_suffix(".csv").open(encoding="utf-8")))
    assert [row["row"] for row in rows] == ["true speech", "codec, true tokens", "full", "bare"]
    assert rows[0]["level1"] == "" and float(rows[2]["level1"]) == pytest.approx(np.log(8))
    text = target.with_suffix(".md").read_text(encoding="utf-8")
    assert "| full |" in text and "# bare\nbench train file.safetensors\n" in text and "2.08, 2.08, 2.08" in text
