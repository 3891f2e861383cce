"""The training loop: killed and resumed it gives the same curve; it refuses what it cannot go on with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from toy_stage import Toy

from bench.errors import DataError, UsageError
from bench.progress import Progress
from bench.train import CHECKPOINT, Loss, Trained, TrainingError, TrainSettings, step_seed, train
from bench.train_files import CURVE, read_curve

SCRIPT = Path(__file__).with_name("toy_stage.py")
STEPS = 30


def run(folder: Path, steps: int = STEPS, every: int = 5, stage: Toy | None = None, **settings: object) -> Trained:
    return train(stage or Toy(), TrainSettings(steps, folder, every=every, **settings), Progress(quiet=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder).reason == "steps"
    return folder


def equal_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_loss_falls_and_every_step_is_in_the_curve(tmp_path: Path) -> None:
    run(tmp_path, 300, every=300)
    curve = read_curve(tmp_path)
    assert [line["step"] for line in curve] == list(range(1, 301))
    losses = [line["generator"] for line in curve]
    assert sum(losses[-100:]) / 100 < 0.75 * sum(losses[:50]) / 50


@pytest.mark.parametrize("stop", [1, 5, 12, 29])
def test_a_training_in_two_pieces_equals_one_in_one_piece(whole: Path, tmp_path: Path, stop: int) -> None:
    run(tmp_path, stop)
    run(tmp_path)
    assert (tmp_path / CURVE).read_text() == (whole / CURVE).read_text()
    assert equal_weights(tmp_path, whole)


class Preparing(Toy):
    """Builds networks while it makes a batch, as a stage does for clips that are not kept yet."""

    def batch(self, step: int, rank: int, world: int) -> torch.Tensor:
        torch.rand(step + 1)
        return super().batch(step, rank, world)


class Prepared(Preparing):
    def batch(self, step: int, rank: int, world: int) -> torch.Tensor:
        return Toy.batch(self, step, rank, world)


def test_what_is_prepared_for_a_batch_leaves_dropout_alone(tmp_path: Path) -> None:
    run(tmp_path / "anew", steps=4, stage=Preparing())
    run(tmp_path / "kept", steps=4, stage=Prepared())
    assert read_curve(tmp_path / "anew") == read_curve(tmp_path / "kept")


def test_a_finished_training_does_nothing_more(tmp_path: Path) -> None:
    run(tmp_path, 3)
    before = (tmp_path / CURVE).read_text()
    assert run(tmp_path, 3).step == 3
    assert (tmp_path / CURVE).read_text() == before


def test_a_killed_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    """kill -9 at random moments, in the loop and while checkpoints are written."""
    steps, draw = 400, random.Random(3)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed"), str(steps), "3"]
    for _ in range(3):
        process = subprocess.Popen(command)
        seen = len(read_curve(tmp_path / "killed"))
        deadline = time.monotonic() + 60
        while process.poll() is None and len(read_curve(tmp_path / "killed")) <= seen and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, check=False).returncode == 0
    run(tmp_path / "whole", steps, every=steps)
    assert (tmp_path / "killed" / CURVE).read_text() == (tmp_path / "whole" / CURVE).read_text()
    assert equal_weights(tmp_path / "killed", tmp_path / "whole")


def test_a_budget_ends_between_two_steps_and_the_training_can_go_on(whole: Path, tmp_path: Path) -> None:
    ended = run(tmp_path, budget_s=0.0)
    assert (ended.step, ended.reason) == (0, "budget")
    run(tmp_path)
    assert (tmp_path / CURVE).read_text() == (whole / CURVE).read_text()


def test_other_settings_are_refused_by_name_and_the_checkpoint_stays(tmp_path: Path) -> None:
    run(tmp_path, 5)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(UsageError, match="rate"):
        run(tmp_path, stage=Toy(rate=1e-3))
    with pytest.raises(UsageError, match="seed"):
        run(tmp_path, seed=7)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    run(tmp_path, 5)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"last\.pt cannot be read"):
        run(tmp_path)


class Diverging(Toy):
    def losses(self, batch: torch.Tensor, step: int, generator: torch.Generator) -> Iterator[Loss]:
        for loss in super().losses(batch, step, generator):
            yield Loss(loss.optimiser, loss.value * (float("nan") if step == 7 else 1.0), loss.logged)


def test_a_loss_that_is_no_number_stops_and_keeps_what_was_learnt(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at step 7"):
        run(tmp_path, stage=Diverging())
    assert read_curve(tmp_path)[-1]["step"] == 7
    run(tmp_path, 6)  # the checkpoint of step 5 is whole
    assert read_curve(tmp_path)[-1]["step"] == 6


class Stumbling(Toy):
    """Some batches are no numbers, and spoil the running statistics before the loss tells it."""

    bad_steps = 3

    def __init__(self, *bad: int) -> None:
        super().__init__()
        self._spoilt = bad

    def batch(self, step: int, rank: int, world: int) -> torch.Tensor:
        return super().batch(step, rank, world) * (float("nan") if step in self._spoilt else 1.0)


def test_a_stage_may_skip_steps_whose_loss_is_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = TrainSettings(STEPS, tmp_path / "a", every=5)
    train(Stumbling(0, 3, 4, 6, 7), settings, Progress())
    assert [line["step"] for line in read_curve(tmp_path / "a") if "skipped" in line] == [1, 4, 5, 7, 8]
    assert "is nan at step 6: nothing is learned from it" in capsys.readouterr().err
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(tmp_path / "a" / "weights.safetensors").values())
    for steps in (4, 7, STEPS):  # stopped between two bad steps
        run(tmp_path / "b", steps, stage=Stumbling(0, 3, 4, 6, 7))
    assert equal_weights(tmp_path / "a", tmp_path / "b")


def test_a_skipped_step_leaves_the_networks_as_they_were(tmp_path: Path) -> None:
    run(tmp_path / "short", 6, stage=Stumbling())
    run(tmp_path / "skipped", 8, stage=Stumbling(6, 7))
    assert equal_weights(tmp_path / "short", tmp_path / "skipped")


class Steep(Toy):
    """The loss of a step is a number; its gradient is none."""

    def losses(self, batch: torch.Tensor, step: int, generator: torch.Generator) -> Iterator[Loss]:
        for loss in super().losses(batch, step, generator):
            added = (loss.value * 0).sqrt() if step == 7 else 0.0
            yield Loss(loss.optimiser, loss.value + added, loss.logged)


def test_a_gradient_that_is_no_number_is_as_bad(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the gradient of 'generator' is nan at step 7"):
        run(tmp_path, stage=Steep())
    stage = Steep()
    stage.bad_steps = 2  # type: ignore[misc]
    run(tmp_path / "more", stage=stage)
    assert all(
        bool(tensor.isfinite().all()) for tensor in load_file(tmp_path / "more" / "weights.safetensors").values()
    )


def test_too_many_of_them_in_a_row_stop_the_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at step 8, the last of 3 in a row"):
        run(tmp_path, stage=Stumbling(2, 3, 6, 7, 8))
    run(tmp_path, 6, stage=Stumbling())
    assert read_curve(tmp_path)[-1]["step"] == 6


def test_the_shipped_weights_are_the_average_and_say_where_they_come_from(tmp_path: Path) -> None:
    run(tmp_path, 4, provenance={"command": "bench train toy"})
    path = tmp_path / "weights.safetensors"
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    assert facts["command"] == "bench train toy" and facts["steps"] == "4"
    saved = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert torch.equal(load_file(path)["generator.0.weight"], saved["averages"]["generator"]["0.weight"])
    assert not torch.equal(saved["averages"]["generator"]["0.weight"], saved["networks"]["generator"]["0.weight"])


@pytest.mark.parametrize("settings", [{"dtype": "float8"}, {"dtype": "bfloat16"}, {"steps": 0}, {"every": 0}])
def test_impossible_settings_are_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        TrainSettings(**{"steps": 1, "folder": tmp_path, **settings})


def test_seeds_differ_by_step_rank_and_run_and_fit_a_generator() -> None:
    seeds = {step_seed(run, step, rank) for run in range(3) for step in range(20) for rank in range(3)}
    assert len(seeds) == 180
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_two_processes_share_gradients_and_end_with_equal_weights(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(tmp_path / "a"), "6"], check=False, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    done = subprocess.run([*command, str(tmp_path / "b"), "3"], check=False, capture_output=True, env=environment)
    done = subprocess.run([*command, str(tmp_path / "b"), "6"], check=False, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert len(read_curve(tmp_path / "a")) == 6
    assert equal_weights(tmp_path / "a", tmp_path / "b")
