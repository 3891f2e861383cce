"""The small classifier of expressions, and the faces that it learns from."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.errors import UsageError
from bench.systems.hicodit.emotion import CLASSES
from bench.systems.hicodit.expression import SIDE, ExpressionNet, TinyExpression, grey_faces
from bench.systems.hicodit.landmarks import find_points
from bench.systems.hicodit.options import HiCoDiTOptions
from bench.systems.hicodit.parts import tiny_expression
from bench.systems.hicodit.requirements import Needs
from bench.systems.hicodit.training.moved_faces import moved
from bench.systems.hicodit.weight_files import TINY_EXPRESSION

CORNERS, INNER_BROWS, CHIN = [48, 54], [21, 22], [7, 8, 9]


@cache
def portrait() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    data = pytest.importorskip("skimage.data")
    frame = np.ascontiguousarray(data.astronaut()[0:256, 100:356])
    points = find_points([frame[None]])[0]
    assert not np.isnan(points).any()
    return frame, points


def raised(name: str, places: list[int]) -> float:
    """Pixels by which dlib sees landmarks higher in the moved face."""
    frame, points = portrait()
    seen = find_points([moved(frame, points, name, 1.4)[None]])[0]
    return float((points[places, 1] - seen[places, 1]).mean())


def test_a_moved_face_is_seen_to_have_moved() -> None:
    """By dlib, which knows nothing of the shifts."""
    assert raised("happy", CORNERS) > 1.5 > -1.5 > raised("sad", CORNERS)
    assert raised("surprised", INNER_BROWS) > 1.5 > -1.5 > raised("angry", INNER_BROWS)
    assert raised("surprised", CHIN) < -1.5


def test_nothing_moves_without_a_reason() -> None:
    frame, points = portrait()
    assert (moved(frame, points, "neutral", 1.0) == frame).all()
    assert (moved(frame, points, "happy", 0.0) == frame).all()
    smile = moved(frame, points, "happy", 1.0)
    assert (smile != frame).any()
    corner = np.abs(smile[-40:, :40].astype(int) - frame[-40:, :40])  # far from the face
    assert corner.max() <= 1


def test_light_and_contrast_say_nothing_and_faces_do_not_know_of_each_other() -> None:
    torch.manual_seed(0)
    network = ExpressionNet().eval()
    faces = torch.rand(3, 1, SIDE, SIDE)
    with torch.no_grad():
        whole = network(faces)
        torch.testing.assert_close(network(0.5 * faces + 0.2), whole, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(faces[1:2]), whole[1:2], rtol=1e-5, atol=1e-5)
    assert whole.shape == (3, len(CLASSES))


def test_probabilities_of_frames() -> None:
    frame, points = portrait()
    frames, where = np.stack([frame] * 3), np.stack([points] * 3)
    told = TinyExpression(ExpressionNet(), "made-up").probabilities(frames, where)
    assert told.shape == (3, 7)
    np.testing.assert_allclose(told.sum(axis=1), 1, rtol=1e-5)
    assert TinyExpression(ExpressionNet(), "x").probabilities(frames[:0], where[:0]).shape == (0, 7)
    assert grey_faces(frames, where).shape == (3, SIDE, SIDE)


def test_the_shipped_one_tells_an_unseen_picture_s_expressions_more_often_than_not() -> None:
    """The portrait itself, from which the corpus' faces are made: at their size, in poses and light of its own."""
    frame, points = portrait()
    frames = np.stack([moved(frame, points, name, 1.2) for name in CLASSES])
    told = tiny_expression(None, "cpu").probabilities(frames, np.stack([points] * len(CLASSES))).argmax(axis=1)
    assert (told == np.arange(len(CLASSES))).sum() >= 5


def test_which_file_it_needs() -> None:
    small = HiCoDiTOptions(emotion="tiny")
    assert TINY_EXPRESSION in Needs(small, "embedded").files()
    assert TINY_EXPRESSION in Needs(small, "canonical").files()
    assert TINY_EXPRESSION not in Needs(HiCoDiTOptions(), "embedded").files()
    assert TINY_EXPRESSION not in Needs(HiCoDiTOptions(emotion="tiny", emotion_file="own"), "embedded").files()
    with pytest.raises(UsageError, match="emotion_file"):
        Needs(HiCoDiTOptions(emotion_file="own"), "embedded").check()
    with pytest.raises(UsageError, match="emotion_file"):
        Needs(HiCoDiTOptions(emotion="poster2"), "embedded").check()
