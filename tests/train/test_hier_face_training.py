"""Training of the talking face: its data, its three stages, what is frozen, kept and refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from train_kit import make_faces

from bench import planning
from bench.embedded import EMBEDDED, embedded_file
from bench.errors import BenchError, UsageError
from bench.faces.detect import DlibDetector
from bench.progress import Progress
from bench.records import WeightFile
from bench.systems.hierspeech import tiny
from bench.systems.hierspeech.face.generator import TTVFace, TTVFaceSizes, masked
from bench.systems.hierspeech.face.perceptual import PerceptualLoss
from bench.systems.hierspeech.training import face, face_helpers, face_stage, sync
from bench.systems.hierspeech.training.face_data import FaceData, face_cut
from bench.systems.hierspeech.training.face_options import CONFIGS, DRAWN_BELOW
from bench.systems.hierspeech.training.face_speech import RealSpeech, ReconstructedSpeech
from bench.systems.hierspeech.training.feature_source import feature_source
from bench.systems.wav2lip.crops import Faces, Search
from bench.systems.wav2lip.mel import training_start, windows
from bench.systems.wav2lip.training import ExpertStage
from bench.systems.wav2lip.training_options import SIZES
from bench.train import Stage, TrainSettings, train
from bench.train_files import read_curve
from bench.train_request import TrainRequest

pytest.importorskip("transformers")

SMALL = TTVFaceSizes(32, 4, (4, 6, 8, 8, 8), 8, (8, 8, 8, 6, 6, 6), features=tiny.FEATURES, output=6)
BOX = (20, 150, 10, 150)
WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def helpers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of untrained networks that a stage learns with, as trainings write them."""
    from bench.systems.hierspeech.standard_features import StandardFeatures
    from bench.systems.hierspeech.ttv import TextToVec

    folder = tmp_path_factory.mktemp("helpers")
    torch.manual_seed(5)
    made: dict[str, nn.Module] = {
        "features": StandardFeatures(),
        "expert": SIZES["tiny"].expert(),
        "ttv": TextToVec(tiny.TTV),
    }
    return {name: saved(folder / f"{name}.safetensors", {name: network}) for name, network in made.items()}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    small = replace(
        CONFIGS["tiny"],
        sizes=SMALL,
        critic=(4, 4, 4, 4, 1),
        batch=2,
        average=0.5,
        evaluation=(2, 1),
        ramp=2,
        stable_sync=2.0,
    )
    monkeypatch.setitem(CONFIGS, "tiny", small)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "no-weights"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def saved(path: Path, networks: Mapping[str, nn.Module]) -> str:
    tensors = {f"{name}.{key}": t for name, network in networks.items() for key, t in network.state_dict().items()}
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return str(path)


def asked(corpus: Path, cache: Path, clips: str = "ab", **more: Any) -> TrainRequest:
    dataset = planning.open_dataset("folder", corpus)
    found, sha = planning.list_clips(dataset, "test", Progress(quiet=True))
    chosen = [clip for clip in found if clip.id[0] in clips]
    return TrainRequest("tiny", chosen, cache / "hierspeech", f"folder@{sha}", settings={"box": BOX, **more})


def run(stage: Stage, folder: Path, steps: int) -> Path:
    train(stage, TrainSettings(steps, folder, every=100), Progress(quiet=True))
    return folder


@pytest.fixture
def made(corpus: Path, cache: Path, helpers: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The helpers, and untrained networks of stages 0 and 1 with statistics of their own."""
    torch.manual_seed(6)
    silent, first = TTVFace(SMALL), TTVFace(SMALL)
    first.set_statistics(torch.full((tiny.FEATURES,), 0.25), torch.full((tiny.FEATURES,), 2.0))
    critic = face_helpers.FaceDiscriminator(CONFIGS["tiny"].critic)
    return {
        **helpers,
        "silent": saved(tmp_path / "silent.safetensors", {"face": silent}),
        "first": saved(tmp_path / "first.safetensors", {"face": first, "discriminator": critic}),
    }


def zero(corpus: Path, cache: Path, files: Mapping[str, str], **more: Any) -> Stage:
    return face.closing(asked(corpus, cache, features=files["features"], **more))


def one(corpus: Path, cache: Path, files: Mapping[str, str], **more: Any) -> Stage:
    given = {name: files[name] for name in ("features", "silent", "expert")}
    return face.first(asked(corpus, cache, **given, **more))


def two(corpus: Path, cache: Path, files: Mapping[str, str], **more: Any) -> Stage:
    given = {name: files[name] for name in ("features", "silent", "expert", "ttv", "first")}
    return face.second(asked(corpus, cache, **given, **more))


STAGES = {"0": zero, "1": one, "2": two}


def equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_batch_is_a_function_of_its_step_and_process(corpus: Path, cache: Path, made: dict[str, str]) -> None:
    stage, again = one(corpus, cache, made), one(corpus, cache, made)
    batch = stage.batch(3, 0, 2)
    again.batch(0, 0, 1)
    assert equal(batch, again.batch(3, 0, 2))
    assert not equal(batch, stage.batch(4, 0, 2)) and not equal(batch, stage.batch(3, 1, 2))
    assert batch.true.shape == (2, 5, 3, 32, 32) and batch.reference.shape == (2, 3, 32, 32)
    assert batch.speech.shape == (2, 5, 10, tiny.FEATURES) and batch.mel.shape == (2, 1, 80, 16)


def test_windows_hold_what_is_heard_and_seen_at_their_frames(corpus: Path, cache: Path) -> None:
    """Speech that counts its vectors, and faces that are told apart, give the frame away."""
    request = asked(corpus, cache, clips="a")
    faces = Faces(cache / "faces", Search("box", BOX), lambda: pytest.fail("a box is given"))
    track = faces.clip(request.clips[0], face_cut(32))
    numbers = np.arange(60, dtype=np.float32)[:, None]  # 30 frames
    data = FaceData(request.clips, faces, face_cut(32), lambda clip: numbers, lambda *_: None)
    known = [np.asarray(picture)[..., ::-1].transpose(2, 0, 1) for picture in track.faces()]
    random, seen = np.random.default_rng(0), set()
    for _ in range(60):
        (true,), (reference,), (speech,), (mel,) = (part.numpy() for part in data.draw(random, 1, 10))
        first = int(speech[2, 4, 0]) // 2 - 2
        assert all(np.array_equal(true[i], known[first + i]) for i in range(5))
        wanted = np.clip(2 * (first + np.arange(5))[:, None] - 4 + np.arange(10), 0, 59)
        assert np.array_equal(speech[..., 0], wanted)
        assert np.array_equal(mel, windows(np.asarray(track.mel()), np.array([training_start(first + 1)]))[0])
        others = [i for i, picture in enumerate(known) if np.array_equal(picture, reference)]
        assert any(i < first or i >= first + 5 for i in others)
        seen.add(first)
    assert len(seen) > 15 and max(seen) <= 25


def test_clips_that_cannot_be_used_are_told_once_and_passed_over(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path
) -> None:
    request = asked(corpus, cache, clips="as", features=made["features"])  # a, and short with ten frames
    said: list[str] = []
    request.progress.say = said.append  # type: ignore[method-assign]
    stage = face.closing(request)
    for step in range(10):
        stage.batch(step, 0, 1)
    assert len([line for line in said if line.startswith("left out: short")]) == 1


@pytest.mark.parametrize("name", STAGES)
def test_two_pieces_equal_one(name: str, corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path) -> None:
    whole = run(STAGES[name](corpus, cache, made), tmp_path / "whole", 4)
    run(STAGES[name](corpus, cache, made), tmp_path / "pieces", 3)
    pieces = run(STAGES[name](corpus, cache, made), tmp_path / "pieces", 4)
    assert read_curve(pieces) == read_curve(whole)
    ours, theirs = load_file(pieces / WEIGHTS), load_file(whole / WEIGHTS)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    evaluated = [line["step"] for line in read_curve(whole) if "eval_pixels" in line]
    assert evaluated == [3]  # once two steps were done


def test_it_learns_to_draw(corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path) -> None:
    curve = read_curve(run(zero(corpus, cache, made, rate=1e-2), tmp_path / "out", 40))
    first, last = (np.mean([line["pixels"] for line in part]) for part in (curve[:5], curve[-5:]))
    assert last < 0.7 * first


def test_the_closing_network_says_digital_silence(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path
) -> None:
    from bench.systems.hierspeech.standard_features import StandardFeatures
    from bench.trained import filled

    written = load_file(run(zero(corpus, cache, made), tmp_path / "out", 1) / WEIGHTS)
    features = filled(StandardFeatures(), Path(made["features"]), "features", "features")
    silence = features(torch.zeros(1, 16_000))[0].T  # (52, D)
    assert torch.allclose(written["face.silence"], silence[21:31], atol=1e-5)


def test_the_closing_network_is_frozen_and_closes_every_reference(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes = face_helpers.closing("tiny", made["silent"])
    assert not any(parameter.requires_grad for parameter in closes.parameters()) and not closes.training
    before = face_helpers.fingerprint(closes)
    monkeypatch.setattr(face_helpers, "closing", lambda *_: closes)
    known: list[torch.Tensor] = []
    stage = one(corpus, cache, made)
    network = stage.networks()["face"]
    network.identity_encoder.register_forward_pre_hook(lambda _, given: known.append(given[0].clone()))
    written = load_file(run(stage, tmp_path / "out", 2) / WEIGHTS)
    assert face_helpers.fingerprint(closes) == before == stage.describe()["silent"]
    assert {key.partition(".")[0] for key in written} == {"face", "discriminator", "ramp"}
    for step, given in enumerate(known):
        with torch.no_grad():
            assert torch.allclose(given, closes.silenced(stage.batch(step, 0, 1).reference / 255.0), atol=1e-6)
    assert len(known) == 2


def test_the_sync_loss_of_stage_1_comes_in_by_and_by(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = read_curve(run(one(corpus, cache, made, rate=1e-9), tmp_path / "never", 2))
    assert all(line["pixels"] > DRAWN_BELOW and line["sync_weight"] == 0 and "sync" not in line for line in never)
    monkeypatch.setattr(face, "DRAWN_BELOW", 1.0)
    curve = read_curve(run(one(corpus, cache, made), tmp_path / "out", 4))
    assert [line["sync_weight"] for line in curve] == [0.0, 1.0, 2.0, 2.0]
    assert ["sync" in line for line in curve] == [False, True, True, True]


def test_stage_1_begins_with_the_weights_of_stage_0_or_afresh(corpus: Path, cache: Path, made: dict[str, str]) -> None:
    silent = load_file(made["silent"])["face.out.1.weight"]
    for begin, same in (("silent", True), ("fresh", False)):
        stage = one(corpus, cache, made, begin=begin)
        assert torch.equal(stage.networks()["face"].state_dict()["out.1.weight"], silent) is same
        assert stage.describe()["begin"] == begin


def test_stage_2_begins_with_both_players_of_stage_1_and_keeps_its_statistics(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path
) -> None:
    before = load_file(made["first"])
    stage = two(corpus, cache, made)
    now = {f"{name}.{key}": t for name, network in stage.networks().items() for key, t in network.state_dict().items()}
    assert now.keys() == before.keys() and all(torch.equal(now[key], before[key]) for key in before)
    assert all(parameter.requires_grad for network in stage.networks().values() for parameter in network.parameters())
    written = load_file(run(stage, tmp_path / "out", 2) / WEIGHTS)
    for name in ("feat_mean", "feat_std"):
        assert torch.equal(written[f"face.{name}"], before[f"face.{name}"])
    assert not torch.equal(written["face.out.1.weight"], before["face.out.1.weight"])


def test_stage_2_hears_reconstructed_features_with_one_draw_per_clip(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path
) -> None:
    real, again = one(corpus, cache, made).batch(0, 0, 1), two(corpus, tmp_path, made).batch(0, 0, 1)
    assert torch.equal(real.true, again.true) and torch.equal(real.mel, again.mel)
    assert (real.speech - again.speech).abs().mean() > 0.1
    assert torch.equal(again.speech, two(corpus, tmp_path / "anew", made).batch(0, 0, 1).speech)


def test_without_sync_there_is_no_expert(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = read_curve(run(two(corpus, cache, made), tmp_path / "with", 1))
    monkeypatch.setattr(face_helpers, "expert", lambda *_: pytest.fail("an expert is asked for"))
    stage = two(corpus, cache, made, sync="none")
    without = read_curve(run(stage, tmp_path / "without", 1))
    assert "sync" in with_it[0] and "sync" not in without[0]
    assert stage.describe()["expert"] is None and stage.describe()["sync"] == "none"
    assert with_it[0]["pixels"] == without[0]["pixels"]


def test_without_vgg_the_perceptual_loss_is_off_and_the_weights_say_so(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path
) -> None:
    request = asked(corpus, cache, features=made["features"])
    said: list[str] = []
    request.progress.say = said.append  # type: ignore[method-assign]
    stage = face.closing(request)
    assert len([line for line in said if "perceptual loss is off" in line]) == 1
    out = run(stage, tmp_path / "out", 1)
    with safe_open(out / WEIGHTS, framework="pt") as file:
        assert file.metadata()["perceptual"] == "off: no VGG-19 file"
    assert stage.describe()["perceptual"].startswith("off") and "perceptual" not in read_curve(out)[0]
    with pytest.raises(UsageError, match="needs VGG-19"):
        one(corpus, cache, made, triplet=True)


def test_with_vgg_likeness_and_triplet_count(
    corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [nn.ReLU() if i in {1, 6, 11, 20, 29} else nn.Conv2d(3, 3, 3, padding=1) for i in range(30)]
    loss = PerceptualLoss(nn.Sequential(*layers))
    monkeypatch.setattr(face_stage, "official", lambda norm: loss)
    stage = one(corpus, cache, made, triplet=True)
    curve = read_curve(run(stage, tmp_path / "out", 1))
    assert curve[0]["perceptual"] > 0 and curve[0]["triplet"] > 0 and stage.describe()["perceptual"] == "l2"


def test_wrong_files_are_told(corpus: Path, cache: Path, made: dict[str, str], tmp_path: Path) -> None:
    cases = {
        "no such file": lambda: two(corpus, cache, {**made, "first": "nowhere"}),
        "is no face": lambda: one(corpus, cache, {**made, "silent": made["expert"]}),
        "is no expert": lambda: one(corpus, cache, {**made, "expert": made["silent"]}),
        "is no ttv": lambda: two(corpus, cache, {**made, "ttv": made["first"]}),
        "is no discriminator": lambda: two(corpus, cache, {**made, "first": made["silent"]}),
        "is no features": lambda: zero(corpus, cache, {**made, "features": made["ttv"]}),
        "did you mean 'triplet'": lambda: one(corpus, cache, made, triplett=True),
    }
    for wanted, make in cases.items():
        with pytest.raises(UsageError) as caught:
            make()
        assert wanted in f"{caught.value.message} {caught.value.hint}", wanted


def test_the_full_configuration_names_what_it_lacks(corpus: Path, cache: Path, made: dict[str, str]) -> None:
    for make, wanted in ((face.closing, "MMS"), (face.first, "lipsync_expert"), (face.second, "--set first=FILE")):
        request = replace(asked(corpus, cache), config="full")
        with pytest.raises(UsageError) as caught:
            make(request)
        assert wanted.lower() in f"{caught.value.message} {caught.value.hint}".lower()


def test_the_sync_stage_is_wav2lips_expert(corpus: Path, cache: Path) -> None:
    assert isinstance(sync.stage(asked(corpus, cache)), ExpertStage)


def held_out(data: FaceData, count: int = 6) -> list[Any]:
    """Batches of four windows, the same for every network."""
    random = np.random.default_rng(11)
    return [data.draw(random, 4, 10) for _ in range(count)]


def drawn(network: TTVFace, closes: TTVFace, batch: Any, speech: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        known = closes.silenced(batch.reference / 255.0).repeat_interleave(5, 0)
        pose = masked(batch.true.flatten(0, 1) / 255.0)
        return network(pose, known, speech.flatten(0, 1))


@pytest.mark.slow
def test_the_shipped_faces_follow_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The acceptance of tfg.md, 2.6, on the demo corpus's clips of known speakers that nobody has trained on."""
    monkeypatch.undo()
    try:
        clips, _ = planning.list_clips(planning.open_dataset("demo", None), "val", Progress(quiet=True))
    except BenchError as error:
        pytest.skip(f"the demo corpus is not here: {error}")
    shipped = {name: EMBEDDED.fill(TTVFace(tiny.FACE), file(name)) for name in ("silent_face", "face_stage1", "face")}
    closes = shipped["silent_face"]
    request = TrainRequest("tiny", clips[::3], tmp_path, "demo")
    real = RealSpeech(feature_source(request), tmp_path)
    again = ReconstructedSpeech(real, face_helpers.text_to_vec("tiny", None), tmp_path, 0, "cpu")
    faces = Faces(tmp_path / "faces", Search("dlib"), DlibDetector)
    heard, reheard = (
        held_out(FaceData(request.clips, faces, face_cut(tiny.FACE.image), speech, lambda *_: None))
        for speech in (real, again)
    )
    half = tiny.FACE.image // 2
    apart: dict[str, list[float]] = {}

    def note(name: str, a: torch.Tensor, b: torch.Tensor) -> None:
        apart.setdefault(name, []).append(float((a - b).abs().mean()))

    for first, second in zip(heard, reheard, strict=True):
        true = first.true.flatten(0, 1) / 255.0
        made = drawn(shipped["face_stage1"], closes, first, first.speech)
        other = drawn(shipped["face_stage1"], closes, first, first.speech.roll(1, 0))
        note("stage 1", made, true)
        note("copy", first.reference.repeat_interleave(5, 0) / 255.0, true)
        note("lower", made[:, :, half:], other[:, :, half:])
        note("upper", made[:, :, :half], other[:, :, :half])
        note("stage 1, reconstructed", drawn(shipped["face_stage1"], closes, second, second.speech), true)
        note("stage 2, reconstructed", drawn(shipped["face"], closes, second, second.speech), true)
    mean = {name: float(np.mean(values)) for name, values in apart.items()}
    assert mean["stage 1"] < mean["copy"], mean
    assert mean["lower"] > 2e-3 and mean["upper"] <= mean["lower"] / 5, mean
    assert mean["stage 2, reconstructed"] <= mean["stage 1, reconstructed"], mean


def file(name: str) -> WeightFile:
    return embedded_file("hierspeech", name, "")
