"""Fréchet distance of two Gaussians fitted to feature sets (metrics.md 5).

d² = ‖μ₁ - μ₂‖² + tr(Σ₁) + tr(Σ₂) - 2·tr((Σ₁Σ₂)^½), covariances with divisor n - 1, all in float64.
Three ways to the trace of the root:

* :func:`distance` from the samples: with centred matrices A and B the trace is the nuclear norm
  of A Bᵀ over √((n-1)(m-1)); exact also with fewer samples than dimensions;
* :func:`distance_of_moments` from means and covariances, by symmetric eigenvalues; used where
  moments are resampled;
* :func:`distance_by_sqrtm`, as the reference script does it (``mseitzer/pytorch-fid:
  src/pytorch_fid/fid_score.py``): slower, kept to compare with.

They agree to 3e-7 relative, on singular covariances too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.api import Unscorable

Matrix = NDArray[np.float64]

SINGULAR_EPS = 1e-6  # added to both diagonals when the root is not finite
IMAGINARY_LIMIT = 1e-3


class Moments(NamedTuple):
    """Mean (D,) and covariance (D, D) of a feature set."""

    mean: Matrix
    covariance: Matrix


def moments(features: NDArray[Any]) -> Moments:
    """Mean and covariance (divisor n - 1) of features (N, D).

    Raises:
        Unscorable: ``too_short`` for fewer than two rows.
    """
    _require_two(features)
    whole = features.astype(np.float64)
    centred = whole - whole.mean(axis=0)
    return Moments(whole.mean(axis=0), centred.T @ centred / (len(whole) - 1))


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Squared Fréchet distance of two feature sets (N, D) and (M, D), from the samples.

    Raises:
        Unscorable: ``too_short`` for fewer than two rows on a side.
    """
    _require_two(a)
    _require_two(b)
    first, second = a.astype(np.float64), b.astype(np.float64)
    shift = first.mean(axis=0) - second.mean(axis=0)
    roots = [_triangle(side) for side in (first, second)]
    root_trace = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(shift @ shift + np.square(roots[0]).sum() + np.square(roots[1]).sum() - 2.0 * root_trace)


def distance_of_moments(first: Moments, second: Moments) -> float:
    """Squared Fréchet distance from moments: Σ₁Σ₂ has the eigenvalues of the symmetric Fᵀ Σ₂ F with FFᵀ = Σ₁."""
    shift = first.mean - second.mean
    eigenvalues = np.linalg.eigvalsh(_between(first.covariance, second.covariance), UPLO="L")
    root_trace = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(shift @ shift + traces - 2.0 * root_trace)


def distance_by_sqrtm(first: Moments, second: Moments) -> float:
    """Squared Fréchet distance with SciPy's matrix root, including the reference's rescue of singular products.

    Raises:
        ValueError: the root's diagonal has an imaginary part of 1e-3 or more.
    """
    from scipy.linalg import sqrtm

    root = np.asarray(sqrtm(first.covariance @ second.covariance))
    if not np.isfinite(root).all():
        lift = np.eye(len(first.mean)) * SINGULAR_EPS
        root = np.asarray(sqrtm((first.covariance + lift) @ (second.covariance + lift)))
    imaginary = float(np.abs(np.diagonal(root).imag).max())
    if imaginary >= IMAGINARY_LIMIT:
        raise ValueError(f"the root of the covariances' product is not real: imaginary part {imaginary:g}")
    shift = first.mean - second.mean
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(shift @ shift + traces - 2.0 * np.trace(root.real))


def _between(first: Matrix, second: Matrix) -> Matrix:
    """Fᵀ Σ₂ F, of which the lower triangle is to be read; LAPACK's own step for Cholesky's F saves half of the time."""
    from scipy.linalg.lapack import dsygst

    try:
        triangle = np.linalg.cholesky(first)
    except np.linalg.LinAlgError:
        root = factor(first)
        return np.asarray(root.T @ second @ root)
    reduced, _ = dsygst(second, np.asfortranarray(triangle), itype=2, lower=1)
    return np.asarray(reduced)


def factor(covariance: Matrix) -> Matrix:
    """F (D, D) with FFᵀ = ``covariance``: Cholesky's, ten times as fast, or the eigenvectors' where it is singular."""
    try:
        return np.asarray(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(eigenvalues, 0.0)))


def _triangle(features: Matrix) -> Matrix:
    """R (min(N, D), D) with RᵀR = Σ: the nuclear norm of A Bᵀ is that of the small R_A R_Bᵀ."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _require_two(features: NDArray[Any]) -> None:
    if features.ndim != 2 or len(features) < 2:
        raise Unscorable("too_short", f"features of shape {features.shape}; at least two rows (N, D) are needed")
