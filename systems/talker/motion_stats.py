"""Mean and deviation of each dimension of a motion code, and codes normalised with them (talker.md 7.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_LEAST = 1e-6  # deviation, as in the source
#: Part of the largest deviation that a dimension's deviation is raised to: a dead one would become noise otherwise.
FLOOR = 0.05


class MotionStats(nn.Module):
    """Normalises motion codes (…, C); ``mean`` and ``std`` (C,) are tensors of a weight file."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float] | NDArray[Any], std: Sequence[float] | NDArray[Any]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(np.asarray(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(np.asarray(std), dtype=torch.float32).clamp(min=_LEAST))

    @classmethod
    def blank(cls, dimensions: int) -> MotionStats:
        """Mean 0 and deviation 1, to be filled from a file."""
        return cls(np.zeros(dimensions), np.ones(dimensions))

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> MotionStats:
        """From ``motion_mean`` and ``motion_std``, the layout of the official numbers' file."""
        return cls(numbers["motion_mean"], numbers["motion_std"])

    @classmethod
    def measured(cls, codes: NDArray[Any]) -> MotionStats:
        """Of all codes (T, C) of a training set; small deviations are raised to :data:`FLOOR` of the largest."""
        rows = np.asarray(codes, np.float64)
        std = rows.std(axis=0)
        return cls(rows.mean(axis=0), np.maximum(std, FLOOR * std.max()))

    def normalised(self, raw: torch.Tensor) -> torch.Tensor:
        """``(raw - mean) / std`` in float32."""
        return (raw.float() - self.mean) / self.std

    def raw(self, normal: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`normalised`."""
        return normal.float() * self.std + self.mean

    def conditions(self, raw: torch.Tensor) -> torch.Tensor:
        """Normalised and rounded to bfloat16, as the reference conditions the model; float32."""
        return self.normalised(raw).to(torch.bfloat16).float()

    def numbers(self) -> dict[str, list[float]]:
        """What :meth:`of` reads."""
        return {"motion_mean": self.mean.tolist(), "motion_std": self.std.tolist()}


@cache
def official() -> MotionStats:
    """The published system's 40 dimensions (``zhenye234/Talker-T2AV: lia_x/motion_mean.npy``, ``motion_std.npy``)."""
    text = files("bench.systems.talker").joinpath("motion_stats.json").read_text("utf-8")
    return MotionStats.of(json.loads(text))
