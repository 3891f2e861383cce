"""Bootstrap and set results against the golden numbers, SciPy, and brute force."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from bench.results import adapters, significance, stats

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "metrics"
SHARED = Path(__file__).parents[3] / "shared" / "golden" / "metrics"


def golden(name: str) -> dict:
    for folder in (GOLDEN, SHARED):
        if (folder / name).is_file():
            return json.loads((folder / name).read_text())
    pytest.skip(f"{name} is neither in tests/golden nor in ../shared/golden")


def matrix(n: int, resamples: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).integers(0, n, size=(resamples, n))


def test_golden_bootstrap() -> None:
    case = golden("bootstrap.json")
    got = adapters.bootstrap({}, {k: case[k] for k in ("values", "edits", "ref_words", "B")}, None)
    for key in ("mean", "mean_ci95", "wer", "macro_wer", "wer_ci95", "first_row_of_indices"):
        assert got[key] == pytest.approx(case[key], rel=1e-12), key


def test_golden_set_result() -> None:
    case = golden("set_result.json")
    got = adapters.set_result({}, {"clips": case["clips"]}, None)["expected"]
    expected = case["expected"]
    assert got["failures"] == expected["failures"]
    for key in ("n_total", "n_scored", "n_failed", "mean_ci95", "wer_ci95", "complete"):
        assert got[key] == expected[key], key
    for key in ("mean", "pooled_by_frames", "wer"):
        assert got[key] == pytest.approx(expected[key], rel=1e-12), key


@pytest.mark.parametrize("n", [10, 33, 1001, 4096, 70001])
def test_blocks_give_the_stream_of_one_call(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "BLOCK_CELLS", 3 * n + 1)
    counts = np.concatenate(list(stats.count_blocks(n, 10)))
    for row, drawn in zip(counts, matrix(n, 10), strict=True):
        assert (row == np.bincount(drawn, minlength=n)).all()


def test_interval_equals_the_plain_definition() -> None:
    rng = np.random.default_rng(3)
    values, tops, bottoms = rng.normal(size=57), rng.integers(0, 6, 57) * 1.0, rng.integers(1, 9, 57) * 1.0
    indices = matrix(57)
    means = np.percentile(values[indices].mean(axis=1), [2.5, 97.5])
    ratios = np.percentile(tops[indices].sum(axis=1) / bottoms[indices].sum(axis=1), [2.5, 97.5])
    got = stats.clip_intervals([stats.Statistic(values), stats.Statistic(tops, bottoms)])
    assert got[0] == pytest.approx(means, rel=1e-12)
    assert got[1] == pytest.approx(ratios, rel=1e-12)


def test_statistics_of_different_sizes_are_resampled_apart() -> None:
    rng = np.random.default_rng(4)
    mixed = [stats.Statistic(rng.normal(size=n)) for n in (20, 31, 20)]
    together = stats.clip_intervals(mixed)
    for got, statistic in zip(together, mixed, strict=True):
        assert got == pytest.approx(stats.clip_intervals([statistic])[0], rel=1e-12)


@pytest.mark.parametrize("n", [12, 157, 4001])
def test_an_interval_does_not_depend_on_what_is_resampled_with_it(n: int) -> None:
    rng = np.random.default_rng(12)
    many = [stats.Statistic(rng.normal(size=n), rng.uniform(1, 2, size=n)) for _ in range(11)]
    together = stats.clip_intervals(many)
    for start, stop in ((0, 1), (3, 5), (4, 11), (10, 11)):
        assert stats.clip_intervals(many[start:stop]) == together[start:stop]


def test_fewer_than_ten_clips_have_no_interval() -> None:
    nine, ten = (stats.Statistic(np.arange(n, dtype=float)) for n in (9, 10))
    assert stats.clip_intervals([nine])[0] is None
    assert stats.clip_intervals([ten])[0] is not None
    assert stats.speaker_intervals([nine], [np.arange(9)]) == [None]


def test_a_failing_clip_changes_the_count_and_not_the_value() -> None:
    statistic = stats.Statistic(np.linspace(0, 1, 12))
    before, after = stats.set_result(statistic, []), stats.set_result(statistic, ["no_face"])
    assert (before.value, before.interval) == (after.value, after.interval)
    assert (before.n_failed, after.n_failed, after.failures) == (0, 1, {"no_face": 1})
    assert before.complete
    assert not after.complete


def test_empty_sets_and_zero_denominators_have_no_value() -> None:
    assert stats.Statistic(np.array([])).value() is None
    assert stats.Statistic(np.ones(3), np.zeros(3)).value() is None


def test_interval_over_speakers_equals_drawing_whole_speakers() -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 7, 80)
    codes[:7] = np.arange(7)
    tops, bottoms = rng.normal(size=80), rng.integers(1, 9, 80) * 1.0
    clips = [np.flatnonzero(codes == c) for c in range(7)]
    means, ratios = [], []
    for drawn in matrix(7):
        chosen = np.concatenate([clips[c] for c in drawn])
        means.append(tops[chosen].mean())
        ratios.append(tops[chosen].sum() / bottoms[chosen].sum())
    both = [stats.Statistic(tops), stats.Statistic(tops, bottoms)]
    got_mean, got_ratio = stats.speaker_intervals(both, [codes, codes])
    assert got_mean == pytest.approx(np.percentile(means, [2.5, 97.5]), rel=1e-9)
    assert got_ratio == pytest.approx(np.percentile(ratios, [2.5, 97.5]), rel=1e-9)


def test_speakers_must_all_be_known_and_be_two() -> None:
    assert stats.speaker_codes(["a", None]) is None
    assert list(stats.speaker_codes(["b", "a", "b"])) == [0, 1, 0]
    assert stats.speaker_intervals([stats.Statistic(np.arange(20.0))], [np.zeros(20, dtype=np.intp)]) == [None]


def test_corpus_value_of_a_mean_has_the_intervals_of_a_mean() -> None:
    values = np.random.default_rng(6).normal(size=40)
    codes = np.arange(40) % 6
    got = stats.corpus_result(lambda counts: counts @ values / counts.sum(axis=1), 40, codes)
    plain = stats.Statistic(values)
    assert got.value == pytest.approx(plain.value())
    assert got.clips == pytest.approx(stats.clip_intervals([plain])[0])
    assert got.speakers == pytest.approx(stats.speaker_intervals([plain], [codes])[0])
    bare = stats.corpus_result(lambda counts: counts @ values / counts.sum(axis=1), 40, codes, intervals=False)
    assert bare.clips is None
    assert bare.speakers is None


def test_exact_permutation_test_equals_scipy() -> None:
    rng = np.random.default_rng(7)
    first, second = rng.normal(size=9), rng.normal(0.6, 1, size=9)
    expected = scipy.stats.permutation_test(
        (first, second), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", n_resamples=np.inf
    )
    pair = significance.Pair(stats.Statistic(first), stats.Statistic(second))
    got = significance.permutation_p([pair], [np.arange(9)], 9)
    assert got[0] == pytest.approx(expected.pvalue, abs=1e-12)


def test_exact_permutation_test_of_a_ratio_equals_exchanging_by_hand() -> None:
    first = stats.Statistic(np.array([1.0, 0, 3, 2]), np.array([4.0, 5, 6, 4]))
    second = stats.Statistic(np.array([2.0, 2, 3, 4]), np.array([4.0, 6, 6, 5]))
    pair = significance.Pair(first, second)
    differences = []
    for number in range(16):
        swap = np.array([number >> i & 1 for i in range(4)], dtype=bool)
        a = np.where(swap, second.numerator, first.numerator).sum()
        b = np.where(swap, second.denominator, first.denominator).sum()
        c = np.where(swap, first.numerator, second.numerator).sum()
        d = np.where(swap, first.denominator, second.denominator).sum()
        differences.append(a / b - c / d)
    expected = np.mean(np.abs(differences) >= abs(pair.difference) - 1e-12)
    assert significance.permutation_p([pair], [np.arange(4)], 4) == pytest.approx([expected])


def test_random_flips_agree_with_scipy_and_are_repeatable() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.normal(0.25, 1, size=60), rng.normal(size=60)
    pair = significance.Pair(stats.Statistic(first), stats.Statistic(second))
    got = significance.permutation_p([pair], [np.arange(60)], 60)
    assert got == significance.permutation_p([pair], [np.arange(60)], 60)
    expected = scipy.stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    )
    assert got[0] == pytest.approx(expected.pvalue, abs=0.02)


def test_flipped_sums_are_sums_of_signed_rows() -> None:
    columns = np.eye(11)
    signs = significance.flipped_sums(columns, 200)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.1
    rng = np.random.default_rng(9)
    weights = rng.normal(size=(11, 2))
    assert significance.flipped_sums(weights, 200) == pytest.approx(signs @ weights)


def test_clips_that_a_pair_lacks_do_not_matter() -> None:
    rng = np.random.default_rng(10)
    first, second = rng.normal(size=8), rng.normal(size=8)
    pair = significance.Pair(stats.Statistic(first), stats.Statistic(second))
    alone = significance.permutation_p([pair], [np.arange(8)], 8)
    among = significance.permutation_p([pair], [np.arange(4, 12)], 13)
    assert alone == pytest.approx(among)


def test_equal_systems_have_p_one() -> None:
    same = stats.Statistic(np.arange(50.0))
    assert significance.permutation_p([significance.Pair(same, same)], [np.arange(50)], 50) == [1.0]


def test_holm_by_hand() -> None:
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert significance.holm([]) == []


def test_corpus_permutation_of_a_mean_equals_the_plain_test() -> None:
    rng = np.random.default_rng(11)
    delta = rng.normal(0.4, 1, size=10)
    zero = np.zeros(10)
    pair = significance.Pair(stats.Statistic(delta), stats.Statistic(zero))
    plain = significance.permutation_p([pair], [np.arange(10)], 10)[0]
    corpus = significance.corpus_p(lambda signs: signs @ delta / 10, 10, (float(delta.mean()), 0.0), 2000)
    assert corpus == pytest.approx(plain)
    sampled = significance.corpus_p(lambda signs: signs @ delta / 10, 10, (float(delta.mean()), 0.0), 1000)
    assert sampled == pytest.approx(plain, abs=0.06)


def test_standardised_effect() -> None:
    assert significance.standardised_effect(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)
    assert significance.standardised_effect(np.array([1.0])) is None
    assert significance.standardised_effect(np.full(5, 0.1)) is None
