"""ESTOI, PESQ, MCD and F0 RMSE: against their packages, plain loops and formulas; and at the edges."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_helpers import SENTENCES, media, noise, nothing, score_one, speech

from bench.api import Score, Source
from bench.media import Media
from bench.metrics import dtw, f0rmse, mel_cepstra, pesq_wb
from bench.metrics.estoi import Estoi
from bench.metrics.f0rmse import F0Rmse
from bench.metrics.mcd import Mcd
from bench.metrics.pesq_wb import Pesq
from bench.metrics.speech_declare import CEPSTRA

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "specs" / "protocols.json"
METRICS = (Estoi, F0Rmse, Mcd, Pesq)
PACKAGES = {"estoi": "pystoi", "pesq": "pesq", "f0rmse": "librosa"}


def made(kind: Any) -> Any:
    """A metric of the kind; the test is skipped where its package is not installed."""
    if kind.name in PACKAGES:
        pytest.importorskip(PACKAGES[kind.name], reason=f"{PACKAGES[kind.name]} is not installed")
    return kind()


def score(kind: Any, output: Media, reference: Media) -> Any:
    return score_one(made(kind), kind.protocols[0].id, output, reference)


def value(kind: Any, folder: Path, output: Any, reference: Any) -> float:
    found = score(kind, media(folder, output), media(folder, reference))
    assert isinstance(found, Score), found
    return found.values[kind.name]


def voice(hz: float, seconds: float = 1.0, formant: float = 700.0) -> Any:
    """Harmonics of ``hz`` under one broad resonance, with a slow swell."""
    t = np.arange(int(16_000 * seconds)) / 16_000
    orders = np.arange(1, int(7_000 / hz))
    gains = 1.0 / (1.0 + ((orders * hz - formant) / 600.0) ** 2)
    wave = (gains[:, None] * np.sin(2 * np.pi * hz * orders[:, None] * t)).sum(0) * (0.6 + 0.4 * np.sin(9 * t))
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


# Declarations


@pytest.mark.parametrize("kind", METRICS)
def test_declaration_holds_the_published_one(kind: Any) -> None:
    if not PUBLISHED.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    (protocol,) = kind.protocols
    wanted = json.loads(PUBLISHED.read_text())["protocols"][protocol.id]
    assert wanted["parameters"].items() <= json.loads(json.dumps(protocol.parameters)).items()
    head = protocol.values[0]
    assert (head.label, head.unit, head.direction) == (wanted["metric"], wanted["unit"], wanted["direction"])
    assert (protocol.status, protocol.default, protocol.weights) == (wanted["status"], False, ())


def test_declaring_loads_no_numeric_library() -> None:
    modules = [kind.__module__ for kind in METRICS] + ["bench.metrics.utmos"]
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "librosa", "scipy", "pystoi", "pesq"} & set(done.stdout.split())


@pytest.mark.parametrize("kind", [Estoi, F0Rmse, Pesq])
def test_an_absent_package_is_named_with_its_extra(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (line,) = kind().missing(kind.protocols[0].id)
    assert PACKAGES[kind.name] in line and "bench-avgen[speech]" in line


# Alignment


def plain_dtw(a: Any, b: Any) -> tuple[list[tuple[int, int]], float]:
    """The definition, cell by cell: least total, the diagonal before a step of a before a step of b."""
    n, m = len(a), len(b)
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    came = {}
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            options = [(total[i - 1, j - 1], 0), (total[i - 1, j], 1), (total[i, j - 1], 2)]
            best, came[i, j] = min(options)
            total[i, j] = best + np.sqrt(((a[i - 1] - b[j - 1]) ** 2).sum())
    i, j, path = n, m, []
    while (i, j) != (0, 0):
        path.append((i - 1, j - 1))
        step = came[i, j]
        i, j = i - (step != 2), j - (step != 1)
    return path[::-1], float(total[n, m])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (6, 1), (2, 9), (17, 17), (23, 11), (11, 30)])
@pytest.mark.parametrize("integers", [False, True])
def test_alignment_equals_the_plain_loop(n: int, m: int, integers: bool) -> None:
    rng = np.random.default_rng(n * 100 + m)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    if integers:  # many equal totals
        a, b = np.round(a[:, :1]), np.round(b[:, :1])
    path, expected = dtw.align(a, b), plain_dtw(a, b)
    assert list(zip(path.first.tolist(), path.second.tolist(), strict=True)) == expected[0]
    assert path.distances.sum() == pytest.approx(expected[1], rel=1e-12)


def test_alignment_finds_repeated_frames() -> None:
    a = np.random.default_rng(1).normal(size=(40, 13))
    repeats = np.random.default_rng(2).integers(1, 4, 40)
    path = dtw.align(np.repeat(a, repeats, axis=0), a)
    assert path.distances.max() == 0.0
    assert np.array_equal(path.second, np.repeat(np.arange(40), repeats))


def test_alignment_total_equals_librosa() -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is not installed")
    a, b = np.random.default_rng(3).normal(size=(50, 13)), np.random.default_rng(4).normal(size=(64, 13))
    total, _ = librosa.sequence.dtw(a.T, b.T, metric="euclidean")
    assert dtw.align(a, b).distances.sum() == pytest.approx(total[-1, -1], rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [((0, 3), (4, 3)), ((4, 3), (0, 3)), ((4, 3), (4, 2))])
def test_alignment_refuses_what_has_no_path(a: tuple[int, int], b: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be aligned"):
        dtw.align(np.zeros(a), np.zeros(b))


# Mel cepstra and MCD


def test_cepstra_are_the_scaled_dct_of_the_log_mel_spectrum() -> None:
    from scipy.fft import dct

    librosa = pytest.importorskip("librosa", reason="librosa is not installed")
    wave = noise(5_000) + 1e-2
    power = librosa.feature.melspectrogram(
        y=wave.astype(np.float64), sr=16_000, n_fft=400, hop_length=160, n_mels=40, pad_mode="constant"
    )
    assert power.min() > 1e-8 * power.max()  # nothing is held at the floor
    expected = dct(np.log(np.sqrt(power)), axis=0, norm="ortho")[1:14].T * np.sqrt(2 / 40)
    ours = mel_cepstra.cepstra(wave, CEPSTRA)
    assert ours.shape == (1 + 5_000 // 160, 13)
    np.testing.assert_allclose(ours, expected, atol=1e-6)  # librosa's filters are float32


def test_distance_is_the_rms_difference_of_smooth_spectra_in_db() -> None:
    """A ripple of 6 dB amplitude along the mel axis is a distance of 6 / sqrt(2) dB."""
    bands = (np.arange(40) + 0.5) / 40
    log_amplitude = 6.0 / (20 / np.log(10)) * np.cos(np.pi * 5 * bands)
    coefficients = log_amplitude @ mel_cepstra._cosines(40, 13)
    assert mel_cepstra.DB_PER_CEPSTRUM * np.linalg.norm(coefficients) == pytest.approx(6 / np.sqrt(2), rel=1e-12)


def test_mcd_of_equal_and_of_louder_audio_is_zero(tmp_path: Path) -> None:
    wave = speech()
    assert value(Mcd, tmp_path, wave, wave) == 0.0
    for gain in (0.01, 0.5, 3.0):
        assert value(Mcd, tmp_path, (gain * wave).astype(np.float32), wave) < 1e-4


def test_mcd_equals_the_plain_way(tmp_path: Path) -> None:
    one, other = speech()[8_000:16_000], speech(SENTENCES[1])[6_000:15_000]
    a, b = (mel_cepstra.cepstra(wave, CEPSTRA) for wave in (one, other))
    path, _ = plain_dtw(a, b)
    per_cell = [10 / np.log(10) * np.sqrt(2 * sum((a[i] - b[j]) ** 2)) for i, j in path]
    assert value(Mcd, tmp_path, one, other) == pytest.approx(np.mean(per_cell), rel=1e-9)
    assert value(Mcd, tmp_path, other, one) == pytest.approx(np.mean(per_cell), rel=1e-3)


def test_mcd_grows_with_noise_and_forgives_delay(tmp_path: Path) -> None:
    wave = speech() + noise(48_000, 1e-3, 9)
    little, much = (value(Mcd, tmp_path, wave + noise(48_000, level), wave) for level in (0.003, 0.03))
    assert 0.0 < little < much
    late = np.concatenate([noise(4_000, 1e-3, 8), wave])[:48_000]
    assert value(Mcd, tmp_path, late, wave) < value(Mcd, tmp_path, speech(SENTENCES[1]), wave)


# Fundamental frequency


def test_f0_error_of_a_shifted_voice_is_the_shift(tmp_path: Path) -> None:
    reference, higher = voice(120.0), voice(132.0)
    assert value(F0Rmse, tmp_path, reference, reference) == 0.0
    assert value(F0Rmse, tmp_path, higher, reference) == pytest.approx(12.0, abs=1.5)
    found = score(F0Rmse, media(tmp_path, higher), media(tmp_path, reference))
    assert 0 < found.parts["path_voiced"] <= found.parts["path"]


def test_f0_track_is_kept_and_used(tmp_path: Path) -> None:
    reference, output = media(tmp_path, voice(120.0)), media(tmp_path, voice(132.0))
    first = score(F0Rmse, output, reference)
    assert set(reference.new_features) == {f0rmse.FEATURE, mel_cepstra.FEATURE}
    stored = Media(None, Source(tmp_path / "gone.wav"), "x", stored=reference.new_features)
    assert score(F0Rmse, output, stored) == first


def test_audio_without_a_voiced_frame_fails(tmp_path: Path) -> None:
    hiss = media(tmp_path, noise(16_000, 0.1))
    found = score(F0Rmse, hiss, media(tmp_path, voice(120.0)))
    assert (found.kind, found.detail) == ("silent_audio", "no frame of the audio is voiced")
    assert score(F0Rmse, media(tmp_path, voice(120.0)), hiss).detail.startswith("reference of clip")


def test_voiced_frames_that_never_meet_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([[100.0] + [0.0] * 100, [0.0] * 100 + [100.0]])
    monkeypatch.setattr(f0rmse, "voiced_f0", lambda media: np.array(next(ends)))
    wave = speech()[8_000:24_000]
    assert score(F0Rmse, media(tmp_path, wave), media(tmp_path, wave)).kind == "nan"


# ESTOI and PESQ


def test_estoi_of_equal_audio_is_one_and_falls_with_noise(tmp_path: Path) -> None:
    wave = speech()
    assert value(Estoi, tmp_path, wave, wave) == pytest.approx(1.0, abs=1e-9)
    values = [value(Estoi, tmp_path, wave + noise(48_000, level), wave) for level in (0.01, 0.1)]
    assert 1.0 > values[0] > values[1]


def plain_estoi(x: Any, y: Any) -> float:
    """Jensen and Taal, section II, on signals at 10 kHz without silent frames to remove."""
    window = np.hanning(258)[1:-1]
    spectra = [
        np.array([np.fft.rfft(window * s[i : i + 256], 512) for i in range(0, len(s) - 256, 128)]).T for s in (x, y)
    ]
    frequencies = np.linspace(0, 10_000, 513)[:257]
    edges = [[np.argmin((frequencies - 150 * 2 ** ((2 * k + side) / 6)) ** 2) for side in (-1, 1)] for k in range(15)]
    bands = [np.array([np.sqrt((abs(s[low:high]) ** 2).sum(0)) for low, high in edges]) for s in spectra]
    scores = []
    for end in range(30, bands[0].shape[1] + 1):
        a, b = (band[:, end - 30 : end] for band in bands)
        for axis in (1, 0):
            a, b = (s - s.mean(axis, keepdims=True) for s in (a, b))
            a, b = (s / np.linalg.norm(s, axis=axis, keepdims=True) for s in (a, b))
        scores.append((a * b).sum() / 30)
    return float(np.mean(scores))


def test_estoi_equals_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """At pystoi's own rate, with noise throughout, so that neither resampling nor silence takes part."""
    pytest.importorskip("pystoi", reason="pystoi is not installed")
    from bench.metrics import estoi

    monkeypatch.setitem(estoi.PARAMETERS, "sample_rate", 10_000)
    reference = noise(20_000, 0.1, 1)
    generated = reference + noise(20_000, 0.1, 2)
    # pystoi joins its frames anew after leaving out silent ones, and drops what fills no last frame.
    joined = [_rejoined(wave.astype(np.float64)) for wave in (reference, generated)]
    assert estoi.estoi(reference, generated) == pytest.approx(plain_estoi(*joined), abs=1e-6)


def _rejoined(wave: Any) -> Any:
    window, out = np.hanning(258)[1:-1], np.zeros_like(wave)
    starts = range(0, len(wave) - 256, 128)
    for start in starts:
        out[start : start + 256] += window * wave[start : start + 256]
    return out[: starts[-1] + 256]


def test_estoi_of_partly_silent_output_is_repeatable_and_leaves_numpy_alone(tmp_path: Path) -> None:
    quiet = speech().copy()
    quiet[16_000:40_000] = 0.0
    np.random.seed(5)
    values = {value(Estoi, tmp_path, quiet, speech()) for _ in range(3)}
    after = np.random.random()
    np.random.seed(5)
    assert len(values) == 1 and after == np.random.random()


def test_estoi_of_too_little_speech_is_too_short(tmp_path: Path) -> None:
    wave = speech()[8_000:12_000]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(Estoi, media(tmp_path, wave), media(tmp_path, wave)).kind == "too_short"


def test_pesq_equals_the_package_and_falls_with_noise(tmp_path: Path) -> None:
    wave = speech()
    assert value(Pesq, tmp_path, wave, wave) > 4.5
    noisy = wave + noise(48_000, 0.01)
    found = value(Pesq, tmp_path, noisy, wave)
    from pesq import pesq

    assert found == pesq(16_000, wave, noisy, "wb")
    assert 1.0 < value(Pesq, tmp_path, wave + noise(48_000, 0.1), wave) < found < 4.5


def test_pesq_refuses_what_the_package_cannot_take(tmp_path: Path) -> None:
    wave = speech()
    short, burst = media(tmp_path, wave[8_000:11_999]), np.zeros(16_000, np.float32)
    burst[8_000:9_600] = noise(1_600)  # less than P.862's shortest utterance
    assert score(Pesq, short, short).kind == "too_short"
    assert score(Pesq, media(tmp_path, wave[8_000:24_000]), media(tmp_path, burst)).kind == "silent_audio"
    long = media(tmp_path, np.tile(wave, 7))
    assert score(Pesq, long, long).kind == "model_error"
    assert pesq_wb.PARAMETERS["max_seconds"] * 1000 / (200 + 200) <= 50  # utterance and pause of P.862's code


@pytest.mark.parametrize("kind", [Estoi, Pesq])
@pytest.mark.parametrize(("more", "fails"), [(640, False), (-640, False), (656, True), (-656, True)])
def test_lengths_may_differ_by_40_ms(tmp_path: Path, kind: Any, more: int, fails: bool) -> None:
    wave = speech()
    found = score(kind, media(tmp_path, wave[: 40_000 + more]), media(tmp_path, wave[:40_000]))
    if fails:
        assert found.kind == "length_mismatch" and f"{more / 16_000:+.3f} s" in found.detail
    else:
        assert found.parts == {"length_differs": 1.0, "seconds_apart": pytest.approx(more / 16_000)}
        assert found.values[kind.name] > 0.99


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize(
    ("wave", "failure"),
    [
        (np.zeros(16_000, np.float32), "silent_audio"),
        (noise(1_599), "too_short"),
        (np.array([0.1, np.nan] * 8_000, np.float32), "nan"),
        (None, "no_audio_stream"),
    ],
)
def test_bad_audio_is_a_failure_on_either_side(tmp_path: Path, kind: Any, wave: Any, failure: str) -> None:
    good = media(tmp_path, voice(120.0))
    bad = nothing() if wave is None else media(tmp_path, wave)
    assert score(kind, bad, good).kind == failure
    theirs = score(kind, good, bad)
    assert theirs.kind == failure.replace("no_audio_stream", "missing_reference")
    assert theirs.detail.startswith("reference of clip")
