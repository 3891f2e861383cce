"""Training of the tiny motion autoencoder: its data, its four stages, what is kept, averaged and refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional as F
from train_kit import portrait

from bench import media
from bench.api import Clip, Source
from bench.errors import DataError, UsageError
from bench.progress import Progress
from bench.systems.talker.lia_sizes import LiaSizes
from bench.systems.talker.motion_model import COORDINATES, READ, MotionModel
from bench.systems.talker.render import network_input
from bench.systems.talker.training import motion_detail, motion_encoder, motion_generator, motion_grow, motion_losses
from bench.systems.talker.training.motion_data import (
    FRAMES,
    MotionClips,
    Shot,
    altered,
    crop_faces,
    truth_of,
)
from bench.systems.talker.training.motion_measures import agreement, redrawn, trials
from bench.systems.talker.training.motion_options import CONFIGS, MotionConfig
from bench.systems.talker.training.motion_targets import Targets, target_weights
from bench.train import Stage, TrainSettings, train
from bench.train_files import read_curve
from bench.train_request import TrainRequest

SMALL = LiaSizes(size=16, widths=(16, 16), style_dim=16, motion_dim=4, blocks=1, groups=8)
LENGTH = 30  # frames of a clip
SIDE = 224


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two clips each of two speakers."""
    root = tmp_path_factory.mktemp("faces")
    return [face_clip(root, number, f"s{number % 2}") for number in range(4)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    config = CONFIGS["tiny"]
    recipes = {
        name: replace(getattr(config, name), batch=8) for name in ("encoding", "drawing", "growing", "detailing")
    }
    monkeypatch.setitem(CONFIGS, "tiny", MotionConfig(SMALL, SMALL.grown(16), **recipes))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def face_clip(root: Path, number: int, speaker: str) -> Clip:
    """The portrait, wandering, with a black mouth that opens and shuts; and the truth about it."""
    random = np.random.default_rng(number)
    picture = portrait()[:SIDE]
    shift = np.rint(8 + 7 * np.sin(np.arange(LENGTH) / 3 + number)).astype(int)
    gap = np.abs(np.sin(np.arange(LENGTH) / 4 + 2 * number)).astype(np.float32)
    frames = np.stack([picture[:, at : at + SIDE] for at in shift])
    points = random.uniform(60, 170, (1, 68, 2)).astype(np.float32) + np.zeros((LENGTH, 1, 1), np.float32)
    points[..., 0] -= shift[:, None]
    for frame, opened in zip(frames, gap, strict=True):
        frame[160 : 160 + round(30 * float(opened)), 80:140] = 0
    mouth = np.stack([gap, 1 + 0 * gap, gap / 2, gap / 3, 0 * gap, gap], 1)
    name = f"{speaker}-{number}"
    media.write_video(root / f"{name}.mp4", np.ascontiguousarray(frames))
    np.savez(root / f"{name}.npz", landmarks=points, mouth=mouth)
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Clip(name, "demo", "train", Source(root / f"{name}.mp4"), None, None, digest, LENGTH, speaker)


def asked(clips: list[Clip], cache: Path, config: str = "tiny", **settings: Any) -> TrainRequest:
    return TrainRequest(config, clips, cache / "talker", "demo/train@x", settings=settings, held_out=clips)


def run(stage: Stage, folder: Path, steps: int) -> Path:
    train(stage, TrainSettings(steps, folder, every=100), Progress(quiet=True))
    return folder / "weights.safetensors"


def opened(clips: list[Clip], cache: Path, size: int = 16) -> MotionClips:
    return MotionClips(clips, size, cache / "talker" / "motion-faces", lambda clip, error: None)


@pytest.fixture(scope="module")
def encoded(clips: list[Clip], cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training of the encoder, of the sizes of this file."""
    with pytest.MonkeyPatch.context() as patch:
        config = CONFIGS["tiny"]
        patch.setitem(CONFIGS, "tiny", replace(config, small=SMALL, encoding=replace(config.encoding, batch=8)))
        return run(motion_encoder.encoder(asked(clips, cache)), tmp_path_factory.mktemp("encoded"), 2)


@pytest.fixture
def drawn(clips: list[Clip], cache: Path, encoded: Path, tmp_path: Path) -> Path:
    return run(motion_generator.small(asked(clips, cache, encoder=str(encoded))), tmp_path / "drawn", 3)


def test_truth_counts_from_edge_to_edge_of_the_face(tmp_path: Path) -> None:
    clip = face_clip(tmp_path, 0, "s0")
    points = np.zeros((LENGTH, 68, 2), np.float32)
    points[:, 0] = (31.5, 51.5)  # the face's upper left corner
    points[:, 1] = (191.5, 211.5)
    mouth = np.tile(np.arange(6, dtype=np.float32), (LENGTH, 1))
    np.savez(tmp_path / "s0-0.npz", landmarks=points, mouth=mouth)
    truth = truth_of(clip)
    assert truth.points[0, :2].tolist() == [[-1, -1], [1, 1]]
    assert truth.mouth[3].tolist() == [0, 1, 3, 4, 2, 5]


def test_faces_are_cut_averaged_and_scaled() -> None:
    frames = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    frames[0, 52:62, 32:42] = 200  # the first of 16 x 16
    faces = crop_faces(frames, 16)
    assert faces[0, 0, 0].tolist() == [200] * 3 and int(faces.sum()) == 600


def test_a_clip_is_decoded_once_and_begins_with_its_first_frame(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(clips, tmp_path).pictures(1)
    assert found.shape == (FRAMES, 3, 16, 16)
    assert clips[1].video is not None
    first = media.decode_video(clips[1].video).frames[:1]
    assert torch.equal(found[:1], network_input(crop_faces(first, 16)))
    monkeypatch.setattr(media, "decode_video", None)
    assert torch.equal(opened(clips, tmp_path).pictures(1), found)


def test_a_shot_has_the_truth_of_its_frame(clips: list[Clip], cache: Path) -> None:
    """The mouth is black as far as the truth says that it is open."""
    seen = opened(clips, cache, 64).seen([Shot(2, place) for place in range(FRAMES)])
    dark = (seen.pictures[:, :, 43:56, 20:40] < -0.8).float().mean((1, 2, 3))
    assert float(np.corrcoef(dark.numpy(), seen.mouth[:, 0].numpy())[0, 1]) > 0.95


def test_light_changes_alike_in_both_pictures() -> None:
    one, other = torch.zeros(3, 3, 4, 4), torch.ones(3, 3, 4, 4)
    dark, light = altered([one, other], np.random.default_rng(0))
    contrast = (light - dark)[:, 0, 0, 0]
    assert (dark.flatten(1).std(1) == 0).all() and len(set(dark[:, 0, 0, 0].tolist())) == 3
    assert ((contrast >= 0.9) & (contrast <= 1.1)).all() and (dark.abs() <= 0.1).all()


def test_targets_are_standardised_speaker_by_speaker(clips: list[Clip], cache: Path) -> None:
    known = opened(clips, cache)
    shots = [Shot(clip, place) for clip in range(4) for place in range(FRAMES)]
    wanted = Targets(known).wanted(known.seen(shots), known, [shot.clip for shot in shots])
    assert wanted.shape == (4 * FRAMES, READ)
    assert float(wanted[:, COORDINATES].mean().abs()) < 0.3 and 0.7 < float(wanted[:, COORDINATES].std()) < 1.2
    assert float(wanted.std(0).max()) < 1.5
    weights = target_weights()
    assert weights.mean() == pytest.approx(1) and weights[-1] / weights[0] == pytest.approx(20)
    assert weights[96] / weights[95] == pytest.approx(2) and weights[135] == weights[96]


def test_losses_are_nothing_for_equal_pictures_and_see_their_own_part() -> None:
    true = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for loss in (motion_losses.pyramid, motion_losses.edges, motion_losses.mouth):
        assert float(loss(true, true)) == 0
    lighter = true + 0.25
    assert float(motion_losses.pyramid(lighter, true)) == pytest.approx(0.25, abs=1e-6)
    assert float(motion_losses.edges(lighter, true)) == pytest.approx(0, abs=1e-6)
    other = true.clone()
    other[:, :, :16] += 1.0  # above the mouth
    assert float(motion_losses.mouth(other, true)) == 0 and float(motion_losses.pyramid(other, true)) > 0.1


def test_flow_is_right_where_a_landmark_is_fetched_from_the_sources_place() -> None:
    random = torch.Generator().manual_seed(1)
    driving = torch.rand(2, 68, 2, generator=random) - 0.5
    size, move = 16, torch.tensor([0.1, -0.05])
    centres = (torch.arange(size) + 0.5) / size * 2 - 1  # edge to edge, as landmarks
    places = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).expand(2, -1, -1, -1)
    flow = (places + move) * size / (size - 1)
    assert float(motion_losses.flow_points([flow], driving, driving + move)) == pytest.approx(0, abs=1e-6)
    wrong = float(motion_losses.flow_points([flow, flow], driving, driving))
    assert wrong == pytest.approx(0.075 * size / (size - 1), abs=1e-5)


def test_the_encoder_learns_what_is_to_be_read(clips: list[Clip], cache: Path, tmp_path: Path) -> None:
    stage = motion_encoder.encoder(asked(clips, cache, length=60, eval_every=59))
    before = stage.networks()["encoder"].enc.enc_2r.block1.state_dict()  # type: ignore[union-attr]
    before = {name: tensor.clone() for name, tensor in before.items()}
    run(stage, tmp_path / "run", 60)
    curve = read_curve(tmp_path / "run")
    assert np.mean([line["reading"] for line in curve[-10:]]) < 0.97 * np.mean([line["reading"] for line in curve[:10]])
    assert curve[-1]["eval_r_gap"] > 0.8
    after = load_file(tmp_path / "run" / "weights.safetensors")
    for name, tensor in before.items():
        assert torch.equal(after[f"encoder.enc.enc_2r.block1.{name}"], tensor)


def made(name: str, clips: list[Clip], cache: Path, encoded: Path, drawn: Path) -> Stage:
    """A stage by its name."""
    if name == "motion-encoder":
        return motion_encoder.encoder(asked(clips, cache))
    if name == "motion64":
        return motion_generator.small(asked(clips, cache, encoder=str(encoded)))
    if name == "motion-detail":
        return motion_detail.stage(asked(clips, cache, motion=str(grown(clips, cache, drawn))))
    return motion_grow.stage(asked(clips, cache, small=str(drawn)))


def grown(clips: list[Clip], cache: Path, drawn: Path) -> Path:
    """What a step of the stage ``motion`` makes."""
    folder = cache / "grown"
    return run(motion_grow.stage(asked(clips, cache, small=str(drawn))), folder, 1)


@pytest.mark.parametrize("name", ["motion-encoder", "motion64", "motion", "motion-detail"])
def test_a_training_goes_on_to_the_bit(
    name: str, clips: list[Clip], cache: Path, encoded: Path, drawn: Path, tmp_path: Path
) -> None:
    whole = run(made(name, clips, cache, encoded, drawn), tmp_path / "whole", 4)
    run(made(name, clips, cache, encoded, drawn), tmp_path / "parts", 2)
    parts = run(made(name, clips, cache, encoded, drawn), tmp_path / "parts", 4)
    one, other = load_file(whole), load_file(parts)
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert read_curve(tmp_path / "whole") == read_curve(tmp_path / "parts")


def test_the_small_generator_begins_with_the_encoder_and_learns(
    clips: list[Clip], cache: Path, encoded: Path, tmp_path: Path
) -> None:
    stage = motion_generator.small(asked(clips, cache, encoder=str(encoded), length=60, eval_every=59))
    enc = load_file(encoded)
    for part in ("motion", "learning"):
        begun = stage.networks()[part].state_dict()
        assert torch.equal(begun["head.weight"], enc["encoder.head.weight"])
        name = "enc.enc_2r.block2.0.conv1.0.weight"
        assert torch.equal(begun[f"generator.{name}"], enc[f"encoder.{name}"])
    run(stage, tmp_path / "run", 60)
    curve = read_curve(tmp_path / "run")
    assert np.mean([line["loss"] for line in curve[-20:]]) < np.mean([line["loss"] for line in curve[:20]])
    assert curve[-1]["eval_mouth"] < 0.97 * curve[-1]["eval_mouth_copied"]


def test_what_is_kept_follows_the_weights_and_knows_its_codes(
    clips: list[Clip], cache: Path, drawn: Path, encoded: Path
) -> None:
    """The average (of three steps with decays 1/10, 2/11, 3/12) lies near the weights; its statistics are those of the
    training clips' codes."""
    found = load_file(drawn)
    key = "generator.dec.input.input"
    assert not torch.equal(found[f"motion.{key}"], found[f"learning.{key}"])
    assert torch.allclose(found[f"motion.{key}"], found[f"learning.{key}"], atol=0.02)
    model = MotionModel(SMALL)
    model.load_state_dict({name[7:]: tensor for name, tensor in found.items() if name.startswith("motion.")})
    pictures = torch.cat([opened(clips, cache).pictures(index) for index in range(4)])
    codes = model.generator.get_alpha(pictures).detach()
    assert torch.allclose(model.motion_stats.mean, codes.mean(0), atol=1e-4)
    deviation = codes.std(0, unbiased=False)
    assert torch.allclose(model.motion_stats.std, deviation.clamp(min=0.05 * float(deviation.max())), rtol=1e-3)


def test_growth_keeps_picture_and_codes(clips: list[Clip], cache: Path, drawn: Path) -> None:
    large = motion_grow.stage(asked(clips, cache, small=str(drawn))).networks()["motion"]
    assert isinstance(large, MotionModel)
    small = MotionModel(SMALL)
    tensors = {name[7:]: tensor for name, tensor in load_file(drawn).items() if name.startswith("motion.")}
    small.load_state_dict(tensors)
    face = opened(clips, cache, 64).pictures(0)[[0, 9]]
    face = F.interpolate(F.avg_pool2d(face, 8), 32, mode="bilinear")  # smooth: all ways of halving agree
    half = F.avg_pool2d(face, 2)
    with torch.no_grad():
        big, little = large.generator(face[:1], face[1:]), small.generator(half[:1], half[1:])
        codes = [network.generator.get_alpha(one) for network, one in ((large, face), (small, half))]
    error = (F.avg_pool2d(big, 2) - little)[..., 2:-2, 2:-2]  # enlarging fades towards the border
    assert float(error.abs().mean()) < 0.1 * float(little.std())
    assert float((codes[0] - codes[1]).abs().mean()) < 0.15 * float(codes[1].abs().mean())
    assert torch.equal(large.head.weight, small.head.weight)


def test_detail_changes_the_decoder_alone(clips: list[Clip], cache: Path, drawn: Path, tmp_path: Path) -> None:
    before = load_file(grown(clips, cache, drawn))
    after = load_file(run(made("motion-detail", clips, cache, drawn, drawn), tmp_path / "run", 3))
    fixed, moved = set(), set()
    for name in (name for name in after if name.startswith("motion.")):
        (fixed if torch.equal(before[name], after[name]) else moved).add(name)
    assert all(name.startswith("motion.generator.dec.") for name in moved) and len(moved) > 20
    assert "motion.generator.dec.direction.weight" in fixed


def test_opened_masks_leave_the_picture_nearly_as_it_was(clips: list[Clip], cache: Path, drawn: Path) -> None:
    model = motion_grow.stage(asked(clips, cache, small=str(drawn))).networks()["motion"]
    assert isinstance(model, MotionModel)
    faces = opened(clips, cache, 32).pictures(0)[[0, 9]]
    decoder = model.generator.dec
    with torch.no_grad():
        one = model.generator(faces[:1], faces[1:])
        motion_detail.open_masks(decoder)
        other = model.generator(faces[:1], faces[1:])
    biases = [float(decoder.get_submodule(names.to_flow).bias[0, 2]) for names in decoder.stages]
    assert sum(biases[:-1]) == pytest.approx(2) and sum(biases) == pytest.approx(2)
    assert float((one - other).abs().mean()) < 0.1 * float(one.std())


def test_openings_are_drawn_evenly(clips: list[Clip], cache: Path) -> None:
    known = opened(clips, cache)
    drawn_gaps = np.array(
        [
            known.mouths(shot.clip)[shot.place, 0]
            for shot in map(motion_detail.Openings(known).draw, [np.random.default_rng(0)] * 300)
        ]
    )
    every = np.concatenate([known.mouths(index)[:, 0] for index in range(len(known))])
    shares = [np.histogram(gaps, 4, (0, 1))[0] / len(gaps) for gaps in (drawn_gaps, every)]
    assert np.abs(shares[0] - 0.25).max() < min(0.1, np.abs(shares[1] - 0.25).max() + 0.02)


def test_the_inside_of_the_mouth_is_between_the_lips() -> None:
    points = torch.zeros(1, 68, 2)
    turn = torch.arange(8) * (torch.pi / 4)
    points[0, 60:] = torch.stack([0.2 * turn.cos(), 0.4 + 0.1 * turn.sin()], 1)
    between = motion_losses.between_lips(points, 32)
    assert float(between[0, 22, 15]) == 1 and float(between[0, 22, 22]) == 0 and float(between[0, 10, 15]) == 0
    right = torch.where(between > 0.5, -3.0, 2.0)
    assert float(motion_losses.inside([right], points)) < float(motion_losses.inside([-right], points))


def test_other_codes_are_worse_than_the_right_ones_only_where_codes_matter(clips: list[Clip], cache: Path) -> None:
    known = opened(clips, cache)
    which = trials(known, 0)
    assert len(which.sources) == 16 and all(shot.place == 0 for shot in which.sources)
    assert all(known.speaker(a.clip) == known.speaker(b.clip) for a, b in zip(which.driving, which.others, strict=True))
    assert all(a.clip != b.clip and a.place > 0 for a, b in zip(which.driving, which.others, strict=True))
    model = MotionModel(SMALL)
    with torch.no_grad():
        model.generator.dec.direction.weight.zero_()
        model.generator.enc.enc_r2t[0].weight.zero_()
    told = redrawn(model, known, which)
    assert told["mouth"] == pytest.approx(told["mouth_other"]) and told["mouth_copied"] > 0


def test_agreement_is_the_correlation() -> None:
    random = np.random.default_rng(2)
    read, true = random.normal(size=(50, READ)), random.normal(size=(50, 6))
    read[:, -4] = -3 * true[:, 2] + 1
    found = agreement(torch.from_numpy(read), torch.from_numpy(true))
    assert found["r_jaw"] == pytest.approx(-1)
    assert found["r_gap"] == pytest.approx(np.corrcoef(read[:, -6], true[:, 0])[0, 1])


def test_what_cannot_be_trained_says_why(clips: list[Clip], cache: Path, drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="LIA-X, whose training is not published"):
        motion_encoder.encoder(asked(clips, cache, "full"))
    with pytest.raises(UsageError, match="nothing: no such file"):
        motion_generator.small(asked(clips, cache, encoder="nothing"))
    with pytest.raises(UsageError, match="is no encoder of this configuration"):
        motion_generator.small(asked(clips, cache, encoder=str(drawn)))
    bare = replace(clips[0], video=Source(tmp_path / "bare.mp4"))
    with pytest.raises(UsageError, match="s0-0 has none"):
        motion_encoder.encoder(asked([bare], cache))
    np.savez(tmp_path / "bare.npz", landmarks=np.zeros((LENGTH, 68, 2)))
    with pytest.raises(DataError, match="cannot be read"):
        motion_encoder.encoder(asked([bare], cache))


def test_a_clip_that_cannot_be_decoded_is_left_out(clips: list[Clip], tmp_path: Path) -> None:
    np.savez(tmp_path / "gone.npz", landmarks=np.zeros((LENGTH, 68, 2)), mouth=np.zeros((LENGTH, 6)))
    gone = replace(clips[0], id="gone", video=Source(tmp_path / "gone.mp4"))
    told: list[str] = []
    known = MotionClips([gone, clips[1]], 16, tmp_path, lambda clip, error: told.append(clip.id))
    assert {known.draw(np.random.default_rng(seed)) for seed in range(8)} == {1} and told == ["gone"]
    with pytest.raises(DataError, match="none of 1 clips"):
        MotionClips([gone], 16, tmp_path, lambda clip, error: None).draw(np.random.default_rng(0))


def test_the_header_says_what_it_is(drawn: Path) -> None:
    with safe_open(drawn, framework="pt") as file:
        assert file.metadata()["stage"] == "talker-motion64" and file.metadata()["steps"] == "3"
