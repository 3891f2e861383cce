"""``bench train`` with Wav2Lip's two stages on three short clips: what it writes, says, refuses and resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from train_kit import make_faces

from bench import cli, registry
from bench.systems.wav2lip.training_options import SIZES
from bench.train import CHECKPOINT
from bench.train_files import CURVE, read_curve

WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_world(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT", "BENCH_DEVICE", "BENCH_SEED", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "no-weights"))
    monkeypatch.setattr(registry, "_trial", {group: dict(known) for group, known in registry._trial.items()})
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def command(faces: Path, stage: str, out: Path, steps: int, *more: object) -> list[str]:
    words = ["train", "wav2lip", "--stage", stage, "--config", "tiny", "--dataset", "folder", "--split", "test"]
    words += ["--data-root", faces, "--steps", steps, "--device", "cpu", "--out", out, "--set", "batch_size=2"]
    words += ["--set", "eval_every=2", "--set", "eval_batches=1", *more]
    return [str(word) for word in words]


def train(faces: Path, stage: str, out: Path, steps: int, *more: object) -> Path:
    words = command(faces, stage, out, steps, *more)
    assert cli.invoke(words) == 0, words
    return out


@pytest.fixture(scope="module")
def expert(faces: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps of the expert in one piece."""
    folder = tmp_path_factory.mktemp("expert")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(cache))
        return train(faces, "expert", folder, 4)


def as_json(folder: Path) -> str:
    return (folder / CURVE).read_text(encoding="utf-8")


def equal_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / WEIGHTS) for folder in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_expert_is_trained_and_everything_is_where_the_command_says(
    faces: Path, expert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = train(faces, "expert", tmp_path / "out", 4)
    shown, told = capsys.readouterr()
    assert "4 of 4 steps are done" in shown
    for file in (WEIGHTS, CHECKPOINT, CURVE):
        assert str(out / file) in shown and (out / file).is_file()
    assert told.count("left out: grey: no_face") == 1 and told.count("left out: short: too_short") == 1
    curve = read_curve(out)
    assert [line["step"] for line in curve] == [1, 2, 3, 4]
    assert all(0 < line["sync"] < 20 for line in curve)
    assert [line["step"] for line in curve if "eval_sync" in line] == [3]  # evaluated once two steps were done
    assert as_json(out) == as_json(expert) and equal_weights(out, expert)


def test_weights_say_where_they_come_from(expert: Path) -> None:
    with safe_open(expert / WEIGHTS, framework="pt") as file:
        facts = file.metadata()
    assert facts["stage"] == "wav2lip-expert" and facts["config"] == "tiny" and facts["steps"] == "4"
    assert facts["command"].split()[0] == "bench" and facts["data"].startswith("folder/test@")
    assert {"torch", "threads", "bench", "numpy"} <= facts.keys()
    described = torch.load(expert / CHECKPOINT, weights_only=True)["fingerprint"]
    assert described["data"] == facts["data"] and described["config"] == "tiny"


@pytest.mark.parametrize("stage", ["expert", "generator"])
def test_two_pieces_equal_one(faces: Path, expert: Path, tmp_path: Path, stage: str) -> None:
    more = ["--set", f"expert={expert / WEIGHTS}", "--set", "gan=true"] if stage == "generator" else []
    whole = train(faces, stage, tmp_path / "whole", 4, *more)
    train(faces, stage, tmp_path / "pieces", 3, *more)
    pieces = train(faces, stage, tmp_path / "pieces", 4, *more)
    assert as_json(pieces) == as_json(whole) and equal_weights(pieces, whole)
    other = train(faces, stage, tmp_path / "other", 2, *more, "--seed", 1)
    assert read_curve(other) != read_curve(whole)[:2]


def test_the_generator_learns_to_draw(
    faces: Path, expert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["--set", f"expert={expert / WEIGHTS}"]
    copied = read_curve(train(faces, "generator", tmp_path / "copy", 1, *more))
    monkeypatch.setitem(SIZES, "tiny", replace(SIZES["tiny"], copying=False, average=None))
    out = train(faces, "generator", tmp_path / "g", 12, *more)
    curve = read_curve(out)
    assert copied[0]["pixels"] < curve[-1]["pixels"] < 0.8 * curve[0]["pixels"]
    assert [line["step"] for line in curve if "eval_pixels" in line] == [2, 3, 5, 7, 9, 11]
    assert {name.partition(".")[0] for name in load_file(out / WEIGHTS)} == {"generator", "schedule"}


def test_the_experts_opinion_counts_from_a_good_evaluation_on_for_good(
    faces: Path, expert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "bench.systems.wav2lip.training.SYNC_BELOW"
    more = ("--set", f"expert={expert / WEIGHTS}")
    monkeypatch.setattr(limit, 0.0)
    out = train(faces, "generator", tmp_path / "g", 2, *more)
    monkeypatch.setattr(limit, 100.0)
    train(faces, "generator", out, 4, *more)
    monkeypatch.setattr(limit, 0.0)
    train(faces, "generator", out, 6, *more)
    curve = read_curve(out)
    assert [line["sync_weight"] for line in curve] == pytest.approx([0, 0, 0.01, 0.01, 0.01, 0.01])
    assert ["sync" in line for line in curve] == [False, False, True, True, True, True]


def test_ctrl_c_ends_between_two_steps_and_the_same_command_goes_on(faces: Path, expert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "bench", *command(faces, "expert", out, 100_000)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while len(read_curve(out)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "the same command goes on from here" in told
    steps = len(read_curve(out))
    assert torch.load(out / CHECKPOINT, weights_only=True)["step"] == steps  # no step is lost
    train(faces, "expert", out, steps + 1)
    whole = train(faces, "expert", tmp_path / "whole", steps + 1)
    assert as_json(out) == as_json(whole)


def test_a_budget_ends_it_and_says_so(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(faces, "expert", tmp_path / "out", 5, "--budget", "0")
    assert "0 of 5 steps are done (0 s are over; the same command goes on from here)" in capsys.readouterr().out


def test_faces_are_cut_once_for_both_stages(
    faces: Path,
    cache: Path,
    expert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a clip is decoded again")

    monkeypatch.setattr("bench.media.iter_video", never)
    other = command(faces, "expert", tmp_path / "box", 1, "--set", "box=0,-1,0,-1", "--clips", "a")
    assert cli.invoke(other) == 1  # another cut is made anew
    assert "decoded again" in capsys.readouterr().err
    train(faces, "generator", tmp_path / "g", 1, "--set", f"expert={expert / WEIGHTS}")
    assert not list((cache / "train").rglob("*.part"))
    assert {path.name for path in (cache / "train").iterdir()} == {"faces"}  # systems share them


def test_a_given_box_takes_the_place_of_a_detector(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(faces, "expert", tmp_path / "out", 4, "--set", "box=20,150,10,-1")
    told = capsys.readouterr().err
    assert "left out: short" in told and "left out: grey" not in told  # which has a face now


def test_held_out_clips_judge(faces: Path, tmp_path: Path) -> None:
    rows = [f"{name}.mp4,{split}" for name, split in (("a", "train"), ("b", "val"))]
    manifest = faces / "splits.csv"
    manifest.write_text("\n".join(["path,split", *rows]) + "\n", encoding="utf-8")
    words = command(faces, "expert", tmp_path / "out", 3, "--val-split", "val", "--split", "train")
    words[words.index(str(faces))] = str(manifest)
    assert cli.invoke(words) == 0
    apart = read_curve(tmp_path / "out")
    words[words.index("val")] = "train"
    words[words.index(str(tmp_path / "out"))] = str(tmp_path / "same")
    assert cli.invoke(words) == 0
    same = read_curve(tmp_path / "same")
    assert [line["sync"] for line in apart] == [line["sync"] for line in same]
    assert apart[-1]["eval_sync"] != same[-1]["eval_sync"]


def test_a_trained_generator_redraws_videos(
    faces: Path, expert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = train(faces, "generator", tmp_path / "g", 2, "--set", f"expert={expert / WEIGHTS}")
    words = ["generate", "-s", "wav2lip", "-d", "folder", "--data-root", str(faces), "--clips", "a", "--task", "a2v"]
    words += ["--reference", "same", "--workers", "0", "--device", "cpu", "--set", "detector=dlib", "--out", "store"]
    assert cli.invoke([*words, "--set", f"trained={out / WEIGHTS}"]) == 0, capsys.readouterr().err
    assert list(Path("store", "media").rglob("*.mp4"))
    capsys.readouterr()
    assert cli.invoke([*words, "--set", f"trained={expert / WEIGHTS}", "--out", "other"]) != 0
    assert cli.invoke([*words, "--set", "trained=nowhere", "--out", "third"]) == 2
    assert "no such file" in capsys.readouterr().err


WRONG = {
    "system": (["train", "wavlip", "--steps", "1"], "did you mean 'wav2lip'"),
    "no training": (["train", "espeak", "--steps", "1"], "'espeak' offers no training"),
    "stage": (["train", "wav2lip", "--stage", "expart", "--steps", "1"], "did you mean 'expert'"),
    "no stage": (["train", "wav2lip", "--steps", "1"], "name one with --stage"),
    "no steps": (["train", "wav2lip", "--stage", "expert"], "--steps"),
    "steps": (["train", "wav2lip", "--stage", "expert", "--steps", "0"], "at least 1"),
    "config": (["train", "wav2lip", "--stage", "expert", "--steps", "1", "--config", "tyni"], "did you mean 'tiny'"),
    "dtype": (["train", "wav2lip", "--stage", "expert", "--steps", "1", "--dtype", "bfloat16"], "--device cuda"),
    "device": (["train", "wav2lip", "--stage", "expert", "--steps", "1", "--device", "gpu"], "cuda:N"),
    "split": (["train", "wav2lip", "--stage", "expert", "--steps", "1", "--split", "trian"], "did you mean 'train'"),
    "dataset": (["train", "wav2lip", "--stage", "expert", "--steps", "1", "--dataset", "dmo"], "did you mean 'demo'"),
    "two": (["train", "wav2lip", "--stage", "expert", "--steps", "1", "--dataset", "demo,lrs2"], "a training has one"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_before_any_work(case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words, wanted = WRONG[case]
    if case in {"dtype", "split"}:
        words = [*words, "--device", "cpu"]
    assert cli.invoke(words) == 2
    assert wanted in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_settings_and_experts_that_do_not_fit_are_told(
    faces: Path, expert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(stage: str, *more: str) -> str:
        assert cli.invoke(command(faces, stage, tmp_path / "out", 1, *more)) == 2
        return capsys.readouterr().err

    assert "did you mean 'detector'" in told("expert", "--set", "detectr=dlib")
    assert "greater than or equal to 2" in told("expert", "--set", "batch_size=1")
    assert "bench train wav2lip --stage expert --config full" in told("generator", "--config", "full")
    assert "no such file" in told("generator", "--set", "expert=nowhere")
    assert "s3fd.pth are not here" in told("expert", "--set", "detector=s3fd")
    wrong = ["--config", "full", "--set", "detector=dlib", "--set", f"expert={expert / WEIGHTS}"]
    assert "is no expert of this configuration" in told("generator", *wrong)
    assert not (tmp_path / "out").exists()


def test_another_training_in_the_folder_is_refused(
    faces: Path, expert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (expert / CHECKPOINT).read_bytes()
    assert cli.invoke(command(faces, "expert", expert, 5, "--set", "rate=0.1")) == 2
    assert "with other settings: rate" in capsys.readouterr().err
    assert (expert / CHECKPOINT).read_bytes() == before


def test_no_usable_clip_is_an_error_with_the_reasons(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(command(faces, "expert", tmp_path / "out", 1, "--clips", "grey,short")) == 1
    told = capsys.readouterr().err
    assert "left out: grey: no_face" in told and "left out: short: too_short" in told
    assert "none of 2 clips can be trained on" in told
