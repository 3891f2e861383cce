"""The mouth-envelope coupling: shifts, gaps, silence and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from video_helpers import ArrayMedia, clip, face_feature, face_points, truth

from bench.api import Score, Unscorable
from bench.metrics import mouth
from bench.metrics.avsync import AvSync
from bench.metrics.faces import FACES

AVS = "avsync/dlib-mouth-envelope@1"


def openings(n: int = 90, seed: int = 0) -> Any:
    """A syllable-like series in pixels, (n,)."""
    rng = np.random.default_rng(seed)
    return 4 + 40 * np.convolve(rng.random(n + 2) ** 2, [0.25, 0.5, 0.25], "valid")


def spoken(opening: Any, shift: int = 0, level: float = 0.01) -> Any:
    """Noise at 16 kHz that is as loud as the mouth is open, ``shift`` frames later."""
    rng = np.random.default_rng(1)
    gain = np.roll(level * np.asarray(opening), shift)
    return (np.repeat(gain, 640) * rng.standard_normal(640 * len(gain))).astype(np.float32)


def talker(opening: Any, audio: Any, found: Any = None) -> ArrayMedia:
    return ArrayMedia(None, audio, stored={FACES: face_feature(face_points(opening), found)})


def score(media: ArrayMedia) -> Score:
    result = AvSync().score([AVS], media, ArrayMedia(None), truth())[AVS]
    assert isinstance(result, Score)
    return result


def kind_of(media: ArrayMedia) -> str:
    with pytest.raises(Unscorable) as caught:
        score(media)
    return caught.value.kind


@pytest.mark.parametrize("shift", [-15, -4, 0, 1, 7, 15])
def test_audio_that_is_later_by_s_frames_moves_the_offset_by_s(shift: int) -> None:
    found = score(talker(openings(), spoken(openings(), shift)))
    assert found.values["avs_offset"] == shift
    assert found.values["avs_corr"] > 0.9
    assert found.values["avs_conf"] > 0.5
    assert (found.values["avs_corr0"] == found.values["avs_corr"]) == (shift == 0)


def test_another_voice_scores_lower() -> None:
    own = score(talker(openings(), spoken(openings())))
    other = score(talker(openings(), spoken(openings(seed=9))))
    assert own.values["avs_corr"] > other.values["avs_corr"] + 0.3


def test_correlation_is_numpys() -> None:
    m, e = openings(60), mouth.envelope_db(spoken(openings(60, seed=4)), 640)
    r = mouth.shifted_correlations(m, np.ones(60, bool), e, 15, 25)
    assert r[15] == pytest.approx(np.corrcoef(m, e)[0, 1], abs=1e-12)
    assert r[15 + 4] == pytest.approx(np.corrcoef(m[:56], e[4:])[0, 1], abs=1e-12)
    assert r[15 - 9] == pytest.approx(np.corrcoef(m[9:], e[:51])[0, 1], abs=1e-12)


def test_few_pairs_and_constant_series_correlate_with_nothing() -> None:
    m, e = openings(60), mouth.envelope_db(spoken(openings(60)), 640)
    used = np.zeros(60, bool)
    used[:24] = True
    assert not mouth.shifted_correlations(m, used, e, 15, 25).any()
    used[24] = True
    assert np.count_nonzero(mouth.shifted_correlations(m, used, e, 15, 25)) == 16  # shifts that lose no pair
    assert not mouth.shifted_correlations(np.full(60, 0.1), np.ones(60, bool), e, 15, 25).any()


def test_envelope_is_in_decibels_with_a_floor_and_whole_frames() -> None:
    wave = np.concatenate([np.full(640, 0.1), np.zeros(640), np.full(640, 1e-5), np.ones(639)]).astype(np.float32)
    assert mouth.envelope_db(wave, 640) == pytest.approx([-20.0, -80.0, -80.0], abs=1e-6)


def test_opening_is_the_mean_gap_over_the_eye_distance() -> None:
    assert mouth.mouth_opening(face_points([5.0, 20.0])) == pytest.approx([0.05, 0.2])
    assert np.isnan(mouth.mouth_opening(np.zeros((1, 68, 2)))).all()


def test_short_gaps_between_faces_are_bridged_others_masked() -> None:
    values = np.arange(20.0)
    valid = np.ones(20, bool)
    valid[[0, 1, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 19]] = False
    shown = np.where(valid, values, -100.0)
    filled, used = mouth.bridge_gaps(shown, valid, 5)
    assert used.tolist() == [k not in (0, 1, 11, 12, 13, 14, 15, 16, 19) for k in range(20)]
    assert filled[used] == pytest.approx(values[used])
    assert (shown[4], valid[4]) == (-100.0, False)  # the inputs are left alone


def test_a_fifth_of_the_faces_may_be_missing() -> None:
    found = np.ones(60, bool)
    found[20:32] = False
    media = talker(openings(60), spoken(openings(60)), found)
    assert score(media).parts["n_frames_noface"] == 12
    found[40] = False
    assert kind_of(talker(openings(60), spoken(openings(60)), found)) == "no_face"


def test_fewer_than_fifty_common_frames_are_too_short() -> None:
    assert kind_of(talker(openings(49), spoken(openings(60)))) == "too_short"
    assert kind_of(talker(openings(60), spoken(openings(60))[: 50 * 640 - 1])) == "too_short"
    found = score(talker(openings(60), spoken(openings(60))[: 50 * 640]))
    assert (found.parts["n_frames"], found.parts["length_differs"]) == (50, 1.0)


def test_silence_is_scored_as_nothing_and_flagged() -> None:
    found = score(talker(openings(), np.zeros(90 * 640, np.float32)))
    assert found.values == {"avs_corr": 0.0, "avs_offset": -15.0, "avs_conf": 0.0, "avs_corr0": 0.0}
    assert found.parts["silent_audio"] == 1.0
    assert score(talker(openings(), spoken(openings()))).parts["silent_audio"] == 0.0


def test_missing_streams() -> None:
    assert kind_of(ArrayMedia(clip(2), None)) == "no_audio_stream"
    assert kind_of(ArrayMedia(None, spoken(openings()))) == "no_video_stream"
