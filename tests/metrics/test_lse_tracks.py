"""Cuts, tracks and crops against literal loops."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.signal import medfilt

from bench.api import Unscorable
from bench.metrics.lse.face_crop import CropRules, crop_path, cut_out, resized
from bench.metrics.lse.s3fd_declare import CROP, SCENES, TRACK
from bench.metrics.lse.scenes import SceneCuts, SceneRules
from bench.metrics.lse.tracks import TrackRules, face_tracks, iou, looked_at

RULES = TrackRules.of(TRACK)
SCENE_RULES = SceneRules.of(SCENES)
CROP_RULES = CropRules.of(CROP)


def shots(lengths: list[int], size: tuple[int, int] = (20, 24), seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    base = [rng.integers(0, 256, (*size, 3)) for _ in lengths]
    frames = [
        picture + rng.normal(0, 2, picture.shape) for picture, n in zip(base, lengths, strict=True) for _ in range(n)
    ]
    return np.clip(frames, 0, 255).astype(np.uint8)


def plain_values(frames: Any, step: int) -> list[float]:
    before, values = None, []
    for frame in frames:
        hsv = cv2.cvtColor(np.ascontiguousarray(frame[::step, ::step, ::-1]), cv2.COLOR_BGR2HSV).astype(np.int32)
        values.append(
            0.0 if before is None else float(np.mean([np.abs(hsv[..., c] - before[..., c]).mean() for c in range(3)]))
        )
        before = hsv
    return values


@pytest.mark.parametrize("width", [24, 400, 620])
def test_content_values(width: int) -> None:
    frames = shots([3, 3], (18, width))
    found = SceneCuts(SCENE_RULES)
    found.feed(frames)
    step = {24: 1, 400: 2, 620: 3}[width]
    assert np.allclose(found.values, plain_values(frames, step), rtol=1e-12)
    assert found.cuts == [3]


def test_pieces_make_no_difference_and_close_cuts_do_not_count() -> None:
    frames = shots([6, 10, 20, 3])  # changes at 6, 16, 36: the second is too near to the first
    whole, pieces = SceneCuts(SCENE_RULES), SceneCuts(SCENE_RULES)
    whole.feed(frames)
    for k in range(0, len(frames), 4):
        pieces.feed(frames[k : k + 4])
    assert whole.cuts == pieces.cuts == [6, 36]
    assert whole.values == pieces.values
    assert whole.scenes(1) == [(0, 6), (6, 36), (36, 39)]
    assert whole.scenes(6) == [(0, 6), (6, 36)]


def test_width_steps() -> None:
    assert [SCENE_RULES.step(w) for w in (399, 400, 599, 600, 900, 1280, 1920, 2100, 3840)] == [
        1,
        2,
        2,
        3,
        4,
        5,
        6,
        8,
        12,
    ]


def plain_tracks(
    found: list[tuple[int, list[Any]]], most_gap: int = 25, least: int = 100, size: float = 100
) -> list[Any]:
    """Section 4.5 as loops over lists that shrink while they are walked over."""
    lists = [[(frame, box) for box in boxes] for frame, boxes in found]
    tracks = []
    while True:
        track: list[Any] = []
        for faces in lists:
            for face in faces:
                if not track:
                    track.append(face)
                    faces.remove(face)
                elif face[0] - track[-1][0] <= most_gap:
                    if iou(face[1], track[-1][1]) > 0.5:
                        track.append(face)
                        faces.remove(face)
                else:
                    break
        if not track:
            return tracks
        if len(track) > least:
            numbers, boxes = np.array([f for f, _ in track]), np.array([b for _, b in track])
            every = np.arange(numbers[0], numbers[-1] + 1)
            boxes = np.stack([interp1d(numbers, boxes[:, k])(every) for k in range(4)], 1)
            if max(np.mean(boxes[:, 2] - boxes[:, 0]), np.mean(boxes[:, 3] - boxes[:, 1])) > size:
                tracks.append((every, boxes))


def random_scene(seed: int) -> list[tuple[int, list[Any]]]:
    """Two or three drifting faces, often overlapping, with misses, doubles and gaps."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(150, 260, (3, 2))
    sides = rng.choice([90.0, 110.0, 130.0], 3)
    found = []
    for frame in range(260):
        centres += rng.normal(0, 1.5, centres.shape)
        boxes = []
        for k in rng.permutation(3):
            gone = 100 < frame < 100 + 12 * (seed % 4) and k == 0
            for _ in range(0 if gone or rng.random() < 0.1 else rng.choice([1, 1, 1, 2])):
                x, y = centres[k] + rng.normal(0, 3, 2)
                boxes.append((x - sides[k] / 2, y - sides[k] / 2, x + sides[k] / 2, y + sides[k] / 2))
        found.append((frame, boxes))
    return found


def arrays(found: list[tuple[int, list[Any]]]) -> list[tuple[int, Any]]:
    return [(frame, np.array(boxes, float).reshape(-1, 4)) for frame, boxes in found]


@pytest.mark.parametrize("seed", range(6))
def test_tracks_equal_the_loops_of_the_source(seed: int) -> None:
    found = random_scene(seed)
    ours = face_tracks(arrays(found), TrackRules.of(TRACK, keep_duplicates=True))
    expected = plain_tracks(found)
    assert len(ours) == len(expected) > 0
    for track, (frames, boxes) in zip(ours, expected, strict=True):
        assert np.array_equal(track.frames, frames)
        assert np.allclose(track.boxes, boxes, atol=1e-12, rtol=0)


def steady(frames: Any, x: float = 50, side: float = 120) -> list[tuple[int, Any]]:
    return [(int(f), np.array([[x, 40, x + side, 40 + side, 0.99]])) for f in frames]


def test_lengths_gaps_and_sizes() -> None:
    assert face_tracks(steady(range(100)), RULES) == []
    (track,) = face_tracks(steady(range(101)), RULES)
    assert (track.detections, track.duplicates, len(track.frames)) == (101, 0, 101)
    near = [*range(60), *range(84, 130)]  # the 25th frame after the last one
    assert [len(t.frames) for t in face_tracks(steady(near), RULES)] == [130]
    assert face_tracks(steady([*range(60), *range(85, 131)]), RULES) == []
    assert face_tracks(steady(range(120), side=100), RULES) == []
    assert face_tracks([], RULES) == [] and face_tracks([(k, np.zeros((0, 5))) for k in range(200)], RULES) == []


def test_a_second_box_of_a_frame_is_dropped_and_counted() -> None:
    found = [(f, np.array([[50, 40, 170, 160], [400, 40, 500, 160], [58, 40, 178, 160]], float)) for f in range(102)]
    (track,) = (t for t in face_tracks(found, RULES) if t.boxes[0, 0] < 100)
    assert track.detections == 102 and track.duplicates == 102
    assert np.array_equal(track.boxes, np.tile([50.0, 40, 170, 160], (102, 1)))
    kept = face_tracks(found, TrackRules.of(TRACK, keep_duplicates=True))
    assert kept[0].detections == 204
    assert kept[0].boxes[3, 0] == 58  # what the source makes of it


def test_missed_frames_are_filled_linearly() -> None:
    found = [*steady(range(101)), (111, np.array([[70.0, 60, 190, 180]]))]
    (track,) = face_tracks(found, RULES)
    assert np.allclose(track.boxes[101:, 0] - 50, np.arange(1, 12) * 20 / 11)


def test_every_fifth_frame() -> None:
    assert looked_at((3, 16), 5) == [3, 8, 13, 15] and looked_at((0, 11), 5) == [0, 5, 10]
    assert looked_at((4, 7), 1) == [4, 5, 6] and looked_at((4, 5), 5) == [4]
    fifth = TrackRules.of(TRACK, step=5)
    assert face_tracks(steady(looked_at((0, 100), 5)), fifth) == []
    (track,) = face_tracks(steady(looked_at((0, 101), 5)), fifth)
    assert (track.detections, len(track.frames)) == (101, 101)
    missed = [f for f in looked_at((0, 105), 5) if f != 50]  # its ten frames count as one
    assert face_tracks(steady(missed), fifth) == []
    missed = [f for f in looked_at((0, 111), 5) if f != 50]
    assert face_tracks(steady(missed), fifth)[0].detections == 102
    moving = [(f, np.array([[50 + 2.0 * f, 40, 170 + 2 * f, 160]])) for f in looked_at((0, 120), 5)]
    assert np.allclose(face_tracks(moving, fifth)[0].boxes[:, 0], 50 + 2 * np.arange(120))


def test_boxes_without_area_do_not_overlap() -> None:
    assert iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0.0


def plain_crop(picture: Any, boxes: Any, index: int) -> Any:
    """Section 4.6 with the bordered picture built as a whole."""
    s = medfilt([max(b[3] - b[1], b[2] - b[0]) / 2 for b in boxes], 13)[index]
    x = medfilt([(b[0] + b[2]) / 2 for b in boxes], 13)[index]
    y = medfilt([(b[1] + b[3]) / 2 for b in boxes], 13)[index]
    pad = int(s * 1.8)
    bordered = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    face = bordered[int(y + pad - s) : int(y + pad + s * 1.8), int(x + pad - s * 1.4) : int(x + pad + s * 1.4)]
    return face


@pytest.mark.parametrize("seed", range(5))
def test_crops_equal_slices_of_the_bordered_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (70, 90, 3)).astype(np.uint8)
    corner = rng.uniform(-20, 60, 2) + rng.normal(0, 3, (30, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 45, (30, 2))], 1)
    path = crop_path(boxes, CROP_RULES)
    for index in (0, 3, 15, 29):
        face = cut_out(picture, path.rects[index], 110)
        expected = plain_crop(picture, boxes, index)
        assert np.array_equal(face, expected)
        assert np.array_equal(resized(face, 224), cv2.resize(expected, (224, 224)))


def test_the_ends_of_a_track_are_pulled_down() -> None:
    boxes = np.stack([np.array([x, 10, x + 40, 60]) for x in np.arange(30.0, 70)])
    path = crop_path(boxes, CROP_RULES)
    assert path.x[0] == 50 and path.x[20] == 70 and path.x[-1] == 83  # the smallest of the seven there


def test_a_face_outside_of_the_picture() -> None:
    with pytest.raises(Unscorable, match="no_track"):
        cut_out(np.zeros((50, 50, 3), np.uint8), np.array([10, 80, 90, 5, 30]), 110)


def test_an_absurd_box_fails_before_its_memory_is_asked_for() -> None:
    picture = np.zeros((90, 120, 3), np.uint8)
    with pytest.raises(Unscorable, match="no face in a picture of 120x90") as caught:
        cut_out(picture, np.array([100_000, 0, 200_000, 0, 200_000]), 110)
    assert caught.value.kind == "no_track"
