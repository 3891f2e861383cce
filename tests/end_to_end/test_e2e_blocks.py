"""``tables:`` from end to end: one store, shared runs made once, papers' rows beside, resumed after a kill."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
from e2e_kit import SLOW, Driver, needs_proc

from bench import cli
from bench.store import Store

#: Two blocks share ground-truth; the third is driven by the speech of a run that the fourth shows.
PAPER = """\
dataset: folder
metrics: [duration]
workers: 0
tables:
  - name: left
    title: "Left: real audio"
    note: said below the table
    task: a2v
    systems:
      - {system: still-face, printed: Wav2Lip}
      - {system: ground-truth, name: the truth}
      - {system: "gateway:talklip", name: talklip, optional: true}
    metrics: {default: [psnr/rgb@1, duration, csim/arcface-r100@1]}
    published: {source: seed-003, table: 1, setting: real audio/matched}
  - name: again
    title: Again
    task: a2v
    systems: [{system: ground-truth, name: upper bound}]
    published: {source: seed-003, table: 3}
  - name: right
    title: "Right: synthetic speech, cross"
    task: a2v
    audio: tts
    pairing: cross
    set: {tts_system: shuffled, tts_reference: same}
    systems:
      - still-face
      - {system: ground-truth, task: t2av, reference: same}
  - name: speech
    title: Speech
    task: tts
    reference: same
    systems: [ground-truth, shuffled]
    metrics: [duration]
"""


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights nor gateways of the machine."""
    for name in ("XDG_DATA_HOME", "BENCH_WEIGHTS", "BENCH_GATEWAYS"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))


@pytest.fixture
def paper(tmp_path: Path, talks: Path) -> list[object]:
    """The words of the command, without the verb."""
    file = tmp_path / "paper.yaml"
    file.write_text(PAPER, encoding="utf-8")
    return ["--config", file, "--data-root", talks, "--out", tmp_path / "store", "-q"]


def call(*words: object) -> int:
    return cli.invoke([str(word) for word in words])


def rows_of(folder: Path, name: str = "paper_folder") -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_blocks_share_runs_and_stand_beside_their_papers(
    paper: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", *paper, "--limit", 2, "--published", "--save", tmp_path / "saved") == 0
    shown = capsys.readouterr()
    order = ["Left: real audio · folder", "PUBLISHED, not measured here: seed-003, Table 1, real audio/matched",
             "Again", "seed-003, Table 3", "Right: synthetic", "Speech · folder"]  # fmt: skip
    places = [shown.out.index(text) for text in order]
    assert places == sorted(places)
    assert "said below the table" in shown.out and "Wav2Lip =" in shown.out
    assert "left out, since not installed here: talklip" in shown.out
    assert "csim/arcface-r100@1" in shown.out, "and a metric without its weights"
    with Store.open(tmp_path / "store", write=False) as store:
        runs = store.runs()
    assert len(runs) == 6, "ground-truth a2v stands in two blocks"
    assert {run.config["row"]["value"] for run in runs} >= {"left: the truth", "right: still-face"}
    rows = rows_of(tmp_path / "saved")
    assert [row["system"] for row in rows if row["table"].startswith("Again") and row["tier"] == "control"] == [
        "upper bound"
    ]
    assert {row["run_id"] for row in rows if row["system"] in {"the truth", "upper bound"}} == {
        run.id for run in runs if (run.system, run.task) == ("ground-truth", "a2v")
    }
    left = [row for row in rows if row["table"].startswith("Left") and row["source"] == "measured"]
    assert list(dict.fromkeys(row["protocol"] for row in left)) == ["psnr/rgb@1", "duration/abs@1"], "the file's order"
    printed = [row for row in rows if row["source"] == "seed-003"]
    assert len(printed) == 42 + 24 and {row["tier"] for row in printed} == {"published"}
    first = json.loads((tmp_path / "saved" / "paper_folder.json").read_text())[0]
    assert first["table"] == "Left: real audio · folder/test"
    text = (tmp_path / "saved" / "paper_folder.md").read_text()
    assert text.startswith("# paper\n") and "limit 2" in text and "WARNING Table 3 prints" in text


def test_a_limited_cross_block_does_not_widen_the_others(paper: list[object], tmp_path: Path) -> None:
    """The partners of two clips were synthesized too; the block of the speech is over its own clips alone."""
    assert call("run", *paper, "--limit", 2, "--save", tmp_path / "saved") == 0
    rows = [row for row in rows_of(tmp_path / "saved") if row["source"] == "measured"]
    assert {row["n_scored"] for row in rows} == {"2"} and {row["n_failed"] for row in rows} == {"0"}
    with Store.open(tmp_path / "store", write=False) as store:
        speech = next(run for run in store.runs() if (run.system, run.task) == ("shuffled", "tts"))
        assert len(store.run_clips(speech.id)) > 2
    right = [row for row in rows if row["table"].startswith("Right")]
    assert {row["task"] for row in right} == {"a2v", "t2av"}, "rows of two tasks in one table"
    assert {row["audio"] for row in right} == {"tts:shuffled (same voice)", ""}


def test_the_same_command_does_nothing_more(paper: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    words = [*paper[:-1], "--limit", 2]
    assert call("run", *words) == 0
    first = capsys.readouterr()
    assert call("run", *words) == 0
    second = capsys.readouterr()
    assert "generated: 0 new" in second.err and "scores: 0 new" in second.err
    assert second.out == first.out


def test_generate_then_score_and_score_alone(
    paper: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("score", *paper) == 1, "there is no store yet"
    assert not (tmp_path / "store").exists()
    assert call("generate", *paper, "--limit", 2) == 0
    assert capsys.readouterr().out == ""
    assert call("score", *paper, "--limit", 2) == 0
    assert "Left: real audio" in capsys.readouterr().out


def test_the_plan_shows_every_block_and_writes_nothing(
    paper: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", *paper, "--limit", 2, "--dry-run") == 0
    out = capsys.readouterr().out
    for words in (["left", "the truth", "ground-truth"], ["again", "upper bound"], ["speech", "shuffled"]):
        assert any(all(word in line for word in words) for line in out.splitlines()), words
    assert "wait for tts" in out and "talklip is left out of left: " in out
    assert not (tmp_path / "store").exists()


def test_a_system_that_is_not_here_and_not_optional_is_an_error(
    paper: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "paper.yaml"
    file.write_text(PAPER.replace(", optional: true", ""), encoding="utf-8")
    assert call("run", *paper, "--limit", 2) == 2
    message = capsys.readouterr().err
    assert "(left: talklip)" in message and "TalkLip" in message
    with Store.open(tmp_path / "store", write=False) as store:
        assert store.runs() == []


def test_an_ordinary_run_saves_its_tables_too(talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "-q", "-s", "ground-truth", "-d", "folder", "--data-root", talks, "--task", "a2v", "--limit", 2,
             "--metrics", "duration", "--workers", 0, "--out", tmp_path / "store"]  # fmt: skip
    assert call(*words, "--save", tmp_path / "saved") == 0
    assert "written: " in capsys.readouterr().out
    assert [row["system"] for row in rows_of(tmp_path / "saved", "leaderboard")] == ["ground-truth"]
    assert (tmp_path / "saved" / "leaderboard.md").read_text().startswith("### folder/test")
    (tmp_path / "file").write_text("")
    assert call(*words, "--save", tmp_path / "file") == 2


@needs_proc
def test_killed_and_repeated_it_ends_alike(paper: list[object], tmp_path: Path) -> None:
    file = tmp_path / "paper.yaml"
    file.write_text(PAPER.replace("still-face", "slow-face"), encoding="utf-8")
    words = ["run", *paper, "--plugin", SLOW, "--limit", 3]
    folder = tmp_path / "driver"
    folder.mkdir()
    killed = Driver([*words, "--out", tmp_path / "killed"], folder, {"E2E_SLEEP": "0.3"})
    assert killed.wait_for(2, limit_s=60)
    killed.process.send_signal(signal.SIGKILL)
    assert killed.finish()[0] == -signal.SIGKILL
    assert call(*words, "--out", tmp_path / "killed", "--save", tmp_path / "a") == 0
    assert call(*words, "--out", tmp_path / "whole", "--save", tmp_path / "b") == 0
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")
