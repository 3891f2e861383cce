"""What a stage does last enters its weights, and not the checkpoint that a training goes on from."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from toy_stage import Toy

from bench.progress import Progress
from bench.train import CHECKPOINT, TrainSettings, train
from bench.train_files import CURVE


class Finishing(Toy):
    """Counts its ends in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.critic.register_buffer("ends", torch.zeros(()))
        self.modes: list[bool] = []

    def finish(self) -> None:
        self.modes += [network.training for network in self.networks().values()]
        assert not torch.is_grad_enabled()
        self.critic.ends += 1


def run(folder: Path, steps: int) -> Finishing:
    stage = Finishing()
    train(stage, TrainSettings(steps, folder), Progress(quiet=True))
    return stage


def test_the_end_of_a_training_is_in_its_weights_alone(tmp_path: Path) -> None:
    assert run(tmp_path / "one", 4).modes == [False, False]
    assert load_file(tmp_path / "one" / "weights.safetensors")["critic.ends"] == 1
    kept = torch.load(tmp_path / "one" / CHECKPOINT, weights_only=True)
    assert kept["networks"]["critic"]["ends"] == 0


def test_a_training_that_ended_twice_is_as_one(tmp_path: Path) -> None:
    for steps in (2, 4):
        run(tmp_path / "pieces", steps)
    run(tmp_path / "whole", 4)
    assert (tmp_path / "pieces" / CURVE).read_text() == (tmp_path / "whole" / CURVE).read_text()
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("pieces", "whole"))
    assert all(torch.equal(one[name], two[name]) for name in one)
