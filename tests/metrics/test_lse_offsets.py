"""The search for the shift on constructed embeddings, and the rules of length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.api import Unscorable
from bench.metrics.lse.compare import common, compare
from bench.metrics.lse.offsets import search, shifted_distances
from bench.metrics.lse.protocols import NO_JPEG

SETTINGS = NO_JPEG.parameters


def embeddings(n: int, seed: int = 0, size: int = 32) -> np.ndarray:
    return 3.0 * np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


@pytest.mark.parametrize("shift", [-15, -7, -1, 0, 1, 4, 15])
def test_audio_that_is_later_by_s_frames_has_the_offset_minus_s(shift: int) -> None:
    said = embeddings(120)
    lips, speech = said[20:100], said[20 - shift : 100 - shift]  # speech[i + shift] belongs to lips[i]
    found = search(shifted_distances(lips, speech, 15, 1e-6))
    assert found.offset == -shift
    assert found.lse_c > 5.0


def test_equals_torchs_distances_window_by_window() -> None:
    lips, speech = embeddings(23), embeddings(23, seed=1)
    padded = torch.nn.functional.pad(torch.from_numpy(speech), (0, 0, 15, 15))
    rows = [
        torch.pairwise_distance(torch.from_numpy(lips[i : i + 1]).repeat(31, 1), padded[i : i + 31]) for i in range(23)
    ]
    expected = torch.stack(rows)
    found = shifted_distances(lips, speech, 15, 1e-6)
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-6)
    mean = expected.mean(0)
    sync = search(found)
    assert sync.lse_d == pytest.approx(float(mean.min()), rel=1e-6)
    assert sync.lse_c == pytest.approx(float(mean.median() - mean.min()), abs=1e-5)
    assert sync.offset == 15 - int(mean.argmin())


def test_equal_embeddings_are_as_far_apart_as_the_epsilon() -> None:
    same = embeddings(40, size=1024)
    found = search(shifted_distances(same, same, 15, 1e-6))
    assert (found.offset, found.lse_d) == (0, pytest.approx(32e-6, rel=1e-9))


def test_zero_vectors_take_part_at_the_ends_and_tie() -> None:
    lips, speech = embeddings(7), embeddings(7, seed=1) * 100.0
    found = search(shifted_distances(lips, speech, 15, 1e-6))
    tied = np.concatenate([found.mean_distances[:9], found.mean_distances[22:]])  # nothing but zero vectors
    assert len(set(tied.tolist())) == 1
    assert found.lse_d == tied[0] == pytest.approx(np.linalg.norm(lips, axis=1).mean(), rel=1e-5)
    assert (found.offset, found.lse_c) == (15, 0.0)  # the first of the ties; they are more than half of the shifts


def test_one_window_is_enough_for_a_number() -> None:
    assert search(shifted_distances(embeddings(1), embeddings(1), 15, 1e-6)).offset == 0


def test_speech_may_last_longer_than_the_lips_but_not_shorter() -> None:
    assert shifted_distances(embeddings(5), embeddings(9, seed=1), 3, 0.0).shape == (5, 7)
    with pytest.raises(ValueError, match=r"lips \(5, 32\) with audio \(4, 32\)"):
        shifted_distances(embeddings(5), embeddings(4), 3, 0.0)
    with pytest.raises(ValueError, match=r"\(5, 16\)"):
        shifted_distances(embeddings(5), embeddings(5, size=16), 3, 0.0)


def test_numbers_that_are_not_finite_have_no_score() -> None:
    broken = embeddings(9)
    broken[3, 3] = np.inf
    with pytest.raises(Unscorable) as caught:
        compare(broken, embeddings(9), 9, SETTINGS)
    assert caught.value.kind == "nan"
    assert compare(broken, embeddings(9), 3, SETTINGS).offset == 0  # what lies beyond the common part is not looked at


@pytest.mark.parametrize(
    ("frames", "samples", "expected"),
    [
        (0, 0, (0, 0, False, False)),
        (1, 640, (1, 0, False, False)),
        (5, 9999, (5, 0, False, True)),
        (6, 6 * 640 - 1, (5, 0, False, True)),
        (6, 6 * 640, (6, 1, True, False)),
        (20, 20 * 640, (20, 15, True, False)),
        (21, 21 * 640 + 639, (21, 16, False, False)),
        (75, 74 * 640, (74, 69, False, True)),
        (75, 76 * 640, (75, 70, False, True)),
    ],
)
def test_lengths(frames: int, samples: int, expected: tuple[int, int, bool, bool]) -> None:
    assert tuple(common(frames, samples, SETTINGS)) == expected


def test_a_frame_must_be_whole_samples() -> None:
    with pytest.raises(ValueError, match="multiple of fps"):
        common(10, 10000, {**SETTINGS, "fps": 30})
