"""Mouths of ``hicodit``: landmarks, alignment, squares, and the small lip reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.conformance import Case, run_case
from bench.systems.hicodit import landmarks
from bench.systems.hicodit.adapters_conditions import OPS
from bench.systems.hicodit.landmarks import EVERY, MOUTH, find_points
from bench.systems.hicodit.lip_front import SIDE, LipFront
from bench.systems.hicodit.mouth_crop import DEFAULT, LipInput, filled, grey, plan_crops, shrunk, similarity

GOLDEN = Path(__file__).parents[1] / "golden" / "hicodit"
BOX = (10, 10, 59, 59)


@pytest.mark.parametrize("name", sorted(OPS))
def test_recorded_cases(name: str) -> None:
    result = run_case(Case("hicodit", name, name, GOLDEN / f"{name}.safetensors"), OPS[name])
    assert result.status == "pass", result.detail


def face(frames: int, size: int = 160) -> NDArray[np.float64]:
    """Landmarks (frames, 68, 2) of a face that wanders through pictures of ``size`` pixels."""
    random = np.random.default_rng(3)
    points = random.uniform(0.3, 0.7, (68, 2)) * size
    points[list(DEFAULT.stable)] = DEFAULT.mean_face * 0.5 + 0.1 * size
    points[MOUTH] = (0.5, 0.6) * np.array(size) + random.uniform(-8, 8, (20, 2))
    drift = np.cumsum(random.normal(0, 0.6, (frames, 1, 2)), axis=0)
    return points + drift + random.normal(0, 0.2, (frames, 68, 2))


def pictures(frames: int, size: int = 160) -> NDArray[np.uint8]:
    y, x, k = np.mgrid[:size, :size, :frames].transpose(0, 3, 1, 2)
    colours = [127 + 90 * np.sin(x / (6 + c) + 0.2 * k) * np.cos(y / (8 - c)) for c in range(3)]
    return np.stack(colours, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("frames", [1, 5, 12, 20])
def test_squares_are_those_of_a_whole_warped_canvas(frames: int) -> None:
    """Against scikit-image, which AV-HuBERT's script uses: every square is a piece of the warped picture."""
    transform = pytest.importorskip("skimage.transform")
    points, film = face(frames), pictures(frames)
    plan = plan_crops(points)
    window = min(12, frames)
    for at in {0, frames // 2, frames - 1}:
        begin = min(at, frames - window)
        steady = points[begin : begin + window, list(DEFAULT.stable)].mean(axis=0)
        wanted = transform.SimilarityTransform()
        assert wanted.estimate(steady, DEFAULT.mean_face)
        np.testing.assert_allclose(plan.matrices[at], wanted.params[:2], rtol=1e-9, atol=1e-9)
        canvas = (transform.warp(film[at], wanted.inverse, output_shape=(256, 256)) * 255).astype(np.uint8)
        centre = np.clip(wanted(points[at, MOUTH].mean(axis=0)).ravel(), 48, 208)
        left, top = (int(round(edge) - 48) for edge in centre)
        expected = canvas[top : top + 96, left : left + 96].astype(int)
        difference = np.abs(plan.cut(film[at], at).astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3


def test_similarity_never_mirrors() -> None:
    source = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 2.0]])
    mirrored = source * (-1.0, 1.0)
    assert np.linalg.det(similarity(source, mirrored)[:, :2]) > 0
    still = similarity(np.ones((4, 2)), source)  # without an extent: a shift alone
    np.testing.assert_allclose(still[:, :2], np.eye(2))


def test_lost_frames_lie_between_their_neighbours() -> None:
    points = np.repeat(np.arange(8.0)[:, None, None], 68, axis=1) * np.array([1.0, -2.0])
    lost = points.copy()
    lost[[0, 3, 4, 7]] = np.nan
    whole = filled(lost)
    np.testing.assert_allclose(whole[[3, 4]], points[[3, 4]])
    assert (whole[0] == points[1]).all()
    assert (whole[7] == points[6]).all()
    assert plan_crops(lost + face(8)).lost == 4


@pytest.mark.parametrize("frames", [0, 1, 9])
def test_without_any_face_there_is_nothing_to_cut(frames: int) -> None:
    with pytest.raises(Unscorable) as caught:
        plan_crops(np.full((frames, 68, 2), np.nan))
    assert caught.value.kind == "no_face"


def test_a_mouth_at_the_edge_stays_on_the_canvas() -> None:
    points = face(14)
    points[:, MOUTH] += 900.0
    plan = plan_crops(points)
    assert (plan.corners == 256 - 96).all()
    small = plan.cut(pictures(1)[0][:100, :100], 0)
    assert (small[-1] == 0).all()  # black beyond the picture


def test_what_networks_see_of_a_square() -> None:
    squares = np.arange(2 * 96 * 96, dtype=np.uint64).reshape(2, 96, 96).astype(np.uint8)
    seen = LipInput().of(squares)
    assert seen.shape == (2, 88, 88)
    assert seen.dtype == np.float32
    assert seen[0, 0, 0] == pytest.approx((squares[0, 4, 4] / 255 - 0.421) / 0.165, abs=1e-5)
    assert (grey(np.repeat(squares[..., None], 3, axis=3)) == squares).all()
    assert shrunk(np.full((2, 96, 96), 77, np.uint8), SIDE).tolist() == np.full((2, SIDE, SIDE), 77).tolist()


# --------------------------------------------------------------------------- landmarks


class Looks:
    """Stands in for the detector: the box of each frame, whose number is its brightness; counts the looks."""

    def __init__(self, boxes: list[tuple[int, int, int, int] | None]) -> None:
        self.boxes, self.seen = boxes, list[int]()

    def detect(self, picture: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
        number = int(picture[0, 0])
        self.seen.append(number)
        return self.boxes[number]


def looked(boxes: list[tuple[int, int, int, int] | None], patch: pytest.MonkeyPatch) -> tuple[Looks, list[float]]:
    """What is asked of the detector, and the left edge of each frame's box (NaN: no face)."""
    looks = Looks(boxes)
    patch.setattr(landmarks, "detect", looks.detect)
    patch.setattr(landmarks, "landmarks", lambda picture, box: np.tile(np.array(box[:2]), (68, 1)))
    film = np.broadcast_to(np.arange(len(boxes), dtype=np.uint8)[:, None, None, None], (len(boxes), 70, 70, 3))
    return looks, find_points([film])[:, 0, 0].tolist()


def test_between_two_looks_a_box_moves_on_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, edges = looked([(10 + k, 10, 59 + k, 59) for k in range(12)], monkeypatch)
    assert looks.seen == [0, EVERY, 2 * EVERY, 11]
    assert edges == [10.0 + k for k in range(12)]


def test_where_a_face_comes_or_goes_every_frame_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, edges = looked([BOX] * 7 + [None] * 14, monkeypatch)
    assert sorted(looks.seen) == [0, 5, 6, 7, 8, 9, 10, 15, 20]  # nothing is expected between two looks in vain
    assert np.isnan(edges).tolist() == [False] * 7 + [True] * 14


def test_another_face_in_its_place_is_no_movement(monkeypatch: pytest.MonkeyPatch) -> None:
    far = (0, 0, 20, 20)
    looks, edges = looked([BOX] * 3 + [far] * 3, monkeypatch)
    assert sorted(looks.seen) == [0, 1, 2, 3, 4, 5]
    assert edges == [10.0] * 3 + [0.0] * 3


def test_a_mouth_outside_the_picture_is_no_mouth(monkeypatch: pytest.MonkeyPatch) -> None:
    _, edges = looked([(75, 10, 120, 59)] * 3, monkeypatch)
    assert np.isnan(edges).all()
    assert find_points([]).shape == (0, 68, 2)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_dlib_finds_the_portrait_at_any_size(scale: float) -> None:
    """The same face, found in the picture and in a larger copy of it."""
    cv2, sample = pytest.importorskip("cv2"), pytest.importorskip("skimage.data")
    pytest.importorskip("dlib")
    portrait = sample.astronaut()[:256, 90:346]
    picture = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    points = find_points([picture[None]])[0] / scale
    mouth = points[MOUTH].mean(axis=0)
    np.testing.assert_allclose(mouth, (135, 148), atol=12)


# --------------------------------------------------------------------------- the small lip reader


def front(seed: int = 0) -> LipFront:
    torch.manual_seed(seed)
    network = LipFront()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.normal_(module.bias, std=0.2)
    return network.eval().requires_grad_(False)


def test_the_small_lip_reader_has_its_size() -> None:
    assert sum(p.numel() for p in LipFront().parameters()) == 374_016


def test_padding_changes_nothing() -> None:
    network = front()
    mouths = torch.randint(0, 256, (2, 11, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    alone = [network(mouths[:1, :6]), network(mouths[1:])]
    together = network(mouths, torch.tensor([6, 11]))
    torch.testing.assert_close(together[:1, :6], alone[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[1:], alone[1], rtol=1e-4, atol=1e-5)
    assert (together[0, 6:] == 0).all()
    other = mouths.clone()
    other[0, 6:] = 255
    assert torch.equal(network(other, torch.tensor([6, 11])), together)


def test_a_frame_is_seen_nearby_alone() -> None:
    """The stem sees two frames on each side, the two convolutions over time two and four more."""
    network = front()
    mouths = torch.full((1, 25, SIDE, SIDE), 90, dtype=torch.uint8)
    changed = mouths.clone()
    changed[0, 12] = 200
    moved = (network(mouths) - network(changed)).abs().amax(dim=2)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == list(range(12 - 8, 12 + 9))
