"""The cascade from tokens to speech: recorded numbers, order of noise, pitch limit, voices."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from bench.conformance import Fill
from bench.detfill import fill_module
from bench.errors import DataError
from bench.systems.hierspeech.adapters_front import pipeline_tts
from bench.systems.hierspeech.cascade import Style, convert, say, style_of
from bench.systems.hierspeech.synthesizer import Synthesizer, SynthesizerConfig
from bench.systems.hierspeech.ttv import TextToVec, TTVConfig

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden" / "hierspeech" / "pipeline_tts.safetensors"
#: int16 steps by which the recorded waves may differ (``cases.json``: rounding, amplified by SpeechSR).
STEPS = {"int16_16k": 2, "int16_sr": 8}


def test_golden() -> None:
    if not GOLDEN.exists():
        pytest.skip("../shared with pipeline_tts.safetensors (a recording of others) is not beside this checkout")
    with safe_open(GOLDEN, "np") as file:
        header = file.metadata()
    tensors = load_file(GOLDEN)
    fill = Fill(header["fill"], float(header["gain"]), tuple(json.loads(header["keep"])))
    inputs = {name[3:]: value for name, value in tensors.items() if name.startswith("in.")}
    try:
        got = pipeline_tts(json.loads(header["config"]), inputs, fill)
    except DataError as error:
        pytest.skip(f"SpeechSR's official weights are not here: {error}")
    for name, expected in tensors.items():
        short = name.removeprefix("out.")
        if short in STEPS:
            assert np.abs(got[short].astype(int) - expected.astype(int)).max() <= STEPS[short]
        elif name.startswith("out."):
            np.testing.assert_allclose(got[short], expected, rtol=1e-3, atol=1e-4)


@dataclass
class Zeros:
    """A source of noise that draws zeros and remembers what it was asked for."""

    asked: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, shape: tuple[int, ...]) -> torch.Tensor:
        self.asked.append(shape)
        return torch.zeros(shape)


@pytest.fixture(scope="module")
def networks() -> tuple[TextToVec, Synthesizer]:
    sizes: dict[str, Any] = {"inter_channels": 16, "hidden_channels": 16, "upsample_initial_channel": 32}
    ttv = fill_module(TextToVec(TTVConfig(inter_channels=16, hidden_channels=16, pitch_channels=16)))
    synthesizer = fill_module(Synthesizer(SynthesizerConfig(**sizes), training_parts=False), 0.25)
    return ttv.eval(), synthesizer.eval()


def mel(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 80, 20, generator=torch.Generator().manual_seed(seed))


def test_noise_is_drawn_for_durations_latent_and_wave(networks: tuple[TextToVec, Synthesizer]) -> None:
    ttv, synthesizer = networks
    noise = Zeros()
    said = say(ttv, synthesizer, torch.tensor([[0, 50, 0, 83, 0]]), style_of(ttv, synthesizer, mel()), noise)
    frames = said.w2v.shape[-1]
    assert noise.asked == [(1, 2, 5), (1, 16, frames), (1, 16, frames)]
    assert said.w2v.shape == (1, 1024, frames)
    assert said.pitch.shape == (1, 1, 4 * frames)
    assert said.wave.shape == (1, 1, 320 * frames)
    assert said.wave.isfinite().all()
    assert ((said.pitch == 0) | (said.pitch >= np.log(55) - 1e-6)).all()


def test_the_denoise_ratio_blends_both_voices(networks: tuple[TextToVec, Synthesizer]) -> None:
    rows = mel(1)
    first, second, half = (style_of(*networks, rows, ratio) for ratio in (0.0, 1.0, 0.5))
    for name in ("ttv", "synthesizer"):
        a, b, middle = (getattr(one, name) for one in (first, second, half))
        assert a.shape == (1, 256, 1)
        assert not torch.allclose(a, b)
        torch.testing.assert_close(middle, (a + b) / 2)
    assert isinstance(first, Style)
    with pytest.raises(ValueError, match="two"):
        style_of(*networks, rows[:1])


def test_conversion_of_what_was_said_is_the_same_speech(networks: tuple[TextToVec, Synthesizer]) -> None:
    ttv, synthesizer = networks
    style = style_of(ttv, synthesizer, mel(2))
    said = say(ttv, synthesizer, torch.tensor([[0, 50, 0]]), style, Zeros())
    again = convert(synthesizer, said.w2v, said.pitch, style.synthesizer, Zeros())
    torch.testing.assert_close(again, said.wave)
