"""F0 by YAAPT: recorded tracks, its steps by plain loops, tones, silence, odd lengths."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.conformance import Case, run_case
from bench.errors import UsageError
from bench.systems.hierspeech.adapters_front import OPS
from bench.systems.hierspeech.yaapt import F0_MAX_CONVERSION, YaaptConfig, f0, stages
from bench.systems.hierspeech.yaapt_path import best_first, cheapest_path, is_first_maximum, median
from bench.systems.hierspeech.yaapt_time import _correlation, centred_frames

SHARED = Path(__file__).parents[2] / ".." / "shared" / "golden" / "hierspeech"


@pytest.mark.parametrize("name", ["f0_yaapt", "yaapt_stages"])
def test_goldens(name: str) -> None:
    path = SHARED / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"../shared with {name}.safetensors (a recording of others) is not beside this checkout")
    result = run_case(Case("hierspeech", name, name, path), OPS[name])
    assert result.passed, result.detail


def voice(hertz: float, seconds: float = 0.8, seed: int = 0) -> np.ndarray:
    """A buzz of harmonics falling by 6 dB an octave, with a little noise."""
    t = np.arange(int(seconds * 16000)) / 16000
    buzz = sum(np.sin(2 * np.pi * hertz * h * t) / h for h in range(1, 12))
    return 0.1 * buzz + 1e-4 * np.random.default_rng(seed).normal(size=t.size)


def pulses(hertz: float) -> np.ndarray:
    """0.8 s of pulses whose distances vary by 2 %, through three resonances: nearer to speech than a buzz."""
    signal = pytest.importorskip("scipy.signal")
    rng, at, clip = np.random.default_rng(1), 0.0, np.zeros(12800)
    while at < clip.size:
        clip[int(at)] = 1.0
        at += 16000 / (hertz * (1 + 0.02 * rng.normal()))
    for centre, width in ((500, 80), (1500, 120), (2500, 160)):
        r = np.exp(-np.pi * width / 16000)
        clip = signal.lfilter([1], [1, -2 * r * np.cos(2 * np.pi * centre / 16000), r * r], clip)
    return 0.3 * clip / np.abs(clip).max()


def test_a_voice_has_its_pitch() -> None:
    # perfectly periodic sounds of other pitches come out an octave low, here as in the original
    np.testing.assert_allclose(f0(voice(120.0))[20:-20], 120.0, rtol=0.02)
    for hertz in (215.0, 320.0):
        np.testing.assert_allclose(f0(pulses(hertz))[20:-20], hertz, rtol=0.04)


def test_the_limits_hold() -> None:
    for highest in (400.0, F0_MAX_CONVERSION):
        track = f0(voice(700.0), YaaptConfig(f0_max=highest))
        assert track.max() <= 16000 / (int(16000 / highest) - 1)
        assert track[track > 0].min() >= 16000 / (int(16000 / 60) + 2)


def test_pauses_are_unvoiced() -> None:
    clip = np.concatenate([voice(150.0), np.zeros(8000), voice(180.0)])
    track = f0(clip)
    assert track.shape == (clip.size // 80,)
    pause = track[170:250]
    assert not pause.any()
    assert (track[20:140] > 0).all()


@pytest.mark.parametrize("length", [0, 1, 79, 80, 240, 250, 319, 320, 321, 1000, 4321])
def test_lengths(length: int) -> None:
    clip = voice(140.0)[:length]
    track = f0(clip)
    assert track.shape == (-(-length // 80),)
    assert np.isfinite(track).all()
    assert (track >= 0).all()


@pytest.mark.parametrize(
    "clip", [np.zeros(16000), np.full(16000, 0.3), np.eye(1, 16000)[0], np.tile([1.0, -1.0], 8000)]
)
def test_signals_without_pitch_raise_nothing(clip: np.ndarray) -> None:
    with np.errstate(all="raise", under="ignore"):
        track = f0(clip)
    assert track.shape == (200,)
    assert np.isfinite(track).all()


def test_silence_has_no_stages_and_bad_input_is_refused() -> None:
    assert stages(np.zeros(8000)) is None
    for bad in (np.zeros((2, 8000)), np.array([np.nan] * 8000)):
        with pytest.raises(UsageError):
            f0(bad)
    with pytest.raises(UsageError, match="tda_frame_length"):
        f0(voice(100.0), YaaptConfig(tda_frame_length=10.0))


def test_level_does_not_matter() -> None:
    clip = voice(130.0)
    np.testing.assert_allclose(f0(clip * 2**-6), f0(clip))


def test_frames_one_by_one() -> None:
    signal = np.random.default_rng(3).normal(size=2000)
    buffer, expected = signal.copy(), []
    for k in range(21):
        frame = buffer[k * 80 : k * 80 + 400]
        frame -= frame.mean()
        expected.append(frame.copy())
    np.testing.assert_allclose(centred_frames(signal, 21, 400, 80), expected, atol=1e-13)


def test_correlation_by_the_definition() -> None:
    z = np.random.default_rng(4).normal(size=(3, 400))
    shortest, longest = np.array([[38], [12], [60]]), np.array([[120], [268], [200]])
    phi = _correlation(z, shortest, longest)
    for k in range(3):
        n = 400 - longest[k, 0]
        for lag in range(400):
            a, b = z[k, lag : lag + n], z[k, :n]
            inside = shortest[k, 0] <= lag < longest[k, 0]
            expected = a @ b / np.sqrt((a @ a) * (b @ b)) if inside else 0.0
            assert abs(phi[k, lag] - expected) < 1e-12


@given(arrays(float, st.tuples(st.integers(1, 3), st.integers(1, 5)), elements=st.integers(0, 2)), st.data())
def test_cheapest_path_and_its_ties(local: np.ndarray, data: st.DataObject) -> None:
    rows, frames = local.shape
    steps = data.draw(arrays(float, (frames, rows, rows), elements=st.integers(0, 2)))
    path = cheapest_path(local, steps)

    def cost(rows_of: tuple[int, ...]) -> float:
        moves = sum(steps[t, rows_of[t - 1], rows_of[t]] for t in range(1, frames))
        return float(moves + sum(local[r, t] for t, r in enumerate(rows_of)))

    every = list(itertools.product(range(rows), repeat=frames))
    least = min(cost(one) for one in every)
    # of the cheapest ones, the greatest row at the end, then before it, and so on
    assert tuple(path) == max((one for one in every if cost(one) == least), key=lambda one: one[::-1])


@given(arrays(float, st.integers(1, 12), elements=st.integers(0, 3)), st.integers(1, 4))
def test_first_maximum(values: np.ndarray, reach: int) -> None:
    got = is_first_maximum(values, reach)
    for i in range(values.size):
        window = values[max(0, i - reach) : i + reach + 1]
        assert got[i] == (int(window.argmax()) == min(i, reach))


def test_median_pads_with_zeros() -> None:
    signal = pytest.importorskip("scipy.signal")
    values = np.random.default_rng(5).normal(size=30)
    for width in (1, 5, 7):
        np.testing.assert_array_equal(median(values, width), signal.medfilt(values, width))


def test_candidates_keep_their_order_where_they_tie() -> None:
    pitch, merit = best_first(np.array([[1.0], [2.0], [3.0]]), np.array([[0.5], [0.9], [0.5]]))
    assert pitch[:, 0].tolist() == [2, 1, 3]
    assert merit[:, 0].tolist() == [0.9, 0.5, 0.5]


def test_equals_the_package() -> None:
    pytest.importorskip("amfm_decompy", reason="AMFM_decompy is not installed")
    from amfm_decompy import basic_tools, pYAAPT

    clip = np.concatenate([voice(110.0), np.zeros(3200), voice(230.0, seed=1)])
    kept = {"frame_length": 20.0, "frame_space": 5.0, "nccf_thresh1": 0.25, "tda_frame_length": 25.0}
    theirs = pYAAPT.yaapt(basic_tools.SignalObj(np.pad(clip, 160), 16000), **kept).samp_values
    assert np.mean(np.abs(f0(clip) - theirs) < 0.01) >= 0.98
