"""Intervals and agreement against numbers from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bench.results.study.statistics import krippendorff_alpha, people_interval, t_interval, wilson_interval

#: The example of Krippendorff's "Computing Krippendorff's Alpha-Reliability" (four observers, twelve units).
OBSERVED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


@pytest.mark.parametrize(("scale", "expected"), [("nominal", 0.743), ("interval", 0.849)])
def test_alpha_is_that_of_the_published_example(scale: str, expected: float) -> None:
    found = [(f"u{unit}", value) for row in OBSERVED for unit, value in enumerate(row) if value is not None]
    units, values = zip(*found, strict=True)
    assert krippendorff_alpha(units, np.array(values, float), scale) == pytest.approx(expected, abs=5e-4)  # type: ignore[arg-type]


def test_alpha_of_full_agreement_of_chance_and_of_nothing() -> None:
    assert krippendorff_alpha(["a", "a", "b", "b"], np.array([1.0, 1, 5, 5]), "interval") == 1.0
    assert krippendorff_alpha(["a", "b"], np.array([1.0, 2.0]), "interval") is None  # nothing was judged twice
    assert krippendorff_alpha(["a", "a"], np.array([3.0, 3.0]), "interval") is None  # all alike
    rng = np.random.default_rng(0)
    units = [f"u{i % 500}" for i in range(2000)]
    assert krippendorff_alpha(units, rng.integers(0, 3, 2000).astype(float), "nominal") == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("points", "n"), [(10, 20), (0, 10), (10, 10), (57, 100), (1, 1)])
def test_wilson_is_that_of_scipy(points: int, n: int) -> None:
    other = binomtest(points, n).proportion_ci(method="wilson")
    assert wilson_interval(points, n) == pytest.approx((other.low, other.high), abs=1e-12)


def test_a_tie_is_half_a_win_and_nothing_has_no_interval() -> None:
    assert wilson_interval(5 + 0.5 * 4, 14) == wilson_interval(7, 14)
    assert wilson_interval(0, 0) is None


def test_t_interval_of_five_numbers() -> None:
    # mean 3, deviation 1.5811, t(4) = 2.7764
    assert t_interval(np.array([1.0, 2, 3, 4, 5])) == pytest.approx((1.03675, 4.96325), abs=1e-4)
    assert t_interval(np.array([3.0])) is None


def test_people_weigh_as_wholes() -> None:
    """Ten people who each say one thing a hundred times know no more than ten judgements do."""
    rng = np.random.default_rng(1)
    opinions = rng.normal(3, 1, 10)
    values, people = np.repeat(opinions, 100), [f"p{i}" for i in range(10) for _ in range(100)]
    clustered, naive = people_interval(values, people), t_interval(values)
    assert clustered is not None and naive is not None
    assert clustered.high - clustered.low > 5 * (naive.high - naive.low)
    assert clustered.low < values.mean() < clustered.high
    assert people_interval(np.array([1.0, 2.0]), ["one", "one"]) is None
