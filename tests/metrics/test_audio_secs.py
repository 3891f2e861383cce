"""SECS: against Resemblyzer and librosa themselves, and at the edges."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_helpers import SENTENCES, media, noise, nothing, score_one, speech

from bench.api import DataError, Score, Source
from bench.media import Media
from bench.media.mel_scale import slaney_filters
from bench.metrics.mel import mel_power, power_to_db
from bench.metrics.secs import FEATURE, PARAMETERS, WEIGHTS, Secs, load_encoder
from bench.metrics.speaker import Recipe, embed, partial_starts, prepare, raise_volume, trim_silences

SECS = "secs/resemblyzer@1"
RECIPE = Recipe.of(PARAMETERS)


@lru_cache(maxsize=1)
def encoder() -> Any:
    return load_encoder("cpu")


@lru_cache(maxsize=1)
def package() -> Any:
    from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False)


def secs(one: Media, other: Media) -> Any:
    metric = Secs()
    metric.load("cpu")
    return score_one(metric, SECS, one, other)


@pytest.mark.parametrize("cut", [(0, 48000), (3000, 30000), (6000, 15000), (8000, 40001)])
@pytest.mark.parametrize("gain", [1.0, 0.02])
def test_embedding_equals_the_package(cut: tuple[int, int], gain: float) -> None:
    from resemblyzer import preprocess_wav

    wave = (gain * speech()[slice(*cut)]).astype(np.float32)
    prepared = prepare(wave, RECIPE)
    np.testing.assert_allclose(prepared, preprocess_wav(wave), rtol=1e-5, atol=1e-7)
    ours = embed(prepared, encoder(), RECIPE)
    np.testing.assert_allclose(ours.embedding, package().embed_utterance(preprocess_wav(wave)), atol=1e-5)


def test_long_speech_in_one_batch_equals_its_windows_alone() -> None:
    wave = np.concatenate([speech(text) for text in SENTENCES])
    whole = embed(prepare(wave, RECIPE), encoder(), RECIPE)
    assert len(whole.starts) > 4
    for start, partial in zip(whole.starts, whole.partials, strict=True):
        alone = encoder().embed(whole.mel[None, start : start + RECIPE.window])
        np.testing.assert_allclose(alone[0], partial, atol=1e-6)


def test_window_starts_equal_the_package() -> None:
    for n in [*range(1, 200_000, 997), 25_600, 37_919, 37_920, 38_400]:
        _, slices = package().compute_partial_slices(n, PARAMETERS["rate"], PARAMETERS["min_coverage"])
        assert list(partial_starts(n, RECIPE)) == [s.start for s in slices], n


def test_trimming_equals_the_package_on_speech_between_pauses() -> None:
    from resemblyzer.audio import trim_long_silences

    pause = noise(20_000, 1e-4)
    wave = np.concatenate([pause, speech(), pause, speech(SENTENCES[1])[:30_011]])
    assert np.array_equal(trim_silences(wave, RECIPE), trim_long_silences(wave))


def test_volume_is_raised_and_never_lowered() -> None:
    quiet, loud = noise(16000, 0.001), noise(16000, 0.3)
    level = 20 * np.log10(np.sqrt(np.mean(raise_volume(quiet, -30.0).astype(np.float64) ** 2)))
    assert level == pytest.approx(-30.0, abs=1e-3)
    assert np.array_equal(raise_volume(loud, -30.0), loud)


@pytest.mark.parametrize(("n_fft", "n_mels"), [(400, 40), (321, 120)])
@pytest.mark.parametrize("n", [1, 159, 161, 5000, 48_000])
def test_mel_spectrogram_equals_librosa(n: int, n_fft: int, n_mels: int) -> None:
    import librosa

    wave = noise(n)
    ours = mel_power(wave, 16000, n_fft, 160, n_mels)
    theirs = librosa.feature.melspectrogram(y=wave, sr=16000, n_fft=n_fft, hop_length=160, n_mels=n_mels).T
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6 * theirs.max())
    np.testing.assert_allclose(power_to_db(ours), librosa.power_to_db(theirs, ref=np.max), atol=1e-2)
    np.testing.assert_allclose(
        slaney_filters(16000, n_fft, n_mels).T, librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=n_mels), atol=1e-8
    )


def test_identical_audio_gives_one_and_swapping_changes_nothing(tmp_path: Path) -> None:
    one, other = media(tmp_path, speech()), media(tmp_path, speech(SENTENCES[1], "m1", 80))
    assert secs(one, media(tmp_path, speech())).values["secs"] == pytest.approx(1.0, abs=1e-9)
    assert secs(one, other).values == secs(other, one).values
    assert 0.0 < secs(one, other).values["secs"] < 1.0


def test_the_same_voice_is_nearer_than_another(tmp_path: Path) -> None:
    voice, same, other = speech(), speech(SENTENCES[1]), speech(SENTENCES[1], "m1", 80)
    reference = media(tmp_path, voice)
    assert (
        secs(media(tmp_path, same), reference).values["secs"]
        > secs(media(tmp_path, other), reference).values["secs"] + 0.05
    )


def test_stored_embedding_of_the_truth_is_used_without_decoding(tmp_path: Path) -> None:
    output, reference = media(tmp_path, speech()), media(tmp_path, speech(SENTENCES[1]))
    value = secs(output, reference).values["secs"]
    stored = Media(None, Source(tmp_path / "gone.wav"), "x", stored=reference.new_features)
    assert list(reference.new_features) == [FEATURE]
    assert secs(output, stored).values["secs"] == value


@pytest.mark.parametrize(
    ("wave", "kind"),
    [
        (np.zeros(16000, np.float32), "silent_audio"),
        (np.full(16000, 1e-30, np.float32), "silent_audio"),
        (np.concatenate([np.ones(1), np.zeros(47999)]).astype(np.float32), "silent_audio"),
        (np.zeros(0, np.float32), "too_short"),
        (np.ones(1, np.float32), "too_short"),
        (noise(479), "too_short"),
        (np.array([0.1, np.nan] * 800, np.float32), "nan"),
        (np.array([0.1, np.inf] * 800, np.float32), "nan"),
    ],
)
def test_bad_audio_is_a_failure_on_either_side(tmp_path: Path, wave: Any, kind: str) -> None:
    good, bad = media(tmp_path, speech()), media(tmp_path, wave)
    assert secs(bad, good).kind == kind
    failure = secs(good, bad)
    assert (failure.kind, failure.detail.startswith("ground truth")) == (kind, True)


def test_missing_audio_is_a_failure(tmp_path: Path) -> None:
    assert secs(nothing(), media(tmp_path, speech())).kind == "no_audio_stream"


def test_short_clipped_and_narrow_band_speech_is_scored(tmp_path: Path) -> None:
    from bench.media import resample

    reference = media(tmp_path, speech())
    narrow = media(tmp_path, resample(speech(), 16000, 8000), 8000)
    for output in (
        narrow,
        media(tmp_path, speech()[6000:12000]),
        media(tmp_path, 30 * speech(), subtype="PCM_16"),
    ):
        assert isinstance(secs(output, reference), Score)
    assert secs(narrow, reference).values["secs"] > 0.6


def test_another_weight_file_is_refused(tmp_path: Path) -> None:
    from bench.metrics.speaker_net import load_voice_encoder

    path = tmp_path / "pretrained.pt"
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="not the expected file"):
        load_voice_encoder(path, WEIGHTS, "cpu")
