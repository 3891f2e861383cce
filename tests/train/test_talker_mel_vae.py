"""The tiny audio VAE and its training: shapes, statistics, exact resumption, what is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from speech_kit import request, sound_clip

from bench.embedded import ship
from bench.errors import UsageError
from bench.media import log_mel
from bench.progress import Progress
from bench.records import Clip, Source
from bench.systems.talker.mel_vae import MelVAE, MelVAEConfig
from bench.systems.talker.training.mel_clips import MelClips
from bench.systems.talker.training.mel_vae import MelVAEStage, mel_error, stage
from bench.train import TrainSettings, train
from bench.train_files import read_curve
from bench.weights_shipped import facts, read

QUIET = Progress(quiet=True)
SMALL = {"batch_size": 4, "schedule": 40, "eval_every": 2}


def tone(samples: int, pitch: float) -> np.ndarray:
    time = np.arange(samples) / 16_000
    return 0.3 * np.sin(2 * np.pi * pitch * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))


def clips(root: Path, count: int = 4, samples: int = 16_100) -> list[Clip]:
    return [sound_clip(root, f"c{i}", tone(samples, 150 + 90 * i), "s1", None) for i in range(count)]


def made(root: Path, **given: object) -> MelVAEStage:
    found = clips(root)
    ready = stage(request(root, found[:3], held_out=found[3:], settings={**SMALL, **given}))
    assert isinstance(ready, MelVAEStage)
    return ready


def test_size_and_rates_are_those_of_the_specification() -> None:
    vae = MelVAE()
    assert sum(parameter.numel() for parameter in vae.parameters()) == 448_128
    assert (vae.sample_rate, vae.hop) == (16_000, 640)


def test_sound_to_latents_and_back_in_both_layouts() -> None:
    vae = MelVAE(MelVAEConfig(mel=log_mel.LogMelConfig(rounds=2))).eval()
    wave = torch.from_numpy(tone(6500, 200.0)).float().expand(2, -1)
    with torch.inference_mode():
        latent = vae.encode(wave)
        assert latent.shape == (2, 11, 32)
        torch.testing.assert_close(vae.encode(wave[:, None], layout="bct"), latent.transpose(1, 2))
        torch.testing.assert_close(vae.encode(wave[:1]), latent[:1])
        sound = vae.decode(latent)
        assert sound.shape == (2, 1, 11 * 640)
        torch.testing.assert_close(vae.decode(latent.transpose(1, 2), "bct"), sound)


def test_statistics_are_undone_by_decoding() -> None:
    vae = MelVAE().eval()
    mel = torch.randn(1, 12, 80, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain, sound = vae.encode_mel(mel), vae.decode_mel(vae.encode_mel(mel))
        vae.set_latent_statistics(torch.full((32,), 0.5), torch.full((32,), 0.01))
        torch.testing.assert_close(vae.encode_mel(mel), (plain - 0.5) / 0.05)
        torch.testing.assert_close(vae.decode_mel(vae.encode_mel(mel)), sound, rtol=1e-3, atol=1e-4)


def test_frames_that_do_not_fill_a_latent_are_refused() -> None:
    with pytest.raises(UsageError, match="no multiple of 4"):
        MelVAE().encode_mel(torch.zeros(1, 6, 80))


def test_training_lowers_the_error_and_standardises_the_latents(tmp_path: Path) -> None:
    ready = made(tmp_path, batch_size=8, rate=0.01)
    done = train(ready, TrainSettings(40, tmp_path / "out"), QUIET)
    curve = read_curve(tmp_path / "out")
    assert curve[-1]["absolute"] < 0.7 * curve[0]["absolute"]
    assert [line["step"] for line in curve if "eval_l1" in line][:2] == [3, 5]
    vae = ready.networks()["vae"]
    assert isinstance(vae, MelVAE)
    learnt = list(MelClips(clips(tmp_path)[:3], vae.config).all(QUIET, ""))
    bands = np.concatenate(learnt)
    np.testing.assert_allclose(vae.mel_mean.numpy(), bands.mean(0), atol=1e-4)
    np.testing.assert_allclose(vae.mel_std.numpy(), np.maximum(bands.std(0), 0.1), atol=1e-3)
    with torch.inference_mode():
        latents = torch.cat([vae.encode_mel(torch.from_numpy(mel)[None])[0] for mel in learnt])
    np.testing.assert_allclose(latents.mean(0).numpy(), 0, atol=1e-3)
    assert float(latents.std(0).max()) < 1.05
    assert done.weights is not None
    told = facts(done.weights)
    assert told["stage"] == "talker-vae"
    assert float(told["held_out_l1"]) == pytest.approx(
        mel_error(vae, MelClips(clips(tmp_path)[3:], vae.config)), abs=1e-3
    )


def test_a_training_in_pieces_is_as_one(tmp_path: Path) -> None:
    for steps in (3, 6):
        train(made(tmp_path), TrainSettings(steps, tmp_path / "pieces"), QUIET)
    train(made(tmp_path), TrainSettings(6, tmp_path / "whole"), QUIET)
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("pieces", "whole"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert read_curve(tmp_path / "pieces") == read_curve(tmp_path / "whole")


def test_what_is_shipped_loads_strictly(tmp_path: Path) -> None:
    train(made(tmp_path), TrainSettings(2, tmp_path / "out"), QUIET)
    target = ship(tmp_path / "out", "vae", tmp_path / "vae.safetensors")
    vae = MelVAE()
    vae.load_state_dict(read(target), strict=True)
    assert float(vae.mel_std.min()) >= 0.09
    assert len(target.with_suffix(".jsonl").read_text().splitlines()) == 2
    assert target.stat().st_size < 1_000_000


def test_the_full_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="WhisperX-VAE, which is given"):
        stage(request(tmp_path, [], "full"))


def test_clips_without_sound_are_left_out(tmp_path: Path) -> None:
    good = clips(tmp_path, 1, samples=1000)[0]
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    silent = Clip("x", "demo", "train", None, None, None, "", 1)
    broken = Clip("y", "demo", "train", None, Source(bad), None, "", 1)
    found = MelClips([silent, broken, good], MelVAEConfig())
    assert len(found) == 2
    assert [len(mel) for mel in found.all(QUIET, "")] == [8]
    crop = found.crop(np.random.default_rng(0), 16)
    assert crop.shape == (16, 80)
    assert np.all(crop[8:] == np.float32(log_mel.DEFAULT.silence))
    with pytest.raises(UsageError, match="no clip has audio"):
        MelClips([silent, broken], MelVAEConfig()).crop(np.random.default_rng(0), 16)


def test_the_curve_is_json(tmp_path: Path) -> None:
    train(made(tmp_path), TrainSettings(1, tmp_path / "out"), QUIET)
    line = json.loads((tmp_path / "out" / "curve.jsonl").read_text())
    assert {"step", "absolute", "squared", "divergence"} <= line.keys()
