"""Which frames are compared, and when that is refused."""

from __future__ import annotations

import numpy as np
import pytest
from video_helpers import ArrayMedia, textures, truth

from bench.api import Unscorable
from bench.metrics.pairing import frame_pairs, pair, pair_lengths, require_same_size


def kind_of(call: object) -> str:
    with pytest.raises(Unscorable) as caught:
        call()  # type: ignore[operator]
    return caught.value.kind


@pytest.mark.parametrize(
    ("generated", "reference", "refused"),
    [
        (75, 75, False),
        (70, 75, False),
        (69, 75, True),
        (80, 75, False),
        (81, 75, True),
        (190, 200, False),
        (189, 200, True),
    ],
)
def test_own_length_allows_five_frames_or_five_per_cent(generated: int, reference: int, refused: bool) -> None:
    if refused:
        assert kind_of(lambda: pair_lengths(generated, reference, own_length=True)) == "length_mismatch"
    pairing = pair_lengths(generated, reference, own_length=refused is False)
    assert pairing.n == min(generated, reference)
    assert pairing.length_differs == (generated != reference)


def test_other_lengths_are_flagged_where_the_system_sets_them() -> None:
    pairing = pair_lengths(20, 75, own_length=False)
    assert (pairing.n, pairing.parts()) == (20, {"length_differs": 1.0, "fps_converted": 0.0})


def test_no_common_frame_is_too_short() -> None:
    assert kind_of(lambda: pair_lengths(0, 3, own_length=False)) == "too_short"


def test_sizes_must_agree() -> None:
    assert kind_of(lambda: require_same_size((10, 20, 3), (10, 21, 3))) == "shape_mismatch"
    with pytest.raises(Unscorable, match="the output is 20x10, the reference 21x10"):
        require_same_size((10, 20, 3), (10, 21, 3))


@pytest.mark.parametrize(("chunk_a", "chunk_b"), [(None, None), (1, 4), (3, 2), (11, 5)])
def test_chunks_are_brought_into_step(chunk_a: int | None, chunk_b: int | None) -> None:
    a, b = textures(11, seed=1), textures(9, seed=2)
    output, reference = ArrayMedia(a, chunk=chunk_a), ArrayMedia(b, chunk=chunk_b)
    pairing = pair(output, reference, truth())
    seen = list(frame_pairs(output, reference, pairing))
    assert [start for start, _, _ in seen] == list(np.cumsum([0, *(len(g) for _, g, _ in seen[:-1])]))
    assert (np.concatenate([g for _, g, _ in seen]) == a[:9]).all()
    assert (np.concatenate([r for _, _, r in seen]) == b).all()


def test_sizes_are_compared_when_frames_are_read() -> None:
    output, reference = ArrayMedia(textures(3, (20, 30))), ArrayMedia(textures(3, (20, 31)))
    assert kind_of(lambda: list(frame_pairs(output, reference, pair(output, reference, truth())))) == "shape_mismatch"


def test_a_video_that_ends_early_is_a_decode_error() -> None:
    short, whole = ArrayMedia(textures(3)), ArrayMedia(textures(5))
    assert kind_of(lambda: list(frame_pairs(short, whole, pair_lengths(5, 5, True)))) == "decode_error"


def test_faults_of_the_reference_are_told_apart_from_those_of_the_output() -> None:
    good, bad = ArrayMedia(textures(3)), ArrayMedia(None)
    assert kind_of(lambda: pair(bad, good, truth())) == "no_video_stream"
    assert kind_of(lambda: pair(good, bad, truth())) == "missing_reference"
    assert kind_of(lambda: pair(good, good, truth(video=None))) == "missing_reference"


def test_conversion_of_either_side_is_flagged() -> None:
    plain, converted = ArrayMedia(textures(3)), ArrayMedia(textures(3), converted=True)
    assert pair(plain, converted, truth()).parts()["fps_converted"] == 1.0
    assert pair(converted, plain, truth()).parts()["fps_converted"] == 1.0
    assert pair(plain, plain, truth()).parts()["fps_converted"] == 0.0
