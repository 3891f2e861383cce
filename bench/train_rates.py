"""Learning rates by step. A schedule's length is a setting of its own, not the number of steps that a command asks for:
so a training that is stopped and goes on, or of which only the first steps are repeated, has the same rates."""

from __future__ import annotations

import math

import torch


def cosine(step: int, length: int, warm_up: int, floor: float) -> float:
    """A factor: rising to 1 over ``warm_up`` steps, then half a cosine down to ``floor`` at ``length`` and after it."""
    risen = min(1.0, (step + 1) / warm_up)
    return risen * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / length))))


def flat_then_linear(step: int, length: int, warm_up: int, floor: float) -> float:
    """A factor: rising to 1 over ``warm_up`` steps, 1 for half of ``length``, then straight down to ``floor`` at it."""
    risen = min(1.0, (step + 1) / warm_up)
    fallen = min(1.0, max(0.0, 2 * step / length - 1))
    return risen * (1 - (1 - floor) * fallen)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all of an optimiser's parameters this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
