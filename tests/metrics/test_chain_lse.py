"""The chain that no golden joins: S3FD, cuts, tracks, crop, SyncNet, LSE, on demo clips against a plain version.

Filled by rule, S3FD sees no faces. So its raw outputs on the clip are compared by themselves; and what goes on behind
it starts once from dlib's boxes and once from outputs in which a face was written, through the decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from chain_clip import media, plainly, write_demo_clip
from lse_chain_plain import PlainTrack, dlib_faces, plain_chain, plain_decoded
from lse_helpers import SEEDED, plain_lse
from test_lse_s3fd import plain_forward
from video_helpers import truth

from bench.api import Failure, Score
from bench.media import Media
from bench.metrics.lse import protocols as declared
from bench.metrics.lse.dlib_boxes import dlib_detect
from bench.metrics.lse.metric import DETECTOR_PARAMETERS, Lse
from bench.metrics.lse.s3fd import make_detector
from bench.metrics.lse.s3fd_declare import S3FD_WEIGHTS
from bench.metrics.lse.s3fd_net import S3FD
from bench.networks import Seeded

MEM, NO_JPEG = declared.PIPELINE_MEM, declared.NO_JPEG
WEIGHTS = Seeded({declared.SYNCNET_WEIGHTS.name: 2.45, S3FD_WEIGHTS.name: 1.0})
FEW, LEAST = 26, 20  # frames of the short stretch of the clip, and what replaces the 100 of its shots and tracks
LONG = 106


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip's video file."""
    return write_demo_clip(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tracks of more than :data:`LEAST` detections, so that a test takes seconds."""
    track = {**MEM.parameters["track"], "min_track": f"more than {LEAST} detections", "scene_min_frames": LEAST}
    monkeypatch.setitem(MEM.parameters, "track", track)  # type: ignore[arg-type]
    yield


def scored(metric: Lse, clip: Media, protocol_id: str = MEM.id) -> Score:
    metric.load("cpu")
    found = metric.score([protocol_id], clip, clip, truth())[protocol_id]
    assert isinstance(found, Score), found
    return found


def assert_equal(found: Score, plain: list[PlainTrack]) -> None:
    """Values are of the size of 8000 here: LSE-D to 3e-6 of it, LSE-C, a difference of two such numbers, to 0.03."""
    rows = found.arrays["tracks"]  # first, frames, windows, LSE-C, LSE-D, offset
    assert len(rows) == len(plain) == found.parts["n_tracks"] > 0
    for row, track in zip(rows, plain, strict=True):
        assert (row[0], row[1]) == (track.first, len(track.boxes))
        assert row[4] == pytest.approx(track.lse_d, rel=3e-6)
        assert row[3] == pytest.approx(track.lse_c, abs=0.03)
        assert row[5] == track.offset
    assert found.values["lse_d"] == pytest.approx(np.mean([track.lse_d for track in plain]), rel=3e-6)
    assert found.values["lse_c"] == pytest.approx(np.mean([track.lse_c for track in plain]), abs=0.03)


def test_the_clip_without_a_detector(video: Path) -> None:
    frames, pcm = plainly(video, FEW)
    found = scored(Lse(SEEDED), media(video, FEW), NO_JPEG.id)
    lse_c, lse_d, offset = plain_lse(frames, pcm)
    assert found.values["lse_d"] == pytest.approx(lse_d, rel=3e-6)
    assert found.values["lse_c"] == pytest.approx(lse_c, abs=0.03)
    assert (found.parts["offset"], found.parts["n_frames"]) == (offset, FEW)


def test_from_dlibs_boxes_to_lse(video: Path, brief: None) -> None:
    plain = plain_chain(*plainly(video, FEW), dlib_faces, LEAST)
    assert_equal(scored(Lse(SEEDED, dlib_detect(DETECTOR_PARAMETERS)), media(video, FEW)), plain)


@pytest.mark.slow
def test_from_dlibs_boxes_to_lse_as_declared(video: Path) -> None:
    plain = plain_chain(*plainly(video, LONG), dlib_faces)
    assert [len(track.boxes) for track in plain] == [LONG]
    metric = Lse(SEEDED, dlib_detect(DETECTOR_PARAMETERS))
    assert_equal(scored(metric, media(video, LONG)), plain)
    assert_equal(scored(metric, media(video, LONG), declared.PIPELINE_K5.id), _every_fifth(video, plain))


def _every_fifth(video: Path, plain: list[PlainTrack]) -> list[PlainTrack]:
    """The same clip when only frames 0, 5, ..., 105 are looked at: the boxes between lie on lines."""
    frames, pcm = plainly(video, LONG)
    looked_at = [*range(0, LONG, 5), *({LONG - 1} - set(range(0, LONG, 5)))]
    (track,) = plain

    def faces(index: int, picture: Any) -> list[Any]:
        return [tuple(np.interp(index, looked_at, track.boxes[looked_at, c]) for c in range(4))]

    return plain_chain(frames, pcm, faces)


def test_s3fds_raw_outputs_on_the_clip(video: Path) -> None:
    """What the detector hands to the decoding, picture by picture, beside layers called one by one."""
    network = Recording(lambda index, outputs: outputs)
    detect = make_detector(_Source(network), "cpu", DETECTOR_PARAMETERS)
    frames = media(video, FEW).frames[:: FEW // 2]
    assert [len(boxes) for boxes in detect(frames)] == [0] * len(frames)  # a network without training sees nobody
    state = {name: t.contiguous() for name, t in network.state_dict().items()}
    for picture, (loc, conf, maps) in zip(frames, network.raw, strict=True):
        expected = plain_forward(state, _small(picture))
        assert maps == [tuple(shape) for shape in expected[2]]
        assert (loc - expected[0]).abs().max() <= 1e-5 * loc.abs().max()
        assert (conf - expected[1]).abs().max() <= 2e-5


def _small(picture: Any) -> Any:
    """A quarter of the picture minus the mean, (1, 3, h, w)."""
    small = cv2.resize(picture, None, fx=0.25, fy=0.25).astype(np.float32) - np.float32([123, 117, 104])
    return torch.from_numpy(small).permute(2, 0, 1)[None].contiguous()


class Recording(S3FD):
    """The network filled by rule; keeps its outputs, and lets ``change(index, outputs)`` replace them."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.raw: list[Any] = []
        self._change = change
        WEIGHTS.fill(self, S3FD_WEIGHTS)

    def forward(self, x: Any) -> Any:
        self.raw.append(super().forward(x))
        return self._change(len(self.raw) - 1, self.raw[-1])


class _Source(Seeded):
    """Fills as by rule, and hands out a network of the test's own as S3FD."""

    def __init__(self, detector: S3FD) -> None:
        super().__init__({declared.SYNCNET_WEIGHTS.name: 2.45})
        self._detector = detector

    def fill(self, module: Any, weight: Any) -> Any:
        return self._detector if weight is S3FD_WEIGHTS else super().fill(module, weight)


def with_faces(index: int, outputs: Any) -> Any:
    """The network's outputs with a drifting face written in, and what must not become one.

    Around the face's place are its neighbours, less sure and struck out by the first suppression; another place
    of the same face comes from a coarser map, and is left to the second one; a smaller face is too small for a track;
    and one is less sure than 0.9.
    """
    loc, conf, maps = outputs
    (fine, *_), starts = maps, np.cumsum([0, *(h * w for h, w in maps)])
    assert fine == (14, 14)  # 56 px: a quarter of the clip's 224
    loc, conf = torch.zeros_like(loc), torch.zeros_like(conf)

    def write(level: int, row: int, column: int, sure: float, box: list[float]) -> None:
        place = int(starts[level]) + row * maps[level][1] + column
        loc[0, place], conf[0, place, 1] = torch.tensor(box), sure

    drift = [0.04 * index, -0.03 * index, 0.3 + 0.002 * index, 0.4]
    write(1, 4, 3, 0.97, drift)  # priors of 32 px, a quarter of the face's size in the clip
    write(1, 4, 2, 0.93, drift)
    write(1, 3, 3, 0.80, drift)
    write(2, 2, 1, 0.95, [0.5, 0.5, -1.0, -1.0])
    write(0, 2, 2, 0.96, [0.0, 0.0, 0.0, 0.0])
    write(2, 0, 0, 0.89, [0.0, 0.0, 0.0, 0.0])
    return loc, conf, maps


def from_written_outputs(video: Path, n: int, least: int) -> tuple[Score, list[PlainTrack]]:
    """The score by S3FD with faces written in, and the plain chain from the same outputs."""
    network = Recording(with_faces)
    found = scored(Lse(_Source(network)), media(video, n))
    frames, pcm = plainly(video, n)
    looks: list[int] = []  # an equal frame that follows is not looked at again

    def faces(index: int, picture: Any) -> list[Any]:
        if not index or not np.array_equal(picture, frames[index - 1]):
            looks.append(index)
        loc, conf, maps = with_faces(len(looks) - 1, network.raw[len(looks) - 1])
        return plain_decoded(loc[0].numpy(), conf[0].numpy(), (56, 56), picture.shape[:2], maps)

    plain = plain_chain(frames, pcm, faces, least)
    assert len(network.raw) == len(looks)
    return found, plain


def test_from_s3fds_outputs_to_lse(video: Path, brief: None) -> None:
    found, plain = from_written_outputs(video, FEW, LEAST)
    assert_equal(found, plain)
    (track,) = plain
    assert np.ptp(track.boxes[:, 0]) > 2  # the face moves, so that smoothing has something to do


@pytest.mark.slow
def test_from_s3fds_outputs_to_lse_as_declared(video: Path) -> None:
    assert_equal(*from_written_outputs(video, LONG, 100))


def test_a_network_without_training_ends_in_no_face(video: Path, brief: None) -> None:
    metric = Lse(WEIGHTS)
    metric.load("cpu")
    found = metric.score([MEM.id], media(video, FEW), media(video, FEW), truth())[MEM.id]
    assert isinstance(found, Failure)
    assert found.kind == "no_face"
