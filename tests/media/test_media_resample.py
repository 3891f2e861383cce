"""The three resamplers: lengths, exactness at equal rates, and an independent computation of each."""

from __future__ import annotations

import math
import sys

import librosa
import numpy as np
import pytest
from media_making import tone

from bench.errors import UsageError
from bench.media import resample

RATES = [(8000, 16000), (22050, 16000), (24000, 16000), (44100, 16000), (48000, 16000), (16000, 24000), (16000, 44100)]


def direct_sinc(x, rate_in, rate_out, n):
    """Output sample n by the defining sum, in float64, straight from the definition's continuous kernel."""
    cutoff = 0.99 * min(rate_in, rate_out)
    time = n / rate_out
    total = 0.0
    for k in range(len(x)):
        t = (k / rate_in - time) * cutoff
        if abs(t) < 6:
            total += x[k] * math.cos(math.pi * t / 12) ** 2 * np.sinc(t)
    return total * cutoff / rate_in


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_sinc_equals_the_defining_sum(rate_in, rate_out):
    x = np.random.default_rng(1).uniform(-1, 1, 1501).astype(np.float32)
    y = resample(x, rate_in, rate_out, "sinc")
    assert y.shape == (math.ceil(len(x) * rate_out / rate_in),)
    assert y.dtype == np.float32
    for n in [0, 1, 2, 3, len(y) // 3, len(y) // 2, len(y) - 2, len(y) - 1]:
        assert y[n] == pytest.approx(direct_sinc(x, rate_in, rate_out, n), abs=2e-6)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
@pytest.mark.parametrize("n", [1, 7, 801, 22050])
def test_soxr_equals_librosa(rate_in, rate_out, n):
    x = np.random.default_rng(2).uniform(-1, 1, n).astype(np.float32)
    expected = librosa.resample(x, orig_sr=rate_in, target_sr=rate_out, res_type="soxr_hq")
    np.testing.assert_array_equal(resample(x, rate_in, rate_out), expected)


@pytest.mark.parametrize("method", ["soxr_hq", "sinc", "swr"])
@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_tone_stays_that_tone(method, rate_in, rate_out):
    got = resample(tone(0.5, rate_in, 440), rate_in, rate_out, method)
    expected = tone(0.5, rate_out, 440)
    assert abs(len(got) - len(expected)) <= 1
    body = slice(rate_out // 20, len(expected) - rate_out // 20)
    assert np.abs(got[: len(expected)][body] - expected[body]).max() < 5e-3


@pytest.mark.parametrize("method", ["soxr_hq", "sinc", "swr"])
def test_equal_rates_and_empty_signals_pass_through(method):
    x = np.random.default_rng(3).uniform(-1, 1, 100).astype(np.float32)
    np.testing.assert_array_equal(resample(x, 16000, 16000, method), x)
    assert resample(x[:0], 8000, 16000, method).shape == (0,)


def test_long_signals_are_worked_on_in_pieces_with_equal_result(monkeypatch):
    x = np.random.default_rng(4).uniform(-1, 1, 20000).astype(np.float32)
    whole = resample(x, 48000, 16000, "sinc")
    monkeypatch.setattr(sys.modules["bench.media.resample"], "_ROWS", 37)  # the name is also the function's
    np.testing.assert_allclose(resample(x, 48000, 16000, "sinc"), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4, np.float32), 8000, 16000, "linear"), "unknown resampler 'linear'"),
        ((np.zeros(4, np.float32), 0, 16000), "must be positive"),
        ((np.zeros((2, 4), np.float32), 8000, 16000), "must be mono"),
    ],
)
def test_wrong_settings_are_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        resample(*arguments)
