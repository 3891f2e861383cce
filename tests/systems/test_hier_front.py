"""Signal front ends of HierSpeech++: mel, resampling, prompts, pitch transfer, levels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.conformance import Case, run_case
from bench.errors import DataError, UsageError
from bench.systems.hierspeech.adapters_front import OPS
from bench.systems.hierspeech.mel import MelConfig, filter_bank, linear_spectrogram, log_mel, pad_to_frames
from bench.systems.hierspeech.pitch import LOWEST_LOG_F0, clip_pitch, convert_f0, log_f0
from bench.systems.hierspeech.prompt import prompt_rows, repeated
from bench.systems.hierspeech.resample import resample
from bench.systems.hierspeech.waveform import PROMPT_STEP, SOURCE_STEP, pad_right, padded_length, to_int16

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "tests" / "golden" / "hierspeech", ROOT / ".." / "shared" / "golden" / "hierspeech")


@pytest.mark.parametrize("name", ["mel", "resample", "vc_f0", "output_scaling", "prompt_rows"])
def test_goldens(name: str) -> None:
    path = next(
        (folder / f"{name}.safetensors" for folder in FOLDERS if (folder / f"{name}.safetensors").exists()), None
    )
    if path is None:
        pytest.skip(f"../shared with {name}.safetensors (a recording of others) is not beside this checkout")
    result = run_case(Case("hierspeech", name, name, path), OPS[name])
    assert result.passed, result.detail


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize("length", [641, 3199, 3200, 5000])
def test_mel_by_the_definition(length: int) -> None:
    audio = noise(2, length)
    config = MelConfig()
    reflected = np.pad(audio.double().numpy(), [(0, 0), (640, 640)], mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1280) / 1280)
    frames = np.stack([reflected[:, i * 320 : i * 320 + 1280] * window for i in range(length // 320)], axis=1)
    power = np.abs(np.fft.rfft(frames)) ** 2  # (B, T, 641)
    expected = np.log(power @ filter_bank(config).double().numpy() + 1e-3).transpose(0, 2, 1)
    got = log_mel(audio, config)
    assert got.shape == (2, 80, length // 320)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=2e-4)


def test_filter_bank_equals_librosa() -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is not installed")
    for config in (MelConfig(), MelConfig(n_fft=512, n_mels=40, f_min=60.0, f_max=7000.0)):
        kinds = {"htk": True, "norm": None, "fmin": config.f_min, "fmax": config.f_max}
        expected = librosa.filters.mel(sr=16000, n_fft=config.n_fft, n_mels=config.n_mels, **kinds).T
        np.testing.assert_allclose(filter_bank(config).numpy(), expected, atol=2e-5)


def test_mel_of_items_of_a_batch_and_gradient() -> None:
    audio = noise(3, 4000).requires_grad_()
    mel = log_mel(audio)
    torch.testing.assert_close(mel[1:2], log_mel(audio[1:2]))
    mel.sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


def test_short_audio_is_refused_or_filled_up() -> None:
    with pytest.raises(DataError, match="too short"):
        log_mel(torch.zeros(1, 640))
    assert pad_to_frames(torch.zeros(1, 5)).shape == (1, 641)
    assert log_mel(pad_to_frames(torch.zeros(1, 5))).shape == (1, 80, 2)
    assert torch.equal(log_mel(torch.zeros(1, 1280)), torch.full((1, 80, 4), math.log(1e-3)))


def test_spectrogram_powers() -> None:
    audio = noise(1, 2000)
    magnitude = linear_spectrogram(audio, power=1.0)
    torch.testing.assert_close(linear_spectrogram(audio), magnitude**2, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(linear_spectrogram(audio, power=0.5), magnitude**0.5, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44100, 16000), (48000, 16000), (22050, 16000), (8000, 16000)])
def test_resampling_by_the_formula(rate_in: int, rate_out: int) -> None:
    audio = noise(1, 300, seed=rate_in)
    got = resample(audio, rate_in, rate_out)[0]
    common = math.gcd(rate_in, rate_out)
    old, new = rate_in // common, rate_out // common
    assert len(got) == math.ceil(new * 300 / old)
    cutoff, beta = 0.99 * min(old, new), 14.769656459379492
    x = audio[0].double().numpy()
    for m in range(0, len(got), 7):
        t = np.clip((np.arange(300) / old - m / new) * cutoff, -6, 6)
        weight = np.sinc(t) * np.i0(beta * np.sqrt(1 - (t / 6) ** 2)) / np.i0(beta) * cutoff / old
        assert abs(float((x * weight).sum()) - float(got[m])) < 2e-5


def test_resampling_keeps_a_tone_and_equal_rates() -> None:
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(24000) / 24000)[None]
    got = resample(tone, 24000, 16000)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)[None]
    torch.testing.assert_close(got[:, 100:-100], expected[:, 100:-100], rtol=0, atol=2e-3)
    assert resample(tone, 16000, 16000) is tone
    with pytest.raises(UsageError):
        resample(tone, 0, 16000)


def test_resampling_rows_alone() -> None:
    audio = noise(2, 500)
    torch.testing.assert_close(resample(audio, 48000, 16000)[1:], resample(audio[1:], 48000, 16000))


@given(st.integers(0, 10**6), st.sampled_from([PROMPT_STEP, SOURCE_STEP]))
def test_padding_adds_between_one_sample_and_a_step(length: int, step: int) -> None:
    made = padded_length(length, step)
    assert made % step == 0
    assert 1 <= made - length <= step


def test_pad_right_keeps_the_audio() -> None:
    audio = noise(2, 1600)
    made = pad_right(audio, PROMPT_STEP)
    assert made.shape == (2, 3200)
    assert torch.equal(made[:, :1600], audio)
    assert not made[:, 1600:].any()


def test_int16_levels() -> None:
    audio = torch.tensor([[[0.5, -0.25, 0.1]]])
    assert to_int16(audio).tolist() == [int(32767 * 0.999), -int(0.5 * 32767 * 0.999), int(0.2 * 32767 * 0.999)]
    assert to_int16(audio, 0.5)[0] == 16383
    assert to_int16(torch.zeros(1, 4)).tolist() == [0] * 4
    assert to_int16(torch.zeros(1, 1, 0)).shape == (0,)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(DataError):
            to_int16(torch.tensor([0.1, bad]))


def test_prompt_rows() -> None:
    audio = noise(2, 5000)
    given_lengths: list[int] = []

    def halve(padded: torch.Tensor) -> torch.Tensor:
        given_lengths.append(padded.shape[-1])
        return padded * 0.5

    made = prompt_rows(audio, halve)
    assert given_lengths == [6400]
    torch.testing.assert_close(made.rows, torch.stack([audio[0], audio[0] * 0.5]))
    torch.testing.assert_close(made.mel, log_mel(made.rows))
    assert made.peak == pytest.approx(float(audio[0].abs().max()))
    plain = prompt_rows(audio)
    assert torch.equal(plain.rows[0], plain.rows[1])
    with pytest.raises(DataError):
        prompt_rows(torch.zeros(1, 100))


def test_short_prompts_are_repeated() -> None:
    audio = noise(1, 1000)
    assert torch.equal(repeated(audio), audio.repeat(1, 5))
    assert repeated(audio, shortest=1000) is audio


def test_pitch_transfer() -> None:
    source = np.array([0.0, 100.0, 120.0, 0.0, 140.0])
    target = np.array([200.0, 0.0, 220.0, 240.0])
    got = np.exp(convert_f0(source, target)) - 1
    np.testing.assert_allclose(got, [0, 200, 220, 0, 240])  # both have a spread of 20 sqrt(2/3)
    np.testing.assert_allclose(convert_f0(source, source), log_f0(source))


def test_pitch_transfer_without_voice_or_movement() -> None:
    voiced, none = np.array([0.0, 100.0, 130.0]), np.zeros(3)
    assert not convert_f0(none, voiced).any()
    assert not convert_f0(voiced, none).any()
    got = np.exp(convert_f0(np.array([0.0, 150.0, 150.0]), voiced)) - 1
    np.testing.assert_allclose(got, [0, 115, 115])
    wide = convert_f0(np.array([100.0, 101.0, 102.0, 400.0]), np.array([100.0, 1100.0, 60.0]))
    assert (wide >= 0).all()
    assert np.isfinite(wide).all()


def test_pitch_limit_is_strict() -> None:
    edge = torch.tensor(LOWEST_LOG_F0)
    pitch = torch.stack([edge, torch.nextafter(edge, torch.tensor(0.0)), torch.tensor(9.0), torch.tensor(-1.0)])
    got = clip_pitch(pitch)
    assert got[1] == got[3] == 0
    assert got[2] == 9
