"""A small adversarial training with everything that the loop must carry over: two optimisers, momentum, dropout,
running statistics, drawn noise, an average. Run as a script it trains: ``toy_stage.py FOLDER STEPS [EVERY]``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.progress import Progress
from bench.train import Loss, Stage, TrainSettings, train


class Toy(Stage):
    name = "toy"
    clip_norm = {"generator": 1.0}
    averaged = {"generator": 0.9}

    def __init__(self, rate: float = 1e-2, per_process: int = 8) -> None:
        torch.manual_seed(1)
        self.rate, self.per_process = rate, per_process
        self.generator = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 3)
        )
        self.critic = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        self._optimisers = {
            "generator": torch.optim.Adam(self.generator.parameters(), rate),
            "critic": torch.optim.SGD(self.critic.parameters(), rate, momentum=0.9),
        }

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "critic": self.critic}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return self._optimisers

    def describe(self) -> dict[str, Any]:
        return {"rate": self.rate}

    def batch(self, step: int, rank: int, world: int) -> torch.Tensor:
        draw = torch.Generator().manual_seed(1000 * step + rank)
        return torch.randn(self.per_process, 4, generator=draw)

    def losses(self, batch: torch.Tensor, step: int, generator: torch.Generator) -> Iterator[Loss]:
        made = self.generator(batch)
        loss = (made - batch[:, :3] ** 2).square().mean() - 0.01 * self.critic(made).mean()
        yield Loss("generator", loss, {"generator": loss.detach()})
        noise = torch.randn(len(batch), 3, generator=generator)
        loss = self.critic(made.detach()).square().mean() + (self.critic(noise) - 1).square().mean()
        yield Loss("critic", loss, {"critic": loss.detach()})


if __name__ == "__main__":
    every = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    train(Toy(), TrainSettings(int(sys.argv[2]), Path(sys.argv[1]), every=every), Progress(quiet=True))
