"""Fréchet distances: three ways to the same number, resamples of clips, and too few faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_helpers import ArrayMedia, clip, truth

from bench.api import Unscorable
from bench.metrics.faces import DESCRIPTORS, FACES
from bench.metrics.fd import FdDlib
from bench.metrics.frechet import distance, distance_by_sqrtm, distance_of_moments, factor, moments
from bench.metrics.resampled_frechet import resampled_distances

FD = "fd/dlib-resnet@1"


def features(n: int, d: int, rank: int | None = None, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, rank or d)) @ rng.standard_normal((rank or d, d)) + rng.standard_normal(d)).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("n", "m", "d", "rank"), [(90, 70, 12, None), (60, 50, 12, 3), (6, 7, 40, None), (2, 2, 5, None)]
)
def test_three_ways_agree(n: int, m: int, d: int, rank: int | None) -> None:
    a, b = features(n, d, rank), features(m, d, rank, seed=1)
    exact = distance(a, b)
    assert distance_of_moments(moments(a), moments(b)) == pytest.approx(exact, rel=1e-6)
    assert distance_by_sqrtm(moments(a), moments(b)) == pytest.approx(exact, rel=1e-6)
    assert distance(b, a) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("way", ["samples", "moments"])
def test_equal_sets_are_at_distance_zero(way: str) -> None:
    a = features(80, 12)
    found = distance(a, a) if way == "samples" else distance_of_moments(moments(a), moments(a))
    assert abs(found) < 1e-6 * np.trace(moments(a).covariance)


@settings(max_examples=25, deadline=None)
@given(st.floats(-5, 5), st.floats(0.1, 4))
def test_one_dimension_by_hand(shift: float, scale: float) -> None:
    a = np.random.default_rng(0).standard_normal((40, 1))
    a = (a - a.mean()) / a.std(ddof=1)
    assert distance(a, a * scale + shift) == pytest.approx(shift**2 + (scale - 1) ** 2, abs=1e-9)


def test_moments_are_numpys() -> None:
    a = features(20, 6)
    assert moments(a).covariance == pytest.approx(np.cov(a.astype(float), rowvar=False), abs=1e-12)


def test_factors_of_regular_and_singular_matrices() -> None:
    for rank in (None, 2):
        covariance = moments(features(50, 6, rank)).covariance
        root = factor(covariance)
        assert root @ root.T == pytest.approx(covariance, abs=1e-9)
    assert not factor(np.zeros((3, 3))).any()


def test_one_row_is_too_short() -> None:
    with pytest.raises(Unscorable, match="too_short"):
        distance(features(1, 4), features(5, 4))
    with pytest.raises(Unscorable, match="too_short"):
        moments(np.zeros(4))


def test_an_imaginary_root_is_refused() -> None:
    a = moments(features(9, 2))
    with pytest.raises(ValueError, match="not real"):
        distance_by_sqrtm(a, a._replace(covariance=-np.eye(2)))


def clips(n: int, seed: int = 0, d: int = 6) -> list[Any]:
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(d)
    return [(base + rng.standard_normal((rng.integers(0, 7), d))).astype(np.float32) for _ in range(n)]


def plainly(generated: list[Any], reference: list[Any], row: Any) -> float:
    """The distance of the two sets in which clip i is repeated row[i] times."""
    sides = [np.concatenate([side[i] for i, c in enumerate(row) for _ in range(c)]) for side in (generated, reference)]
    return distance_by_sqrtm(moments(sides[0]), moments(sides[1]))


def test_resamples_equal_sets_that_are_really_repeated() -> None:
    generated, reference = clips(150), clips(150, seed=1)
    rng = np.random.default_rng(2)
    counts = np.stack([np.bincount(r, minlength=150) for r in rng.integers(0, 150, (5, 150))])
    counts = np.concatenate([np.ones((1, 150), int), counts])
    found = resampled_distances(generated, reference, counts, least=20)
    assert found == pytest.approx([plainly(generated, reference, row) for row in counts], rel=1e-8)


def test_the_order_of_clips_changes_no_bit() -> None:
    generated, reference = clips(40), clips(40, seed=1)
    counts = np.random.default_rng(0).integers(0, 3, (4, 40))
    order = np.random.default_rng(1).permutation(40)
    first = resampled_distances(generated, reference, counts, 20)
    second = resampled_distances([generated[i] for i in order], [reference[i] for i in order], counts[:, order], 20)
    assert first.tolist() == second.tolist()


def test_swapping_the_sides_keeps_the_distance() -> None:
    generated, reference = clips(40), clips(40, seed=1)
    counts = np.ones((1, 40))
    there = resampled_distances(generated, reference, counts, 20)
    assert resampled_distances(reference, generated, counts, 20) == pytest.approx(there, rel=1e-9)
    assert resampled_distances(generated, generated, counts, 20) == pytest.approx([0.0], abs=1e-6)


def aggregate(n_clips: int, per_clip: int, counts: Any) -> Any:
    rng = np.random.default_rng(0)
    arrays = [
        {side: rng.standard_normal((per_clip, 128)).astype(np.float32) for side in ("generated", "reference")}
        for _ in range(n_clips)
    ]
    return FdDlib().aggregate(FD, "fd", arrays, np.asarray(counts))


def test_fewer_than_256_faces_on_a_side_have_no_value() -> None:
    assert np.isnan(aggregate(17, 15, np.ones((2, 17)))).all()  # 255
    found = aggregate(16, 16, [np.ones(16), [1] * 15 + [0], [2] * 8 + [0] * 8])  # 256, 240, 256 with 128 distinct
    assert np.isnan(found).tolist() == [False, True, False]
    assert found[0] > 0


def test_no_clip_has_no_value() -> None:
    assert np.isnan(FdDlib().aggregate(FD, "fd", [], np.ones((3, 0)))).tolist() == [True, True, True]


def test_arguments_must_fit() -> None:
    with pytest.raises(ValueError, match="2 generated and 1 reference clips"):
        resampled_distances(clips(2), clips(1), np.ones((1, 2)), 2)


def test_a_clip_gives_the_descriptors_of_both_sides() -> None:
    frames = clip(6)
    frames[5] = 90
    output, reference = ArrayMedia(frames), ArrayMedia(clip(6, seed=1))
    score = FdDlib().score([FD], output, reference, truth())[FD]
    assert score.values == {}
    assert {name: array.shape for name, array in score.arrays.items()} == {"generated": (1, 128), "reference": (2, 128)}
    assert (score.parts["n_generated"], score.parts["n_reference"]) == (1, 2)
    assert set(output.new_features) == {FACES, DESCRIPTORS}


def test_a_clip_without_faces_adds_none_and_is_no_failure() -> None:
    empty = ArrayMedia(np.full((2, 150, 150, 3), 90, np.uint8))
    score = FdDlib().score([FD], empty, ArrayMedia(clip(1)), truth())[FD]
    assert score.arrays["generated"].shape == (0, 128)
