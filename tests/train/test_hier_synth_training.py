"""Training of the tiny synthesizer: its losses by their formulas, what a step sees, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import UsageError
from bench.progress import Progress
from bench.systems.hierspeech import tiny
from bench.systems.hierspeech.training import synthesizer as stage_module
from bench.systems.hierspeech.training.spectral_losses import speech_losses, stft_losses
from bench.systems.hierspeech.training.speech_clips import SpeechClip
from bench.systems.hierspeech.training.synthesizer import (
    FRAMES,
    STYLE_FRAMES,
    Crops,
    SynthesizerOptions,
    SynthesizerStage,
    spoken_losses,
)
from bench.train import TrainSettings, train
from bench.train_files import CURVE, read_curve
from bench.train_request import TrainRequest

RATE, HOP = 16_000, 320


class Clips(list[SpeechClip]):
    """As :class:`SpeechClips`, of clips that are there; ``speakers`` has a letter for each."""

    def __init__(self, clips: Iterable[SpeechClip], speakers: str) -> None:
        super().__init__(clips)
        self.speakers = speakers

    def draw(self, random: np.random.Generator) -> int:
        return int(random.integers(len(self)))

    def partner(self, index: int, random: np.random.Generator) -> int:
        others = [i for i, who in enumerate(self.speakers) if who == self.speakers[index] and i != index]
        return int(random.choice(others)) if others else index

    def describe(self) -> dict[str, str]:
        return {"features": "fake"}


def a_clip(audio: Tensor, features: Tensor, f0: Tensor, mel: Tensor) -> SpeechClip:
    none = torch.tensor([], dtype=torch.long)
    return SpeechClip("x", "y", audio.float(), features.float(), f0.float(), mel.float(), none, none, len(audio))


def numbered_clip(number: int, frames: int) -> SpeechClip:
    """The value of frame t is 1000 number + t in every field, so that a crop tells where it was taken."""
    name = 1000.0 * number + torch.arange(frames)
    return a_clip(
        name.repeat_interleave(HOP), name.expand(tiny.FEATURES, -1), name.repeat_interleave(4), name.expand(80, -1)
    )


def spoken_clip(seed: int, frames: int = 60) -> SpeechClip:
    """A buzz that comes and goes."""
    draw = np.random.default_rng(seed)
    at = np.arange(frames * HOP) / RATE
    f0 = 120 + 40 * seed + 20 * np.sin(2 * np.pi * 1.5 * at)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    loud = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * at)
    audio = 0.1 * loud * sum(np.sin(k * phase) / k for k in range(1, 12))
    features, mel = draw.standard_normal((tiny.FEATURES, frames)), draw.standard_normal((80, frames))
    return a_clip(*map(torch.from_numpy, (audio, features, f0[::80].copy(), mel)))


def numpy_spectrum(x: NDArray[np.float64], size: int, hop: int) -> NDArray[np.complex128]:
    """(frames, bins): Hann, centred, reflected."""
    padded = np.pad(x, size // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return np.stack([np.fft.rfft(window * padded[i : i + size]) for i in range(0, len(padded) - size + 1, hop)])


def numpy_log_mel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    power = np.abs(numpy_spectrum(x, 1280, HOP)[: len(x) // HOP]) ** 2
    bins, top = np.linspace(0, 8000, 641), 2595 * math.log10(1 + 8000 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, 82) / 2595) - 1)
    bank = [np.interp(bins, edges[i : i + 3], [0, 1, 0]) for i in range(80)]
    return np.log(power @ np.array(bank).T + 1e-3)


@pytest.fixture
def pair() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Made and true, (2, 4000): loud parts and parts below every floor."""
    draw = np.random.default_rng(1)
    waves = 0.1 * draw.standard_normal((2, 2, 4000))
    waves[:, :, 1500:2500] *= 1e-4
    return waves[0], waves[1]


def test_the_losses_by_their_formulas(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    made, true = pair
    logs, errors = [], []
    for size in (1024, 512, 256):
        y, x = (
            np.sqrt(np.abs(np.stack([numpy_spectrum(wave, size, size // 4) for wave in waves])) ** 2 + 1e-5)
            for waves in (made, true)
        )
        logs.append(np.abs(np.log(np.maximum(y, 0.1)) - np.log(np.maximum(x, 0.1))).mean())
        errors.append(np.sqrt(((y - x) ** 2).sum()) / (np.sqrt((x**2).sum()) + 1e-3))
    mels = [np.stack([numpy_log_mel(wave) for wave in waves]) for waves in (made, true)]
    tensors = [torch.from_numpy(waves) for waves in (made, true)]
    f0 = torch.tensor([1.0, 5.0]), torch.tensor([2.0, 5.5])
    found = speech_losses(*tensors, *f0)
    assert float(found.mel) == pytest.approx(np.abs(mels[0] - mels[1]).mean(), rel=1e-4)
    assert float(found.log_magnitude) == pytest.approx(np.mean(logs), rel=1e-6)
    assert float(found.convergence) == pytest.approx(np.mean(errors), rel=1e-6)
    assert float(found.f0) == pytest.approx(0.75)
    assert float(found.total()) == pytest.approx(sum(float(part) for part in found))


def test_equal_speech_costs_nothing_and_silence_has_a_gradient() -> None:
    true = spoken_clip(0).audio[None]
    assert sum(float(part) for part in speech_losses(true, true, true, true)) == 0
    silence = torch.zeros(1, 4000, requires_grad=True)
    sum(stft_losses(silence, torch.zeros(1, 4000))).backward()
    assert bool(torch.isfinite(silence.grad).all())


def batch_of(crops: Crops, seed: int, size: int = 8) -> stage_module.SpeechBatch:
    return crops.draw(np.random.default_rng(seed), size)


def test_everything_in_a_crop_is_of_one_place_and_its_voice_of_another_utterance() -> None:
    crops = Crops(Clips([numbered_clip(number, 60 + number) for number in range(6)], "ababac"))
    places, styles = set(), set()
    for seed in range(20):
        batch = batch_of(crops, seed)
        assert [tuple(part.shape) for part in batch] == [
            (8, tiny.FEATURES, FRAMES),
            (8, 1, 4 * FRAMES),
            (8, HOP * FRAMES),
            (8, 80, STYLE_FRAMES),
        ]
        assert all(part.dtype == torch.float32 for part in batch)
        first = batch.features[:, 0, :1]
        frames = first + torch.arange(FRAMES)
        assert torch.equal(batch.features[:, 3], frames)
        torch.testing.assert_close(batch.log_f0[:, 0].expm1(), frames.repeat_interleave(4, 1), rtol=1e-5, atol=1e-3)
        assert torch.equal(batch.audio, frames.repeat_interleave(HOP, 1))
        own, others = (first[:, 0] // 1000).long().tolist(), (batch.style[:, 0, 0] // 1000).long().tolist()
        assert all(("ababac"[a] == "ababac"[b] and a != b) or a == b == 5 for a, b in zip(own, others, strict=True))
        places |= {int(value) % 1000 for value in first[:, 0]}
        styles |= {int(value) % 1000 for value in batch.style[:, 0, 0]}
    assert min(places) == min(styles) == 0
    assert 28 <= max(places) <= 33
    assert 10 <= max(styles) <= 15


def test_the_mel_of_a_short_utterance_begins_anew() -> None:
    clip = numbered_clip(0, FRAMES)
    batch = batch_of(Crops(Clips([clip], "a")), 0, 1)
    assert torch.equal(batch.style[0, 0], torch.arange(STYLE_FRAMES) % FRAMES)
    assert torch.equal(batch.audio[0], clip.audio)


def request(seed: int = 0, config: str = "tiny", **settings: object) -> TrainRequest:
    return TrainRequest(config, [], Path(), "fake", seed, settings=settings)


def made_stage(seed: int = 0, clips: int = 3, **settings: object) -> SynthesizerStage:
    spoken = Clips([spoken_clip(number) for number in range(clips)], "a" * clips)
    asked = request(seed, batch_size=2, eval_batches=1, **settings)
    return SynthesizerStage(asked, asked.options(SynthesizerOptions), spoken, spoken)


def test_the_gradient_reaches_every_parameter() -> None:
    stage = made_stage()
    network = stage.networks()["synthesizer"]
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():  # couplings and their gates begin at 0, which stops the gradient of what lies before them
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=draw))
    spoken_losses(network, stage.batch(0, 0, 1), draw).total().backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    # a constant on all scores of an attention changes nothing
    assert [name for name in without if not name.endswith("conv_k.bias")] == []
    assert all(bool(torch.isfinite(value.grad).all()) for value in network.parameters() if value.grad is not None)


def test_a_batch_is_a_function_of_seed_step_and_process() -> None:
    one, again = made_stage(), made_stage()
    later = one.batch(5, 0, 1)
    assert all(torch.equal(a, b) for a, b in zip(later, again.batch(5, 0, 1), strict=True))
    for other in (one.batch(6, 0, 1), one.batch(5, 1, 2), made_stage(seed=1).batch(5, 0, 1)):
        assert not torch.equal(later.features, other.features)


def test_a_training_in_two_pieces_equals_one_in_one_piece(tmp_path: Path) -> None:
    def run(folder: str, steps: int) -> str:
        settings = TrainSettings(steps, tmp_path / folder, every=2)
        train(made_stage(eval_every=2, schedule=4), settings, Progress(quiet=True))
        return (tmp_path / folder / CURVE).read_text()

    run("pieces", 2)
    assert run("pieces", 4) == run("whole", 4)
    curve = read_curve(tmp_path / "whole")
    assert {"mel", "log_magnitude", "convergence", "f0"} < set(curve[2])
    assert [line["step"] for line in curve if "eval_mel" in line] == [3]


def test_the_learning_rate_rises_stays_and_falls() -> None:
    stage = made_stage(schedule=1000, rate=2e-3)
    rates = {}
    for step in (0, 29, 500, 750, 1000, 5000):
        stage.begin(step)
        rates[step] = stage.optimisers()["synthesizer"].param_groups[0]["lr"]
    expected = {0: 2e-3 / 30, 29: 2e-3, 500: 2e-3, 750: 2e-3 * 0.525, 1000: 1e-4, 5000: 1e-4}
    assert rates == pytest.approx(expected)


def test_one_crop_is_learnt(tmp_path: Path) -> None:
    class OneCrop(SynthesizerStage):
        def batch(self, step: int, rank: int, world: int) -> stage_module.SpeechBatch:
            return super().batch(0, 0, 1)

    asked = request(batch_size=1)
    stage = OneCrop(asked, asked.options(SynthesizerOptions), Clips([spoken_clip(1)], "a"), Clips([], ""))
    train(stage, TrainSettings(60, tmp_path, every=100), Progress(quiet=True))
    curve = read_curve(tmp_path)
    first, last = (
        sum(line[name] for name in ("mel", "log_magnitude", "convergence", "f0")) for line in (curve[0], curve[-1])
    )
    assert last < 0.4 * first
    assert curve[-1]["mel"] < 0.5 * curve[0]["mel"]


def test_the_full_configuration_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="unpublished"):
        stage_module.stage(request(config="full"))


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"batch_size": 0}, {"schedule": 1}, {"speed": 3}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        stage_module.stage(request(**wrong))
