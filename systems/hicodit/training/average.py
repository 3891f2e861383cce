"""The average of the weights over the steps, which is what sampling and evaluation use."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


class Average(Generic[_Network]):
    """An exponential average of ``learning``'s parameters; buffers are copied.

    Attributes:
        learning: what the optimisers change.
        network: its average.
    """

    def __init__(self, learning: _Network, decay: float) -> None:
        self.learning, self._decay = learning, decay
        self.network = copy.deepcopy(learning).requires_grad_(False)

    @torch.no_grad()
    def update(self) -> None:
        """To be called once after each step."""
        for mine, other in zip(self.network.parameters(), self.learning.parameters(), strict=True):
            mine.lerp_(other, 1.0 - self._decay)
        for own, learnt in zip(self.network.buffers(), self.learning.buffers(), strict=True):
            own.copy_(learnt)
