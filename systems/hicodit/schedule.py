"""Noise and times of the masked diffusion: the log-linear schedule, the samplers' time grids, the time features.

After ``louaaron/Score-Entropy-Discrete-Diffusion: noise_lib.py, graph_lib.py, model/transformer.py`` (hicodit.md A.6)
and the confidence sampler of hicodit.md C.7. Time 1 is all masked, time 0 is speech. A time is a float, or a tensor of
any shape; what is computed from a tensor has its shape and type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Times of training lie in [FIRST_TIME, 1].
FIRST_TIME = 1e-3
#: Where the grid of a sampler ends; what is still masked there is drawn at once.
LAST_TIME = 1e-5
#: Below this total noise ``e^noise - 1`` is taken by ``expm1``.
_SMALL_NOISE = 0.5
_LONGEST_WAVE = 10_000.0  # of the sinusoids, in steps of 2 pi


@dataclass(frozen=True)
class LogLinear:
    """The schedule in which the expected share of masked tokens grows linearly in time.

    Attributes:
        eps: share of the tokens that are still visible at time 1.
    """

    eps: float = 1e-3

    def total(self, time: Tensor | float) -> Tensor:
        """The noise so far, the integral of the rate: ``-log(1 - (1 - eps) t)``."""
        return -torch.log1p(-(1 - self.eps) * as_time(time))

    def rate(self, time: Tensor | float) -> Tensor:
        """The noise per unit of time: ``(1 - eps) / (1 - (1 - eps) t)``."""
        return (1 - self.eps) / (1 - (1 - self.eps) * as_time(time))

    def masked_share(self, time: Tensor | float) -> Tensor:
        """Probability that a token is masked, as the corruption uses it: ``1 - e^-total``, that is (1 - eps) t."""
        return 1 - torch.exp(-self.total(time))

    def ratio(self, time: Tensor | float) -> Tensor:
        """Odds of masked against visible, ``e^total - 1``. The true scores of a masked token sum to its inverse."""
        total = self.total(time)
        return torch.where(total < _SMALL_NOISE, torch.expm1(total), torch.exp(total) - 1)

    def log_ratio(self, time: Tensor | float) -> Tensor:
        """Logarithm of the odds, r(t) of hicodit.md C.3."""
        return self.ratio(time).log()


#: The schedule of the paper (and of SEDD), used wherever none is given.
SCHEDULE = LogLinear()


def as_time(time: Tensor | float) -> Tensor:
    """A tensor as it is; a float as a tensor without dimensions, in double precision."""
    return time if isinstance(time, Tensor) else torch.tensor(time, dtype=torch.float64)


def over_codes(values: Tensor) -> Tensor:
    """Values of positions ``(...)`` for use with ``(..., K)``; without dimensions they stay so, and change no type."""
    return values[..., None] if values.ndim else values


def step_span(steps: int) -> float:
    """Length of one step of a grid of so many steps."""
    return (1 - LAST_TIME) / steps


def grid_time(step: int, steps: int) -> float:
    """Time at the start of a step, 0 <= step < steps, on the even grid from 1 to ``LAST_TIME``."""
    return 1 - step * step_span(steps)


def confidence_time(step: int, steps: int) -> float:
    """Time that the network is given at a step of the confidence sampler: the cosine of the share that is done."""
    return max(math.cos(math.pi * step / (2 * steps)), FIRST_TIME)


def revealed_count(length: int, step: int, steps: int) -> int:
    """How many of a level's ``length`` tokens are visible after a step of the confidence sampler; all at the last."""
    return length - int(length * math.cos(math.pi * (step + 1) / (2 * steps)))


def time_features(total: Tensor, width: int = 256) -> Tensor:
    """Sinusoids of the total noise: ``(..., )`` to ``(..., width)``, cosines first, frequencies from 1 to 1/10000."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=total.device)
    angles = total[..., None].float() * torch.exp(-math.log(_LONGEST_WAVE) * steps / half)
    features = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return torch.nn.functional.pad(features, (0, width % 2))
