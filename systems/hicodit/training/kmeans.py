"""k-means (Lloyd 1982), one round at a time, on vectors that fit into memory. The same numbers give the same codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.systems.hicodit.codec.mel_rvq import nearest

_BLOCK = 16_384  # vectors whose distances are in memory together


class Round(NamedTuple):
    """What a round found: ``targets`` ``(K, width)`` to move to, ``error`` the mean squared distance per number,
    ``empty`` how many codes nothing was near to."""

    targets: Tensor
    error: float
    empty: int


def start(vectors: Tensor, codes: int, seed: int) -> Tensor:
    """``codes`` of the vectors ``(N, width)``, drawn without repetition while there are enough."""
    chosen = np.random.default_rng(seed).choice(len(vectors), codes, replace=len(vectors) < codes)
    return vectors[torch.from_numpy(chosen).to(vectors.device)]


def lloyd(vectors: Tensor, codebook: Tensor) -> Round:
    """The mean of the vectors ``(N, width)`` near each row of ``codebook``; an empty row gets one of the vectors that
    lie farthest from theirs."""
    index, distance = assigned(vectors, codebook)
    count = torch.bincount(index, minlength=len(codebook))
    total = torch.zeros(codebook.shape, dtype=torch.float64, device=vectors.device)
    total.index_add_(0, index, vectors.double())
    targets = (total / count.clamp_min(1)[:, None]).to(codebook)
    empty = torch.nonzero(count == 0)[:, 0][: len(vectors)]
    targets[empty] = vectors[distance.topk(len(empty)).indices]
    return Round(targets, float(distance.double().mean()) / vectors.shape[1], len(empty))


def assigned(vectors: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`.nearest`, for vectors ``(N, width)`` of any number."""
    parts = [nearest(part, codebook) for part in torch.split(vectors, _BLOCK)]
    return torch.cat([index for index, _ in parts]), torch.cat([distance for _, distance in parts])
