"""MFCC against a frame-by-frame version, and against python_speech_features where it is installed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lse_helpers import babble, plain_mfcc

from bench.metrics.lse import mfcc as module
from bench.metrics.lse.embed import audio_windows
from bench.metrics.lse.mfcc import MfccRecipe, filterbank, mfcc
from bench.metrics.lse.protocols import NO_JPEG

SETTINGS = NO_JPEG.parameters
RECIPE = MfccRecipe.of(SETTINGS["mfcc"], 16000)


@pytest.mark.parametrize("n", [1, 2, 399, 400, 401, 560, 561, 3217])
def test_equals_the_plain_form_at_awkward_lengths(n: int) -> None:
    pcm = babble(n, seed=n)
    np.testing.assert_allclose(mfcc(pcm, RECIPE), plain_mfcc(pcm), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [1, 400, 16001])
def test_equals_the_package(n: int) -> None:
    package = pytest.importorskip("python_speech_features")
    np.testing.assert_allclose(mfcc(babble(n), RECIPE), package.mfcc(babble(n), 16000), rtol=1e-12, atol=1e-12)


def test_full_scale_does_not_overflow() -> None:
    square = np.tile(np.array([32767, -32768], np.int16), 500)
    np.testing.assert_allclose(mfcc(square, RECIPE), plain_mfcc(square), rtol=1e-9, atol=1e-9)
    assert square[:2].tolist() == [32767, -32768]  # the input is left alone


def test_silence_is_finite() -> None:
    found = mfcc(np.zeros(1600, np.int16), RECIPE)
    assert found[:, 0] == pytest.approx(np.log(np.finfo(float).eps))
    assert np.abs(found[:, 1:]).max() < 1e-9


def test_long_audio_is_transformed_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mfcc(babble(20000), RECIPE)
    monkeypatch.setattr(module, "_BLOCK", 7)
    np.testing.assert_allclose(mfcc(babble(20000), RECIPE), whole, rtol=1e-12)


def test_filters_are_triangles_from_0_to_8000_hz() -> None:
    bank = filterbank(RECIPE)
    assert bank.shape == (26, 257)
    assert (bank.max(axis=1) == 1.0).all()
    assert (bank >= 0).all()
    assert not bank[:, 256].any()
    assert not filterbank(replace(RECIPE, lowfreq=1000))[:, :32].any()


def test_settings_count() -> None:
    bare = replace(RECIPE, ceplifter=0, append_energy=False, preemph=0.0, numcep=26)
    pcm = babble(3000)
    spectrum = np.abs(np.fft.rfft(pcm[160:560].astype(float), 512)) ** 2 / 512
    energies = np.log(filterbank(bare) @ spectrum)
    assert mfcc(pcm, bare).shape[1] == 26
    assert np.sum(mfcc(pcm, bare)[1] ** 2) == pytest.approx(np.sum(energies**2))  # the transform is orthonormal


def test_without_samples_there_is_nothing() -> None:
    with pytest.raises(ValueError, match=r"not \(0,\)"):
        mfcc(np.zeros(0, np.int16), RECIPE)
    with pytest.raises(ValueError, match=r"not \(2, 500\)"):
        mfcc(np.zeros((2, 500), np.int16), RECIPE)


@pytest.mark.parametrize(("n", "windows"), [(6 * 640, 1), (7 * 640 - 1, 1), (7 * 640, 2), (40 * 640 + 300, 35)])
def test_windows_are_20_columns_every_4(n: int, windows: int) -> None:
    pcm = babble(n)
    found, columns = audio_windows(pcm, SETTINGS), mfcc(pcm, RECIPE).astype(np.float32)
    assert found.shape == (windows, 1, 13, 20)
    assert found.dtype == np.float32
    assert (found[-1, 0] == columns[4 * (windows - 1) : 4 * (windows - 1) + 20].T).all()
