"""Similarity of paired face embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating[Any]]  # (N, D)


def cosine(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """Cosine of each pair of rows, (N,), in [-1, 1]; 0 where a row is all zeros."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    scale = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products = np.einsum("nd,nd->n", left, right)
    cosines = np.divide(products, scale, out=np.zeros(len(scale)), where=scale > 0)
    return np.asarray(np.clip(cosines, -1.0, 1.0), dtype=np.float64)


def euclidean(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """Distance of each pair of rows, (N,)."""
    return np.asarray(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=1), dtype=np.float64)
