"""Log-mel frames and their inversion: definition, librosa, determinism, ends, silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.errors import UsageError
from bench.media import log_mel as lm
from bench.media.mel_scale import slaney_filters

SHORT = lm.LogMelConfig(rounds=4)


def speechlike(samples: int = 8000, seed: int = 0) -> torch.Tensor:
    """(1, samples): a buzz whose pitch and loudness move, and a little noise."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    phase = 2 * np.pi * (120 * time + 8 * np.sin(2 * np.pi * 1.5 * time))
    buzz = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    return torch.from_numpy((0.2 * buzz + 0.003 * random.standard_normal(samples)).astype(np.float32))[None]


def test_analysis_by_the_definition() -> None:
    audio = speechlike(4000)
    padded = np.pad(audio[0].double().numpy(), 512)
    window = np.zeros(1024)
    window[192:832] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(640) / 640)
    frames = np.stack([padded[i * 160 : i * 160 + 1024] * window for i in range(25)])
    expected = np.log(np.maximum(np.abs(np.fft.rfft(frames)) @ slaney_filters(16_000, 1024, 80), 1e-4))
    got = lm.log_mel(audio)
    assert got.shape == (1, 25, 80)
    np.testing.assert_allclose(got[0].numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("window", [640, 600, 400])  # four hops, and no whole number of hops
def test_inversion_equals_librosa(window: int) -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is not installed")
    config = replace(SHORT, win_length=window)
    mel = lm.log_mel(speechlike(), config)
    np.testing.assert_allclose(
        slaney_filters(16_000, 1024, 80).T, librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=80), atol=1e-7
    )
    magnitudes = lm.magnitudes_of(torch.cat([mel[0], mel[0][-1:]]), config).numpy().T
    settings = {"n_iter": 4, "hop_length": 160, "win_length": window, "n_fft": 1024, "momentum": 0.99}
    expected = librosa.griffinlim(magnitudes, pad_mode="constant", length=8000, random_state=3, **settings)
    np.testing.assert_allclose(lm.inverted(mel, config, seed=3)[0].numpy(), expected, atol=2e-5)


def test_inversion_is_heard_as_what_it_was() -> None:
    mel = lm.log_mel(speechlike(16_000))
    again = lm.log_mel(lm.inverted(mel))
    constant = mel.mean(1, keepdim=True).expand_as(mel)
    assert float((again - mel).abs().mean()) < 0.25 < float((constant - mel).abs().mean())


def test_magnitudes_have_the_mel_frames_that_were_asked_for() -> None:
    mel = lm.log_mel(speechlike())[0]
    found = lm.magnitudes_of(mel)
    assert float(found.min()) >= 0
    again = (found @ torch.from_numpy(slaney_filters(16_000, 1024, 80).astype(np.float32))).log()
    assert float((again - mel).abs().mean()) < 0.05


def test_a_clip_does_not_depend_on_its_batch_and_seeds_matter() -> None:
    one, two = lm.log_mel(speechlike()), lm.log_mel(speechlike(seed=1) * 0.1)
    together = lm.inverted(torch.cat([two, one]), SHORT)
    assert torch.equal(together[1:], lm.inverted(one, SHORT))
    assert not torch.equal(together[1:], lm.inverted(one, SHORT, seed=1))


def test_silence_and_clips_of_a_frame_or_none() -> None:
    silence = torch.full((1, 20, 80), lm.DEFAULT.silence)
    made = lm.inverted(silence, SHORT)
    assert made.shape == (1, 3200)
    assert float(made.abs().max()) < 1e-3
    assert lm.inverted(silence[:, :1], SHORT).isfinite().all()
    assert lm.inverted(silence[:, :0], SHORT).shape == (1, 0)
    assert torch.equal(lm.log_mel(torch.zeros(1, 3200)), silence)


def test_padding_to_whole_frames() -> None:
    assert lm.padded(torch.ones(641), 640).shape == (1280,)
    assert lm.padded(torch.ones(640), 640).shape == (640,)
    assert lm.padded(torch.ones(2, 0), 640).tolist() == torch.zeros(2, 640).tolist()


def test_gradients_pass_through_the_analysis() -> None:
    audio = speechlike(3200).requires_grad_()
    lm.log_mel(audio).sum().backward()
    assert audio.grad is not None and audio.grad.isfinite().all()


def test_windows_that_do_not_fit_their_hop_are_refused() -> None:
    with pytest.raises(UsageError, match="do not go together"):
        lm.LogMelConfig(win_length=300)
    with pytest.raises(UsageError, match="do not go together"):
        lm.LogMelConfig(n_fft=512)
