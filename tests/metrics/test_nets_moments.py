"""Mean and covariance in pieces: joined equals whole, whatever the order; pools of few and many rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import Unscorable
from bench.metrics.frechet import distance, distance_by_sqrtm, moments
from bench.metrics.moments import BLOCK_ROWS, MomentSums, Pool, pool_distance


def features(n: int, d: int = 24, seed: int = 0, offset: float = 3.0) -> Any:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(77).standard_normal((d, d))
    return np.maximum(rng.standard_normal((n, d)) @ mixing + offset, 0).astype(np.float32)


def relative(found: Any, wanted: Any) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def summed(rows: Any, edges: list[int]) -> MomentSums:
    sums = MomentSums(rows.shape[1])
    for start, stop in pairwise([0, *edges, len(rows)]):
        sums.add(rows[start:stop])
    return sums


def test_the_sums_are_numpys() -> None:
    rows = features(2 * BLOCK_ROWS + 77)
    found = summed(rows, [1, 40, 40, 900]).finish()
    assert relative(found.mean, rows.astype(float).mean(axis=0)) < 1e-12
    assert relative(found.covariance, np.cov(rows.astype(float), rowvar=False)) < 1e-12
    assert np.array_equal(found.covariance, found.covariance.T)


def test_a_large_offset_cancels_nothing() -> None:
    rows = features(500).astype(np.float64)
    found = summed(rows + 1e6, [3, 250])
    assert relative(found.finish().covariance, np.cov(rows, rowvar=False)) < 1e-8  # the rows themselves lose 1e-10


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 120), max_size=6), st.randoms(use_true_random=False))
def test_workers_join_to_the_whole_in_any_order(edges: list[int], random: Any) -> None:
    rows = features(120)
    parts = [summed(rows[a:b], []) for a, b in pairwise([0, *sorted(edges), 120])]
    random.shuffle(parts)
    joined = MomentSums(rows.shape[1])
    for part in parts:
        joined.merge(part)
    whole, found = summed(rows, []).finish(), joined.finish()
    assert joined.n == 120
    assert relative(found.mean, whole.mean) < 1e-12
    assert relative(found.covariance, whole.covariance) < 1e-12


def test_multiplicities_are_repeats() -> None:
    rows = features(50)
    whole = summed(np.concatenate([rows, rows, rows, rows[:20]]), []).finish()
    sums = MomentSums(rows.shape[1])
    sums.add(rows, 2)
    sums.merge(summed(rows, [7]), 1)
    sums.merge(summed(rows, [7]), 0)
    sums.add(rows[:20])
    sums.add(rows, 0)
    assert sums.n == 170
    assert relative(sums.finish().covariance, whole.covariance) < 1e-12
    assert relative(sums.finish().mean, whole.mean) < 1e-12


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows(n: int) -> None:
    sums, pool = MomentSums(4), Pool()
    sums.add(features(n, 4))
    pool.add(features(n, 4))
    for finish in (
        sums.finish,
        pool.moments,
        lambda: pool_distance(pool, filled(9, 4)),
        lambda: pool_distance(filled(9, 4), pool),
    ):
        with pytest.raises(Unscorable, match=f"{n} rows") as caught:
            finish()
        assert caught.value.kind == "too_short"


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        MomentSums(4).add(features(3, 5))
    with pytest.raises(ValueError, match="shape"):
        MomentSums(4).add(np.zeros(4))


def filled(n: int, d: int = 24, seed: int = 0, step: int = 7) -> Pool:
    pool, rows = Pool(), features(n, d, seed)
    for start in range(0, n, step):
        pool.add(rows[start : start + step])
    return pool


@pytest.mark.parametrize("n", [2, 23, 24, 25, 200])
def test_a_pool_keeps_at_most_d_rows_and_comes_back_from_its_arrays(n: int) -> None:
    pool = filled(n)
    assert (pool.rows is None) == (n > 24)
    again = Pool.from_arrays(pool.arrays())
    assert again.n == pool.n == n
    assert relative(again.moments().covariance, pool.moments().covariance) < 1e-12
    assert sum(a.nbytes for a in pool.arrays().values()) <= 8 * (24 * 25 // 2 + 24 + 1)
    assert relative(pool.moments().covariance, moments(features(n)).covariance) < 1e-12
    assert Pool.from_arrays(Pool().arrays()).n == 0


@pytest.mark.parametrize(("n", "m", "times"), [(10, 5, 1), (10, 30, 2), (40, 8, 3), (40, 60, 2), (15, 15, 1)])
def test_pools_join(n: int, m: int, times: int) -> None:
    joined, a, b = Pool(), features(n), features(m, seed=1)
    joined.merge(filled(n))
    joined.merge(filled(m, seed=1), times)
    whole = np.concatenate([a, *[b] * times])
    assert joined.n == len(whole)
    assert relative(joined.moments().covariance, moments(whole).covariance) < 1e-12


@pytest.mark.parametrize(("n", "m"), [(10, 12), (10, 200), (200, 24), (300, 200)])
def test_distances_agree_with_the_samples_and_with_scipys_root(n: int, m: int) -> None:
    a, b = features(n), features(m, seed=1)
    found = pool_distance(filled(n), filled(m, seed=1))
    assert found == pytest.approx(distance(a, b), rel=1e-6)
    assert found == pytest.approx(distance_by_sqrtm(moments(a), moments(b)), rel=1e-6)
    assert pool_distance(filled(m, seed=1), filled(n)) == pytest.approx(found, rel=1e-7)  # swapped


@pytest.mark.parametrize("n", [12, 200])
def test_equal_pools_are_at_distance_zero(n: int) -> None:
    assert 0.0 <= pool_distance(filled(n), filled(n, step=n)) < 1e-6 * np.trace(filled(n).moments().covariance)


def test_features_that_never_change_are_no_obstacle() -> None:
    """Dead features make both covariances singular although there are more rows than dimensions."""
    a, b = features(200), features(150, seed=1)
    a[:, :9], b[:, :9] = 0.0, 0.5
    first, second = Pool(), Pool()
    first.add(a)
    second.add(b)
    assert pool_distance(first, second) == pytest.approx(distance(a, b), rel=1e-6)
    assert pool_distance(first, first) < 1e-6 * np.trace(first.moments().covariance)
