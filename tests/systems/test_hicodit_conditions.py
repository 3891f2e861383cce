"""What ``hicodit`` is told of a video: AV-HuBERT, identity, emotion, and what is kept of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from bench.api import Audio, DataError, Source, Unscorable
from bench.systems.hicodit import extract
from bench.systems.hicodit.avhubert import AvHubertSizes, AvHubertVisual, LipReader
from bench.systems.hicodit.avhubert_resnet import VisualResNet
from bench.systems.hicodit.emotion import CLASSES, RAF_DB, Poster2, emotion_windows, face_squares
from bench.systems.hicodit.extract import ClipConditions, TinyExtractor, clip_conditions
from bench.systems.hicodit.identity import (
    STATISTICS,
    face_frames,
    mean_direction,
    standard,
    tiny_face,
    tiny_voice,
    unit,
    voice_identity,
    voice_statistics,
)
from bench.weights_check import FOLDER, Manifest, _manifest
from bench.weights_file import spec_of

NAME = "avhubert_large_visual.json"
NARROW = AvHubertSizes(width=32, feed_forward=64, layers=2, heads=4, kernel=16, groups=4)


# --------------------------------------------------------------------------- AV-HuBERT


def test_names_and_shapes_are_those_of_the_official_file() -> None:
    with torch.device("meta"):
        network = AvHubertVisual()
    manifest = _manifest((FOLDER / NAME).name)
    assert {name: spec_of(tensor) for name, tensor in network.state_dict().items()} == dict(manifest.tensors)
    given = Path(__file__).parents[2] / ".." / "shared" / "manifests" / NAME
    if given.is_file():
        told = json.loads(given.read_text())["tensors"]
        assert json.loads((FOLDER / NAME).read_text())["tensors"] == told


@pytest.mark.parametrize("prefix", ["", "encoder.w2v_model."])
def test_both_kinds_of_checkpoint_hold_the_network(prefix: str) -> None:
    """Self-supervised ones, and fine-tuned ones with a decoder beside it."""
    manifest: Manifest = _manifest(NAME)
    held: dict[str, int] = dict.fromkeys((f"{prefix}{name}" for name in manifest.tensors), 1)
    for name in ("mask_emb", "final_proj.bias", "label_embs_concat", "feature_extractor_audio.proj.weight"):
        held[prefix + name] = 2
    if prefix:
        held["decoder.embed_out"] = 3
    assert manifest.taken(held) == dict.fromkeys(manifest.tensors, 1)


def stirred(network: nn.Module) -> Any:
    """``network`` with norms that do something."""
    torch.manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval().requires_grad_(False)


def test_long_videos_go_through_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    network = stirred(VisualResNet())
    video = torch.randn(1, 1, 9, 24, 24, generator=torch.Generator().manual_seed(2))
    whole = network(video)
    monkeypatch.setattr("bench.systems.hicodit.avhubert_resnet._AT_ONCE", 4)
    torch.testing.assert_close(network(video), whole, rtol=1e-4, atol=1e-5)
    assert network(video[:, :, :0]).shape == (1, 512, 0)


def test_the_lip_reader_folds_without_a_change() -> None:
    network = stirred(AvHubertVisual(NARROW))
    crops = np.random.default_rng(0).integers(0, 256, (6, 96, 96)).astype(np.uint8)
    plain = network(torch.from_numpy((crops[:, 4:92, 4:92] / 255 - 0.421) / 0.165).float()[None, None])[0]
    reader = LipReader(network)
    np.testing.assert_allclose(reader.features(crops), plain.numpy(), rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in network.modules())


def test_padded_frames_change_nothing() -> None:
    network = stirred(AvHubertVisual(NARROW))
    features = torch.randn(2, 32, 9, generator=torch.Generator().manual_seed(3))
    padded = torch.arange(9) >= torch.tensor([[5], [9]])
    other = features.clone()
    other[0, :, 5:] = 7.0
    states, others = network.encode(features, padded), network.encode(other, padded)
    torch.testing.assert_close(states[0, :5], others[0, :5])
    torch.testing.assert_close(states[0, :5], network.encode(features[:1, :, :5])[0], rtol=1e-4, atol=1e-5)


# --------------------------------------------------------------------------- identity


def sentence(hz: float, level: float = 0.2, seconds: float = 1.0) -> Audio:
    t = np.arange(round(16_000 * seconds)) / 16_000
    wave = sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 12)) * (1 + np.sin(2 * np.pi * 3 * t))
    return Audio((level * np.asarray(wave) / 4).astype(np.float32), 16_000)


def test_the_blurred_picture_is_the_mean_of_the_frames() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3)).astype(np.uint8)
    vector = tiny_face([frames[:4], frames[4:]])
    assert vector.shape == (64,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert vector.sum() == pytest.approx(0, abs=1e-3)
    grey = (frames.astype(float) @ (0.299, 0.587, 0.114)).mean(axis=0)
    blurred = grey.reshape(8, 28, 8, 28).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(vector, unit(blurred - blurred.mean()), atol=0.02)
    assert (unit(np.zeros(64)) == 0).all()  # nothing to tell faces apart by
    with pytest.raises(Unscorable, match="too_short"):
        tiny_face([])


def test_voices_are_told_apart_once_they_are_standardised() -> None:
    told = [voice_statistics(sentence(hz)) for hz in (90, 95, 210, 220)]
    assert told[0].shape == (STATISTICS,)
    mean, deviation = standard(told)
    assert deviation.min() >= 1e-3
    vectors = [tiny_voice(one, mean, deviation) for one in told]
    cosines = np.array(vectors) @ np.array(vectors).T
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-5)
    assert cosines[0, 1] > 0.5 > cosines[0, 2]
    assert np.linalg.norm(mean_direction(vectors[:2])) == pytest.approx(1, abs=1e-6)
    matrix = np.random.default_rng(0).standard_normal((160, 64)) / math.sqrt(160)
    np.testing.assert_allclose(vectors[0], unit(((told[0] - mean) / deviation) @ matrix), atol=1e-5)


def test_statistics_want_speech_at_their_rate() -> None:
    with pytest.raises(ValueError, match="8000 Hz"):
        voice_statistics(Audio(np.zeros(8000, np.float32), 8000))
    with pytest.raises(Unscorable, match="too_short"):
        voice_statistics(Audio(np.zeros(10, np.float32), 16_000))


def test_faces_are_looked_at_from_end_to_end() -> None:
    points = np.zeros((40, 68, 2))
    points[[0, 1, 39]] = np.nan
    chosen = face_frames(points)
    assert len(chosen) == 8
    assert (chosen[0], chosen[-1]) == (2, 38)
    assert face_frames(points[:4]).tolist() == [2, 3]
    with pytest.raises(Unscorable, match="no_face"):
        face_frames(points[:2])


def test_ge2e_of_speech_has_no_negative_part() -> None:
    pytest.importorskip("webrtcvad")
    from bench.metrics.secs import Secs, load_encoder

    if Secs().missing("secs/resemblyzer@1"):
        pytest.skip("Resemblyzer is not here")
    encoder = load_encoder("cpu")
    vector = voice_identity(encoder, sentence(120, seconds=2.0))
    assert vector.shape == (256,)
    assert vector.min() >= 0
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    with pytest.raises(Unscorable, match="silent_audio"):
        voice_identity(encoder, Audio(np.zeros(32_000, np.float32), 16_000))


# --------------------------------------------------------------------------- emotion


@pytest.mark.parametrize(("frames", "windows"), [(1, 1), (12, 1), (13, 2), (25, 2), (26, 3), (60, 5)])
def test_windows_of_half_a_second(frames: int, windows: int) -> None:
    told = np.random.default_rng(frames).random((frames, 7))
    classes = emotion_windows(told)
    assert len(classes) == windows == -(-2 * frames // 25)
    assert (emotion_windows(told, 2 * frames) == classes).all()
    for number in range(windows):
        inside = [k for k in range(frames) if Fraction(number, 2) <= Fraction(k, 25) < Fraction(number + 1, 2)]
        assert classes[number] == (told[inside].mean(axis=0).argmax() if inside else classes[number - 1])


def test_windows_beyond_the_frames_copy_the_last_one() -> None:
    told = np.eye(7)[[2] * 13 + [4] * 12]
    assert emotion_windows(told, 100).tolist() == [2, 4, 4, 4]
    with pytest.raises(ValueError, match="no frame"):
        emotion_windows(told[:0])


class _Bright(nn.Module):
    """Surprised by bright faces, neutral otherwise, in RAF-DB's order."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        brightness = faces.mean(dim=(1, 2, 3))
        logits = torch.zeros(faces.shape[0], 7)
        logits[:, 0] = 5.0 * brightness
        logits[:, 6] = -5.0 * brightness
        return logits


def landmarks(frames: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).uniform(20, 60, (frames, 68, 2))


def test_a_classifier_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "poster.pt"
    torch.jit.script(_Bright()).save(str(path))
    film = np.repeat(np.array([10, 240], np.uint8), 20)[:, None, None, None] * np.ones((1, 80, 80, 3), np.uint8)
    classifier = Poster2(path, "cpu")
    told = classifier.probabilities(film, landmarks(40))
    np.testing.assert_allclose(told.sum(axis=1), 1, rtol=1e-5)
    assert [CLASSES[at] for at in told.argmax(axis=1)] == ["neutral"] * 20 + ["surprised"] * 20
    assert sorted(RAF_DB) == sorted(CLASSES)
    assert classifier.identity.startswith("poster2-")


def test_what_is_no_classifier_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no emotion classifier"):
        Poster2(tmp_path / "absent.pt", "cpu")
    (tmp_path / "noise.pt").write_bytes(b"noise")
    with pytest.raises(DataError, match="no TorchScript"):
        Poster2(tmp_path / "noise.pt", "cpu")
    torch.jit.script(nn.Flatten()).save(str(tmp_path / "flat.pt"))
    with pytest.raises(DataError, match="trace it"):
        Poster2(tmp_path / "flat.pt", "cpu").probabilities(np.zeros((2, 80, 80, 3), np.uint8), landmarks(2))


def test_a_face_fills_its_square() -> None:
    film = np.zeros((1, 200, 300, 3), np.uint8)
    film[0, 60:141, 100:181] = 255
    points = np.tile(np.array([140.0, 100.0]), (1, 68, 1))
    points[0, :2] = (100, 60), (180, 140)
    square = face_squares(film, points, 104)[0, :, :, 0]
    assert square.shape == (104, 104)
    rows, columns = np.nonzero(square > 127)
    assert np.ptp(rows) == pytest.approx(80, abs=2)
    assert columns.mean() == pytest.approx(52, abs=1)
    assert rows.mean() == pytest.approx(52 + 0.1 * 104, abs=1)


# --------------------------------------------------------------------------- what is kept


class Counting:
    """An extractor that counts; its conditions are those of a film of ``frames`` frames."""

    identity = "counting"

    def __init__(self, lip: NDArray[Any], emotion: NDArray[np.float32] | None = None) -> None:
        self.made, self.lip, self.emotion = 0, lip, emotion

    def extract(self, video: object) -> ClipConditions:
        self.made += 1
        return ClipConditions(self.lip, np.ones(3, np.float32), self.emotion, 2, True)


@pytest.fixture
def charged(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(extract, "charge", found.append)
    return found


KINDS: Mapping[str, NDArray[Any]] = {
    "mouths": np.arange(2 * 44 * 44, dtype=np.uint64).reshape(2, 44, 44).astype(np.uint8),
    "features": np.linspace(-3, 3, 20, dtype=np.float16).astype(np.float32).reshape(2, 10),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_clip_is_looked_at_once(tmp_path: Path, charged: list[float], kind: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    maker = Counting(KINDS[kind], np.full((2, 7), 1 / 7, np.float32))
    video = Source(tmp_path / "a.mp4")
    first, again = (clip_conditions(video, tmp_path / "kept", maker) for _ in range(2))
    assert maker.made == 1
    assert len(charged) == 1
    for found in (first, again):
        assert (found.lip == KINDS[kind]).all()
        assert found.lip.dtype == KINDS[kind].dtype
        assert found.emotion is not None
        assert (found.lost, found.fps_converted, found.frames, found.emotion.shape) == (2, True, 2, (2, 7))
    clip_conditions(Source(video.path, 0.0, 1.0), tmp_path / "kept", maker)  # a part of it is another clip
    assert maker.made == 2
    clip_conditions(video, None, maker)
    assert maker.made == 3


def test_damaged_files_are_made_again_and_failures_are_not_kept(tmp_path: Path, charged: list[float]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    maker, video = Counting(KINDS["mouths"]), Source(tmp_path / "a.mp4")
    clip_conditions(video, tmp_path / "kept", maker)
    (kept,) = (tmp_path / "kept" / "counting").iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    assert clip_conditions(video, tmp_path / "kept", maker).emotion is None
    assert maker.made == 2
    assert not charged
    with pytest.raises(Unscorable, match="decode_error"):
        clip_conditions(video, tmp_path / "kept", TinyExtractor())
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["counting"]


def test_where_nothing_can_be_kept_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    (tmp_path / "kept").write_bytes(b"a file where a folder should be")
    maker = Counting(KINDS["mouths"])
    assert clip_conditions(Source(tmp_path / "a.mp4"), tmp_path / "kept", maker).frames == 2
