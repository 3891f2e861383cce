"""The stage ``expression``: learns from moved faces and from clips whose class is known, and says who was left out."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from speech_kit import request

from bench import media
from bench.api import Clip, DataError
from bench.errors import UsageError
from bench.progress import Progress
from bench.records import Source
from bench.systems.hicodit.emotion import CLASSES
from bench.systems.hicodit.training.expression import ExpressionStage, Face, accuracy, collated, faces_of, shown, stage
from bench.train import TrainSettings, train
from bench.train_files import read_curve
from bench.weights_shipped import facts

QUIET = Progress(quiet=True)


def film(root: Path, name: str, picture: np.ndarray, **extra: str) -> Clip:
    path = root / f"{name}.mp4"
    media.write_video(path, np.ascontiguousarray(np.stack([picture] * 6)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Clip(name, "demo", "train", Source(path), None, None, digest, 6, "s1", extra=extra)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """A portrait in two lights, and a picture without a face."""
    data = pytest.importorskip("skimage.data")
    root = tmp_path_factory.mktemp("faces")
    portrait = data.astronaut()[0:256, 100:356]
    darker = (portrait * 0.7).astype(np.uint8)
    return [film(root, "a", portrait), film(root, "b", darker), film(root, "c", np.full_like(portrait, 90))]


def begun(folder: Path, clips: list[Clip]) -> ExpressionStage:
    settings = {"batch": 14, "schedule": 120, "rate": 4e-3}
    found = stage(request(folder, clips[:1], held_out=clips[1:2], settings=settings))
    assert isinstance(found, ExpressionStage)
    return found


def test_it_learns(clips: list[Clip], tmp_path: Path) -> None:
    train(begun(tmp_path, clips), TrainSettings(steps=120, folder=tmp_path), QUIET)
    losses = [point["loss"] for point in read_curve(tmp_path)]
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])
    told = float(facts(tmp_path / "weights.safetensors")["held_out_accuracy"])
    assert told > 2.5 / len(CLASSES)  # the same face in other light


def test_a_stopped_training_goes_on_as_if_never_stopped(clips: list[Clip], tmp_path: Path) -> None:
    train(begun(tmp_path, clips), TrainSettings(steps=9, folder=tmp_path / "whole"), QUIET)
    for steps in (4, 9):
        train(begun(tmp_path, clips), TrainSettings(steps=steps, folder=tmp_path / "halves"), QUIET)
    assert read_curve(tmp_path / "whole") == read_curve(tmp_path / "halves")


def test_who_has_no_face_is_named(clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = request(tmp_path, clips)
    said: list[str] = []
    asked.progress.say = said.append  # type: ignore[method-assign]
    assert len(faces_of(clips, asked)) == 12
    assert any("left out: c" in line for line in said)
    with pytest.raises(DataError, match="no clip shows a face"):
        faces_of(clips[2:], asked)


def test_a_class_that_the_data_set_names_is_kept(clips: list[Clip], tmp_path: Path) -> None:
    named = replace(clips[0], extra={"emotion": "angry"})
    (face, *_) = faces_of([named], request(tmp_path, [named]))
    random = np.random.default_rng(0)
    assert {shown(face, wanted, random)[1] for wanted in range(len(CLASSES))} == {CLASSES.index("angry")}
    unnamed = Face(face.frame, face.points, None)
    assert [shown(unnamed, wanted, random)[1] for wanted in range(3)] == [0, 1, 2]


def test_accuracy_is_a_share_of_right_answers(clips: list[Clip], tmp_path: Path) -> None:
    found = stage(request(tmp_path, clips[:1]))
    assert isinstance(found, ExpressionStage)
    faces = faces_of(clips[:1], request(tmp_path, clips))
    network = found.networks()["expression"]
    batch = collated([shown(faces[0], place, np.random.default_rng(place)) for place in range(7)])
    told = network(batch.pictures).argmax(dim=1)
    assert accuracy(network, batch) == pytest.approx(float((told == batch.classes).double().mean()))  # type: ignore[arg-type]


def test_the_full_configuration_has_none(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--config tiny"):
        stage(request(tmp_path, clips, config="full"))
