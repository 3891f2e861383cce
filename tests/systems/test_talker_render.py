"""The talker's renderer: what it sees of a picture, motion codes, frames in batches, motion statistics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.detfill import fill_module
from bench.systems.talker import motion_stats, render
from bench.systems.talker.face_view import DEMO_VIEW, FaceView, Restored, Whole, seen, view_of
from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_ops import folded
from bench.systems.talker.lia_sizes import LiaSizes
from bench.systems.talker.motion_stats import FLOOR, MotionStats
from bench.systems.talker.render import Renderer, levels, network_input

SMALL = LiaSizes(size=16, widths=(8, 8), style_dim=6, motion_dim=3, blocks=1, groups=4)
DLIB_ON_DEMO = np.array([55.0, 80.0, 164.0, 188.0])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network() -> Generator:
    made = Generator(SMALL)
    keep = tuple(name for name in made.state_dict() if name.endswith("kernel"))
    return folded(fill_module(made, 2.0, keep))


def random_frames(count: int, height: int = 24, width: int = 20, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


class At:
    """A detector that always sees the same faces."""

    def __init__(self, *boxes: tuple[float, ...]) -> None:
        self._rows = np.array([(*box, 1.0) for box in boxes], np.float64).reshape(-1, 5)

    def __call__(self, frames: NDArray[np.uint8], /) -> list[NDArray[np.float64]]:
        return [self._rows for _ in frames]


@pytest.mark.parametrize("moved", [(0, 0), (12, 0), (0, -12), (-12, 12)])
def test_a_face_of_the_demo_corpus_is_seen_as_in_training(moved: tuple[int, int]) -> None:
    """dlib's boxes jump by 12 pixels there."""
    assert view_of(np.add(DLIB_ON_DEMO, [*moved, *moved]), (224, 224)) == DEMO_VIEW
    twice = view_of(2 * np.add(DLIB_ON_DEMO, [*moved, *moved]), (448, 448))
    assert twice == tuple(2 * edge for edge in DEMO_VIEW)


@pytest.mark.parametrize("size", [(480, 640), (640, 640)])
def test_another_face_is_seen_through_a_square_that_lies_alike(size: tuple[int, int]) -> None:
    x1, y1, x2, y2 = view_of(DLIB_ON_DEMO + 100, size)
    assert x2 - x1 == y2 - y1 and abs(x2 - x1 - 160) <= 1
    assert abs(x1 - 132) <= 1 and abs(y1 - 152) <= 1
    x1, y1, x2, y2 = view_of(0.5 * (DLIB_ON_DEMO - [55, 80, 55, 80]), size)  # in the corner: beyond the picture
    assert abs(x2 - x1 - 80) <= 1 and x1 < 0 and y1 < 0


def test_no_face_is_no_result() -> None:
    with pytest.raises(Unscorable, match="no face in the first frame") as caught:
        FaceView(At()).box(random_frames(1)[0])
    assert caught.value.kind == "no_face"


def test_what_lies_beyond_the_picture_is_its_edge() -> None:
    picture = random_frames(1, 6, 6)[0]
    out = seen(picture, (-2, -1, 4, 5), 6)
    assert (out[0] == out[1]).all() and (out[:, 0] == out[:, 2]).all()
    assert (out[1:, 2:] == picture[:5, :4]).all()


def test_the_whole_picture_is_squeezed_by_areas() -> None:
    picture = random_frames(1, 32, 64)[0]
    small = seen(picture, Whole().box(picture), 16)
    assert np.abs(small - picture.reshape(16, 2, 16, 4, 3).mean((1, 3))).max() <= 0.5


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 40), (6, 64)])
def test_what_is_made_of_the_whole_picture_gets_its_size(height: int, width: int) -> None:
    picture, made = random_frames(1, height, width)[0], np.full((16, 16, 3), 99, np.uint8)
    view = Restored()
    assert view.box(picture) == (0, 0, width, height)
    frame = view.finished(picture, view.box(picture), made)
    assert frame.shape == picture.shape and frame.dtype == np.uint8 and (frame == 99).all()


def test_pictures_shrink_by_areas() -> None:
    made = random_frames(1, 16, 16)[0]
    small = Restored().finished(np.zeros((8, 8, 3), np.uint8), (0, 0, 8, 8), made)
    assert np.abs(small - made.reshape(8, 2, 8, 2, 3).mean((1, 3))).max() <= 0.5


def test_a_made_face_goes_over_into_the_picture() -> None:
    picture, made = np.zeros((224, 224, 3), np.uint8), np.full((128, 128, 3), 220, np.uint8)
    view = FaceView(At())
    frame = view.finished(picture, DEMO_VIEW, made)
    assert (frame[62:202, 42:182] == 220).all()  # ten pixels from the edge on
    edge = frame[132, 32:43, 0].astype(int)
    assert (np.diff(edge) > 0).all() and 0 < edge[0] < 40
    outside = frame.copy()
    outside[52:212, 32:192] = 0
    assert not outside.any() and not picture.any()
    beyond = view.finished(picture, (-40, 52, 120, 212), made)
    assert (beyond[132, :100] == 220).all()  # nothing to go over to at the picture's own edge


def test_the_network_sees_and_makes_levels() -> None:
    shown = network_input(np.array([[[[0, 51, 255]]]], np.uint8))
    np.testing.assert_allclose(shown[0, :, 0, 0], [-1.0, -0.6, 1.0], atol=1e-6)
    made = torch.tensor([-3.0, -1.0, 0.0, 0.999, 1.0, 7.0]).expand(1, 3, 1, 6)
    assert levels(made)[0, 0, :, 1].tolist() == [0, 0, 127, 254, 255, 255]  # cut off, not rounded


def test_motion_codes_do_not_depend_on_the_pieces(network: Generator) -> None:
    frames = random_frames(40)
    renderer = Renderer(network)
    whole = renderer.motion_of([frames])
    assert whole.shape == (40, 3) and whole.dtype == np.float32
    np.testing.assert_allclose(renderer.motion_of([frames[:3], frames[3:7], frames[7:]]), whole, atol=1e-5)
    small = np.stack([cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA) for frame in frames[:2]])
    with torch.inference_mode():
        alpha = network.get_alpha(torch.from_numpy(small).permute(0, 3, 1, 2) / 127.5 - 1.0)
    np.testing.assert_allclose(whole[:2], alpha, atol=1e-5)
    np.testing.assert_allclose(renderer.identity(frames[0]).alpha, whole[0], atol=1e-5)


def test_a_video_is_seen_where_its_first_face_is(network: Generator) -> None:
    class Walking:
        asked = 0

        def __call__(self, frames: NDArray[np.uint8], /) -> list[NDArray[np.float64]]:
            self.asked += len(frames)
            return [np.array([[*DLIB_ON_DEMO, 1.0]]) for _ in frames]

    frames, walking = random_frames(3, 224, 224), Walking()
    codes = Renderer(network, FaceView(walking)).motion_of([frames])
    cut = Renderer(network).motion_of([frames[:, 52:212, 32:192]])
    np.testing.assert_array_equal(codes, cut)
    assert walking.asked == 1


def test_frames_are_those_of_one_picture_at_a_time(network: Generator) -> None:
    """The plain loop: decode each motion alone, truncate, stack."""
    motion = np.random.default_rng(1).standard_normal((11, 3)).astype(np.float32)
    renderer = Renderer(network, batch=4)
    identity = renderer.identity(random_frames(1)[0])
    pieces = list(renderer.render(identity, motion))
    assert [len(piece) for piece in pieces] == [4, 4, 3]
    with torch.inference_mode():
        alone = [network.move(identity.z, identity.maps, torch.from_numpy(code[None])) for code in motion]
    plain = torch.cat([((y.clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8) for y in alone]).permute(0, 2, 3, 1).numpy()
    difference = np.abs(np.concatenate(pieces).astype(int) - plain)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3  # rounding at the edge of a level
    np.testing.assert_array_equal(renderer.video(identity, motion), np.concatenate(pieces))


def test_frames_are_made_when_they_are_asked_for(network: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    move = network.move
    monkeypatch.setattr(network, "move", lambda z, maps, alpha: (made.append(len(alpha)), move(z, maps, alpha))[1])
    renderer = Renderer(network, batch=2)
    identity = renderer.identity(random_frames(1)[0])
    frames = renderer.render(identity, np.zeros((100, 3), np.float32))
    assert not made
    next(frames)
    assert len(made) == 2  # one ahead, for a device to be busy meanwhile


def test_long_videos_lie_in_a_file(network: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_IN_MEMORY", 100)
    renderer = Renderer(network)
    identity, motion = renderer.identity(random_frames(1)[0]), np.zeros((9, 3), np.float32)
    video = renderer.video(identity, motion, tmp_path)
    assert isinstance(video, np.memmap) and list(tmp_path.iterdir())
    np.testing.assert_array_equal(video, renderer.video(identity, motion))


def test_a_face_is_painted_into_its_own_picture(network: Generator) -> None:
    picture = random_frames(1, 224, 224)[0]
    renderer = Renderer(network, FaceView(At(tuple(DLIB_ON_DEMO))))
    video = renderer.video(renderer.identity(picture), np.zeros((2, 3), np.float32))
    assert video.shape == (2, 224, 224, 3)
    outside = np.ones((224, 224), bool)
    outside[52:212, 32:192] = False
    assert (video[:, outside] == picture[outside]).all() and (video[0, 60:200, 40:180] != picture[60:200, 40:180]).any()


def test_nothing_to_show(network: Generator) -> None:
    renderer = Renderer(network)
    with pytest.raises(Unscorable, match="without frames"):
        renderer.motion_of([])
    with pytest.raises(Unscorable, match="no motion"):
        renderer.video(renderer.identity(random_frames(1)[0]), np.zeros((0, 3), np.float32))
    with pytest.raises(ValueError, match="batches of 0"):
        Renderer(network, batch=0)


def test_statistics_of_motion() -> None:
    codes = np.random.default_rng(0).standard_normal((500, 3)) * [2.0, 0.5, 0.0] + [1.0, -1.0, 3.0]
    stats = MotionStats.measured(codes)
    np.testing.assert_allclose(stats.mean, codes.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats.std[:2], codes.std(0)[:2], rtol=1e-6)
    assert float(stats.std[2]) == pytest.approx(FLOOR * float(stats.std[0]))  # a dead dimension stays quiet
    raw = torch.from_numpy(codes).float()
    normal = stats.normalised(raw)
    torch.testing.assert_close(normal[:, :2].std(0, correction=0), torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close(stats.raw(normal), raw, rtol=1e-5, atol=1e-5)
    assert torch.equal(stats.conditions(raw), normal.bfloat16().float())
    again = MotionStats.of(stats.numbers())
    assert torch.equal(again.mean, stats.mean) and torch.equal(again.std, stats.std)
    blank = MotionStats.blank(3)
    blank.load_state_dict(stats.state_dict())
    assert torch.equal(blank.normalised(raw), normal)


def test_the_published_statistics() -> None:
    stats = motion_stats.official()
    assert stats.mean.shape == stats.std.shape == (40,)
    assert float(stats.std.min()) == pytest.approx(0.02, rel=0.05)
    assert (MotionStats(np.zeros(2), np.array([0.0, 1.0])).std > 0).all()
