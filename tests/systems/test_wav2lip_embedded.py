"""Tier embedded of ``wav2lip``: the small generator that is shipped, and one that begins by copying."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from system_helpers import Made, a2v, make_clip

from bench import media
from bench.api import Audio, Output, Source, UsageError
from bench.embedded import EMBEDDED, facts
from bench.registry import get
from bench.specs import parse_systems
from bench.systems.wav2lip.copying import begin_as_copy, keep_statistics
from bench.systems.wav2lip.declare import SMALL_EXPERT, SMALL_GENERATOR
from bench.systems.wav2lip.generator import GeneratorSizes, Wav2LipGenerator
from bench.systems.wav2lip.system import Wav2Lip
from bench.systems.wav2lip.training_options import SIZES
from bench.weights import locate

FRAMES = 16


@pytest.fixture
def portrait(tmp_path: Path) -> Made:
    """The demo's face, standing still, and a voice that swells twice."""
    picture = np.ascontiguousarray(data.astronaut()[12:206, 127:321])
    frames = np.broadcast_to(picture, (FRAMES, *picture.shape)).copy()
    at = np.arange(FRAMES * 640) / 16_000
    voice = sum(np.sin(2 * np.pi * 130 * k * at) / k for k in range(1, 20)) * np.sin(2 * np.pi * 3 * at) ** 2 / 6
    made = make_clip(tmp_path, "portrait", frames=FRAMES)
    media.write_video(tmp_path / "face.mp4", frames)
    media.write_audio(tmp_path / "voice.wav", Audio(voice.astype(np.float32), 16_000))
    clip = replace(made.clip, video=Source(tmp_path / "face.mp4"), audio=Source(tmp_path / "voice.wav"))
    return Made(clip, frames, voice)


def test_the_tier_has_its_own_files_and_detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "none"))
    system = Wav2Lip({"tier": "embedded"})
    assert (system.tier, system.weights, system.missing()) == ("embedded", (SMALL_GENERATOR,), [])
    assert "dlib" in system.note_for("a2v") and "demo" in system.note_for("a2v")
    assert [w.name for w in Wav2Lip({"tier": "embedded", "detector": "s3fd"}).weights][1:] == ["s3fd.pth"]
    assert "wav2lip_gan" in Wav2Lip({"tier": "embedded", "checkpoint": "wav2lip_gan"}).missing()[0]
    official = Wav2Lip({"tier": "canonical"})
    assert len(official.missing()) == 2 and official.note_for("a2v") == ""
    assert parse_systems(["wav2lip"], {"tier": "embedded"})[0].build().tier == "embedded"
    assert get("systems", "wav2lip").tiers == ("canonical", "embedded")
    with pytest.raises(UsageError, match="tier"):
        parse_systems(["wav2lip"], {"tier": "control"})


@pytest.mark.parametrize("weight", [SMALL_EXPERT, SMALL_GENERATOR], ids=["expert", "generator"])
def test_shipped_files_fit_and_say_how_they_came_about(weight: object) -> None:
    path = locate(weight)  # type: ignore[arg-type]
    assert path is not None and path.stat().st_size < 2_000_000 and path.with_suffix(".jsonl").is_file()
    told = facts(path)
    assert told["config"] == "tiny" and told["seed"] == "0" and "--dataset demo" in told["command"]
    made = SIZES["tiny"].expert() if weight is SMALL_EXPERT else Wav2LipGenerator(SIZES["tiny"].sizes)
    assert not EMBEDDED.fill(made, weight).training  # type: ignore[arg-type]


def test_speech_moves_the_mouth_and_nothing_else(portrait: Made, tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    system = Wav2Lip({"tier": "embedded"})
    system.load("cpu", "float32")
    silence = tmp_path / "silence.wav"
    media.write_audio(silence, Audio(np.zeros(FRAMES * 640, np.float32), 16_000))
    request = a2v(portrait, tmp_path / "w")
    spoken, silent = system.generate([request, replace(request, audio=silence, key="silent")])
    assert isinstance(spoken, Output) and isinstance(silent, Output)
    one, other = (np.asarray(result.video, np.float64) for result in (spoken, silent))
    there = portrait.frames[: len(one)].astype(np.float64)
    assert one.shape == there.shape == other.shape
    assert 10 * np.log10(255**2 / ((one - there) ** 2).mean()) > 26  # dB
    apart = np.abs(one - other).mean((0, 3))  # (194, 194)
    rows = apart.mean(1)
    assert rows[105:150].mean() > 4 * rows[60:95].mean()  # about the lips, and about the eyes
    assert apart[:20].max() == 0  # above the box


def test_a_generator_begins_by_copying() -> None:
    torch.manual_seed(3)
    network = Wav2LipGenerator(GeneratorSizes(32, 8, (8,) * 5, (1,) * 5, 8, (4, 4, 6, 8), (8, 8, 8, 8, 8, 8), 10))
    pictures = torch.rand(6, 3, 32, 32).mul_(0.3).add_(0.3)
    shown = pictures.clone()
    shown[:, :, 16:] = 0
    reference = (pictures + 0.05 * torch.rand_like(pictures)).clamp(0, 1)
    mels, faces = torch.randn(6, 1, 80, 16), torch.cat([shown, reference], 1)
    begin_as_copy(network, mels, faces)
    network.train()
    keep_statistics(network)
    made = network(mels, faces)
    assert (made[:, :, :16] - pictures[:, :, :16]).abs().mean() < 0.06
    assert (made[:, :, 16:] - reference[:, :, 16:]).abs().mean() < 0.06
    darker = network(mels, 0.7 * faces)  # as much darker as it is shown: a batch's own statistics would undo that
    assert 0.6 < darker.mean() / made.mean() < 0.8
    made.mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    with pytest.raises(ValueError, match="too few"):
        begin_as_copy(Wav2LipGenerator(GeneratorSizes(32, 4, output=16)), mels, faces)
