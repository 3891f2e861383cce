"""The stage ``codec``: the fit of the tiny codec is exact, resumable and repeatable; a narrow DAC learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from speech_kit import request, sound_clip

from bench.embedded import EMBEDDED, ship
from bench.errors import UsageError
from bench.progress import Progress
from bench.records import Clip, Source
from bench.systems.hicodit.codec.dac import Dac, DacCodec, DacSizes
from bench.systems.hicodit.codec.mel_rvq import MelRvq, MelRvqCodec, MelRvqSizes
from bench.systems.hicodit.training import kmeans
from bench.systems.hicodit.training.clip_audio import clip_audio
from bench.systems.hicodit.training.codec import ROUNDS, FitStage, level_errors, stage
from bench.systems.hicodit.training.dac_stage import DacStage, dropped_levels, initialised
from bench.systems.hicodit.training.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from bench.systems.hicodit.training.mel_distance import mel_distance
from bench.systems.hicodit.training.speech_crops import SpeechCrops, turned
from bench.train import TrainSettings, train
from bench.train_files import read_curve
from bench.trained import filled
from bench.weights_shipped import facts, read

QUIET = Progress(quiet=True)
SMALL = {"levels": 2, "codes": 8}
NARROW = {
    "encoder_dim": 4,
    "decoder_dim": 32,
    "levels": 3,
    "codes": 32,
    "discriminator_dim": 2,
    "batch_size": 2,
    "frames": 8,
    "rate": 1e-3,
}


def chirp(index: int, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(16_000 * seconds)) / 16_000
    return 0.3 * np.sin(2 * np.pi * (150 + 90 * index) * time * (1 + time)) * (0.6 + 0.4 * np.sin(20 * time))


def clips(root: Path, count: int = 3) -> list[Clip]:
    return [sound_clip(root, f"c{i}", chirp(i), "s1", None) for i in range(count)]


def fit(root: Path, **given: object) -> FitStage:
    found = clips(root)
    made = stage(request(root, found[:2], held_out=found[2:], settings={**SMALL, **given}))
    assert isinstance(made, FitStage)
    return made


def test_a_round_of_k_means_never_loses_and_finds_clusters() -> None:
    random = torch.Generator().manual_seed(0)
    centres = 10 * torch.randn(5, 3, generator=random)
    vectors = (centres[:, None] + 0.1 * torch.randn(5, 40, 3, generator=random)).reshape(-1, 3)
    codebook, errors = kmeans.start(vectors, 5, 1), []
    for _ in range(8):
        found = kmeans.lloyd(vectors, codebook)
        codebook = found.targets
        errors.append(found.error)
    assert errors == sorted(errors, reverse=True)
    index, _ = kmeans.assigned(vectors, codebook)
    for code in index.unique():
        torch.testing.assert_close(codebook[code], vectors[index == code].mean(0))


def test_codes_that_nothing_is_near_move_to_the_worst_fitted() -> None:
    vectors = torch.tensor([[0.0], [0.1], [5.0], [9.0]])
    found = kmeans.lloyd(vectors, torch.tensor([[0.0], [100.0], [200.0]]))
    assert found.empty == 2
    assert found.targets[:, 0].tolist() == pytest.approx([3.525, 9.0, 5.0])


def test_fewer_vectors_than_codes() -> None:
    vectors = torch.tensor([[0.0], [1.0]])
    codebook = kmeans.start(vectors, 4, 0)
    assert codebook.shape == (4, 1)
    assert kmeans.lloyd(vectors, codebook).targets.shape == (4, 1)


def test_the_fit_is_k_means_on_what_is_left(tmp_path: Path) -> None:
    ready = fit(tmp_path)
    train(ready, TrainSettings(2 * ROUNDS, tmp_path / "out"), QUIET)
    curve = read_curve(tmp_path / "out")
    assert [line["level"] for line in curve] == [1.0] * ROUNDS + [2.0] * ROUNDS
    assert curve[ROUNDS - 1]["left"] < curve[0]["left"]
    assert curve[-1]["left"] < curve[ROUNDS - 1]["left"]
    codec = ready.networks()["codec"]
    assert isinstance(codec, MelRvq)
    waves = torch.from_numpy(np.stack([clip_audio(clip) for clip in clips(tmp_path)[:2]]))
    vectors = codec.vectors(waves).flatten(0, 1)
    torch.testing.assert_close(codec.mean, vectors.mean(0), atol=5e-3, rtol=1e-3)
    torch.testing.assert_close(codec.std, vectors.std(0, correction=0).clamp_min(0.1), atol=5e-3, rtol=1e-3)
    by_level = list(level_errors(codec, [vectors]).values())
    assert by_level == sorted(by_level, reverse=True)
    told = facts(tmp_path / "out" / "weights.safetensors")
    assert told["codebooks"] == MelRvqCodec(codec).hash()
    assert float(told["held_out_l1_levels_2"]) > 0


def test_a_fit_in_pieces_is_as_one_and_another_seed_another(tmp_path: Path) -> None:
    for steps in (5, ROUNDS, 2 * ROUNDS):
        train(fit(tmp_path), TrainSettings(steps, tmp_path / "pieces"), QUIET)
    train(fit(tmp_path), TrainSettings(2 * ROUNDS, tmp_path / "whole"), QUIET)
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("pieces", "whole"))
    assert one.keys() == two.keys() == {"codec.mean", "codec.std", "codec.codebooks"}
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert read_curve(tmp_path / "pieces") == read_curve(tmp_path / "whole")


def test_what_is_shipped_is_the_same_codec(tmp_path: Path) -> None:
    ready = fit(tmp_path)
    done = train(ready, TrainSettings(2 * ROUNDS, tmp_path / "out"), QUIET)
    target = ship(tmp_path / "out", "codec", tmp_path / "codec.safetensors")
    small, own = MelRvq(MelRvqSizes(2, 8)), MelRvq(MelRvqSizes(2, 8))
    small.load_state_dict(read(target), strict=True)
    assert done.weights is not None
    hashes = [MelRvqCodec(one).hash() for one in (small, filled(own, done.weights, "codec", "codec_file"))]
    assert hashes == [facts(target)["codebooks"]] * 2


def test_the_shipped_codec_copies_speech_like_sound(tmp_path: Path) -> None:
    from bench.systems.hicodit.weight_files import TINY_CODEC

    network = EMBEDDED.fill(MelRvq(), TINY_CODEC)
    wave = torch.from_numpy(clip_audio(clips(tmp_path, 1)[0]))[None]
    codec = MelRvqCodec(network)
    assert (codec.levels, codec.codebook_size, codec.frame_rate) == (4, 256, 50)
    vectors, codes = network.vectors(wave), codec.encode(wave)
    errors = [float((network.vectors_of(codes[:, :n]) - vectors).square().mean()) for n in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)


def test_only_so_many_vectors_are_learnt_from(tmp_path: Path) -> None:
    ready = fit(tmp_path, vectors=10)
    train(ready, TrainSettings(1, tmp_path / "out"), QUIET)
    assert len(ready.batch(0, 0, 1)[1]) == 10


def test_clips_without_sound_are_left_out(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    silent = Clip("x", "demo", "train", None, None, None, "", 1)
    broken = Clip("y", "demo", "train", None, Source(bad), None, "", 1)
    with pytest.raises(UsageError, match="no clip has audio"):
        train(stage(request(tmp_path, [silent, broken])), TrainSettings(1, tmp_path / "out"), QUIET)
    said: list[str] = []
    crops = SpeechCrops([silent, broken, *clips(tmp_path, 1)], 16_000, said.append)
    assert len(crops) == 2
    assert crops.crop(np.random.default_rng(0), 20_000).shape == (20_000,)
    with pytest.raises(UsageError, match="no clip has audio"):
        SpeechCrops([silent, broken], 16_000, said.append).crop(np.random.default_rng(0), 100)
    assert any(line.startswith("left out: y: ") for line in said)


def test_turning_all_phases_keeps_magnitudes() -> None:
    wave = chirp(0).astype(np.float32)
    inner = slice(1, -1)  # without the two frequencies that have no phase
    magnitudes = [np.abs(np.fft.rfft(one))[inner] for one in (wave, turned(wave, 1.0))]
    np.testing.assert_allclose(*magnitudes, atol=2e-2)
    np.testing.assert_allclose(turned(wave, 0.0), wave, atol=1e-5)


def test_a_narrow_dac_learns_and_goes_on_exactly(tmp_path: Path) -> None:
    found = clips(tmp_path)

    def made() -> DacStage:
        settings = {**NARROW, "eval_every": 4}
        ready = stage(request(tmp_path, found[:2], "full", held_out=found[2:], settings=settings))
        assert isinstance(ready, DacStage)
        return ready

    for steps in (3, 12):
        done = train(made(), TrainSettings(steps, tmp_path / "pieces"), QUIET)
    train(made(), TrainSettings(12, tmp_path / "whole"), QUIET)
    curves = [read_curve(tmp_path / name) for name in ("pieces", "whole")]
    assert curves[0] == curves[1]
    assert np.mean([line["mel"] for line in curves[0][-3:]]) < np.mean([line["mel"] for line in curves[0][:3]])
    assert [line["step"] for line in curves[0] if "eval_mel" in line] == [5, 9]
    assert done.weights is not None
    sizes = DacSizes(encoder_dim=4, decoder_dim=32, n_codebooks=3, codebook_size=32)
    codec = DacCodec(filled(Dac(sizes), done.weights, "codec", "codec_file"))
    assert codec.hash() == facts(done.weights)["codebooks"]
    assert codec.decode(codec.encode(torch.zeros(1, 1000))).shape == (1, 1280)


def test_there_is_something_to_hear_after_an_evaluation(tmp_path: Path) -> None:
    found = clips(tmp_path)
    settings = {**NARROW, "eval_every": 4}
    ready = stage(request(tmp_path, found[:2], "full", held_out=found[2:], settings=settings))
    assert ready.sounds(3) == {}
    heard = ready.sounds(4)
    assert heard.keys() == {"true", "copy"}
    assert {sound.samples.shape for sound in heard.values()} == {(15_992,)}


def test_half_of_a_batch_hears_fewer_levels() -> None:
    levels = dropped_levels(1000, DacSizes(), torch.Generator().manual_seed(0))
    assert set(levels[:500].tolist()) == set(range(1, 13))
    assert set(levels[500:].tolist()) == {12}


def test_initial_numbers() -> None:
    network = initialised(Dac(DacSizes(encoder_dim=8, decoder_dim=64, n_codebooks=1, codebook_size=4)))
    conv = network.get_submodule("decoder.model.0")
    weight = conv.effective_weight()  # type: ignore[operator]
    assert float(weight.std()) == pytest.approx(0.02, rel=0.1)
    assert float(conv.bias.abs().max()) == 0  # type: ignore[union-attr, operator]


def test_discriminators_and_their_losses() -> None:
    torch.manual_seed(0)
    judges = Discriminators(width=2)
    true, made = torch.randn(2, 1, 3080) * 0.1, torch.randn(2, 1, 3080)
    ours, theirs = judges(made), judges(true)
    assert len(ours) == 8
    assert [len(maps) for maps in ours] == [6] * 5 + [26] * 3
    assert float(feature_loss(ours, ours)) == 0 < float(feature_loss(ours, theirs))
    torch.testing.assert_close(judges(3 * made + 1)[0][-1], ours[0][-1], rtol=1e-3, atol=1e-4)  # level and mean
    ones = [[torch.ones(2)]] * 3
    zeros = [[torch.zeros(2)]] * 3
    assert float(discriminator_loss(zeros, ones)) == 0
    assert float(discriminator_loss(ones, zeros)) == 6
    assert (float(adversarial_loss(ones)), float(adversarial_loss(zeros))) == (0, 3)


def test_distance_of_spectrograms() -> None:
    wave = torch.from_numpy(chirp(0)).float()[None]
    assert float(mel_distance(wave, wave, 16_000)) == 0
    louder = float(mel_distance(10 * wave, wave, 16_000))  # one in log10, where nothing is below the floor
    assert 0.5 * 7 < louder <= 7.001
