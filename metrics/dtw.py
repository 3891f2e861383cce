"""Dynamic time warping of two series of vectors: the path of least total distance, both ends bound.

Steps (1, 1), (1, 0) and (0, 1), each of weight 1; where totals are equal the diagonal is taken before a step
of the first series, and that before a step of the second. H. Sakoe, S. Chiba, "Dynamic programming algorithm
optimization for spoken word recognition", IEEE Trans. ASSP 26(1), 1978, without their slope constraint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIAGONAL, _FIRST, _SECOND = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Path:
    """Cells of the path from both beginnings to both ends: indices (L,) into either series, and their distances."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    distances: NDArray[np.float64]


def align(first: NDArray[np.float64], second: NDArray[np.float64]) -> Path:
    """The best path between vectors (N, D) and (M, D) under Euclidean distance, N and M at least 1.

    One anti-diagonal at a time, whose cells do not depend on each other: N + M steps of vector arithmetic.
    Memory is N·M bytes. Raises ``ValueError`` for an empty series or unequal D.
    """
    if not len(first) or not len(second) or first.shape[1:] != second.shape[1:]:
        raise ValueError(f"series of {first.shape} and {second.shape} cannot be aligned")
    n, m = len(first), len(second)
    backwards = second[::-1]
    choices: list[NDArray[np.uint8]] = []
    # Totals of a diagonal by index into the first series, shifted by one; infinite outside.
    before, last = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    before[0] = 0.0  # the cell ahead of the beginning
    for k in range(n + m - 1):
        low, high = max(0, k - m + 1), min(k, n - 1) + 1
        part = slice(low, high)
        choice, total = _cheapest(before[part], last[part], last[low + 1 : high + 1])
        total += _distances(first[part], backwards[m - 1 - k + low : m - 1 - k + high])
        choices.append(choice)
        before, last = last, np.full(n + 1, np.inf)
        last[low + 1 : high + 1] = total
    rows, columns = _walk_back(choices, n, m)
    return Path(rows, columns, _distances(first[rows], second[columns]))


def _cheapest(
    diagonal: NDArray[np.float64], along_first: NDArray[np.float64], along_second: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Which predecessor of each cell of a diagonal is best, and its total."""
    choice = np.where(along_first < diagonal, np.uint8(_FIRST), np.uint8(_DIAGONAL))
    total = np.minimum(diagonal, along_first)
    choice[along_second < total] = _SECOND
    return choice, np.minimum(total, along_second)


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances (K,) of vectors (K, D)."""
    difference = a - b
    return np.asarray(np.sqrt(np.einsum("kd,kd->k", difference, difference)))


def _walk_back(choices: list[NDArray[np.uint8]], n: int, m: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    i, j = n - 1, m - 1
    cells = [(i, j)]
    while i or j:
        choice = choices[i + j][i - max(0, i + j - m + 1)]
        i -= choice != _SECOND
        j -= choice != _FIRST
        cells.append((i, j))
    rows, columns = np.array(cells[::-1], np.intp).T
    return rows, columns
