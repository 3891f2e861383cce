"""The average of the weights over the steps, and which state of it is kept."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from bench.systems.talker.training.joint_losses import Taught

_YOUNG = 10  # steps: before so many the average forgets faster


class _Book(nn.Module):
    """How often the average was updated, and the best score; in the checkpoint with the networks."""

    updates: torch.Tensor
    best: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("best", torch.tensor(torch.inf))


class Average:
    """An exponential average of ``learning``, and the joint model of its best state.

    Attributes:
        learning: what the optimiser changes.
        taught: its average.
        kept: the joint model as it is to be shipped.
    """

    def __init__(self, learning: Taught, decay: float) -> None:
        self.learning, self._decay, self._book = learning, decay, _Book()
        self.taught = copy.deepcopy(learning).requires_grad_(False)
        self.kept = copy.deepcopy(learning.joint).requires_grad_(False)

    def networks(self) -> Mapping[str, nn.Module]:
        """All of it, for the checkpoint."""
        return {"learning": self.learning, "average": self.taught, "joint": self.kept, "book": self._book}

    @torch.no_grad()
    def update(self) -> None:
        """To be called once after each step."""
        done = int(self._book.updates)
        share = 1.0 - min(self._decay, (done + 1) / (done + _YOUNG))
        mine, other = self.taught.state_dict(), self.learning.state_dict()
        for name, tensor in mine.items():
            if tensor.is_floating_point():
                tensor.lerp_(other[name], share)
        self._book.updates += 1

    def offer(self, score: float) -> None:
        """Keep the average as it is now if its ``score`` is below all earlier ones."""
        if score < float(self._book.best):
            self._book.best.fill_(score)
            self.keep()

    def keep(self) -> None:
        """Keep the average as it is now."""
        self.kept.load_state_dict(self.taught.joint.state_dict())
