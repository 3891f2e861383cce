"""Wav2Lip around its network: what it hears, which box it redraws, what it writes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from bench.api import Unscorable
from bench.faces.boxes import Pads, padded, smoothed, whole
from bench.faces.known import KnownFaces
from bench.faces.paste import crop, network_input, paste, to_levels
from bench.faces.redraw import forth_and_back, looped
from bench.faces.tracks import LONGEST_GAP, place, tracks
from bench.systems.wav2lip import mel as m

# --------------------------------------------------------------------------- what it hears


def reference_mel(samples: np.ndarray) -> np.ndarray:
    """The front end in librosa's words."""
    librosa = pytest.importorskip("librosa")
    x = lfilter([1, -0.97], [1], samples.astype(np.float64))
    spectrum = librosa.stft(x, n_fft=800, hop_length=200, win_length=800, pad_mode="reflect")
    bank = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    level = 20 * np.log10(np.maximum(1e-5, bank @ np.abs(spectrum))) - 20
    return np.clip(8 * ((level + 100) / 100) - 4, -4, 4)


@pytest.mark.parametrize("length", [401, 3000, 9999, 16001])
def test_the_spectrogram_is_librosas(length: int) -> None:
    rng = np.random.default_rng(length)
    samples = (0.2 * rng.standard_normal(length) * np.linspace(0, 1, length) ** 3).astype(np.float32)
    found = m.mel_spectrogram(samples)
    assert found.dtype == np.float32
    assert found.shape == (80, 1 + length // 200)
    np.testing.assert_allclose(found, reference_mel(samples), atol=1e-4)


def test_long_audio_is_worked_in_pieces_without_a_seam() -> None:
    samples = np.random.default_rng(0).standard_normal(200 * 4200).astype(np.float32) * 0.1
    whole_, part = m.mel_spectrogram(samples), m.mel_spectrogram(samples[200 * 2000 : 200 * 2200])
    np.testing.assert_allclose(whole_[:, 2003:2198], part[:, 3:198], atol=1e-5)


def test_silence_is_minus_four() -> None:
    assert (m.mel_spectrogram(np.zeros(4000, np.float32)) == -4).all()


@pytest.mark.parametrize("length", [1, 2, 640, m.LEAST_SAMPLES - 1])
def test_audio_shorter_than_a_window_is_filled_up(length: int) -> None:
    found = m.driving_mel(np.full(length, 0.5, np.float32))
    assert found.shape == (80, m.WINDOW_COLUMNS)
    assert m.windows(found, m.window_starts(found.shape[1], 25)).shape == (2, 1, 80, 16)


@settings(max_examples=80, deadline=None)
@given(st.integers(16, 2000), st.sampled_from([23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 100.0]))
def test_windows_are_those_of_the_official_loop(columns: int, fps: float) -> None:
    expected, index, step = [], 0, 80.0 / fps
    while True:
        start = int(index * step)
        if start + 16 > columns:
            expected.append(columns - 16)
            break
        expected.append(start)
        index += 1
    assert m.window_starts(columns, fps).tolist() == expected
    assert m.window_starts(columns, fps, tail=False).tolist() == expected[:-1]


def test_training_windows_begin_one_frame_earlier() -> None:
    starts = m.window_starts(400, 25)
    assert [m.training_start(frame) for frame in range(1, 6)] == starts[:5].tolist()
    with pytest.raises(ValueError, match="first is frame 1"):
        m.training_start(0)


# --------------------------------------------------------------------------- boxes


def slow_smooth(boxes: np.ndarray, length: int) -> np.ndarray:
    rows = [list(map(int, row)) for row in boxes]
    for i in range(len(rows)):
        window = rows[len(rows) - length :] if i + length > len(rows) else rows[i : i + length]
        rows[i] = [int(sum(column) / len(column)) for column in zip(*window, strict=True)]
    return np.array(rows)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_smoothing_is_the_sources(count: int, length: int, seed: int) -> None:
    boxes = np.random.default_rng(seed).integers(0, 300, (count, 4))
    assert smoothed(boxes, length).tolist() == slow_smooth(boxes, length).tolist()


def test_smoothing_leaves_its_input_alone_and_takes_nothing() -> None:
    boxes = np.arange(24).reshape(6, 4)
    before = boxes.copy()
    smoothed(boxes)
    assert (boxes == before).all()
    assert smoothed(np.zeros((0, 4), np.int64)).shape == (0, 4)


def test_pads_stay_in_the_picture() -> None:
    boxes = np.array([[2, 3, 90, 95], [10, 20, 30, 40]])
    assert padded(boxes, Pads(5, 10, 4, 20), (100, 100)).tolist() == [[0, 0, 100, 100], [6, 15, 50, 50]]
    assert whole(np.array([[-3.7, 2.9, 5.0, 6.99]])).tolist() == [[0, 2, 5, 6]]


# --------------------------------------------------------------------------- tracks


def face(x: float, y: float, side: float, score: float = 0.9) -> tuple[float, ...]:
    return (x, y, x + side, y + side, score)


def rows(*faces: tuple[float, ...]) -> np.ndarray:
    return np.array(faces, np.float64).reshape(-1, 5)


NO_PADS = Pads(0, 0, 0, 0)


def test_the_best_face_of_each_frame_and_a_frame_without_one() -> None:
    found = [rows(face(10, 10, 20), face(50, 50, 40, 0.6))] * 3
    placed = place(found, (100, 100), NO_PADS)
    assert placed.present.all()
    assert placed.boxes.tolist() == [[10, 10, 30, 30]] * 3
    with pytest.raises(Unscorable, match="1 of 4 frames without a face, frame 3") as caught:
        place([*found, rows()], (100, 100), NO_PADS)
    assert caught.value.kind == "no_face"


def test_the_largest_track_is_number_0() -> None:
    """The order of detections changes from frame to frame; the tracks do not."""
    near, far = [face(50 + t, 40, 40, 0.8) for t in range(6)], [face(5, 5 + t, 20, 0.9) for t in range(6)]
    found = [rows(far[t], near[t]) if t % 2 else rows(near[t], far[t]) for t in range(6)]
    first = place(found, (100, 100), NO_PADS, face=0, smooth=False)
    second = place(found, (100, 100), NO_PADS, face=1, smooth=False)
    assert first.boxes[:, 0].tolist() == [50, 51, 52, 53, 54, 55]
    assert second.boxes[:, 1].tolist() == [5, 6, 7, 8, 9, 10]
    with pytest.raises(Unscorable, match="no face 2: the video has 2 tracks"):
        place(found, (100, 100), NO_PADS, face=2)


def test_short_gaps_are_filled_and_long_ones_stay() -> None:
    away = LONGEST_GAP
    seen = [rows(face(10, 10, 30))]
    found = [*seen, *[rows()] * away, rows(face(16, 10, 30)), *[rows()] * (away + 1), *seen]
    placed = place(found, (100, 100), NO_PADS, face=0, smooth=False)
    assert placed.present.tolist() == [True] * (away + 2) + [False] * (away + 1) + [True]
    assert placed.boxes[: away + 2, 0].tolist() == [10, 11, 12, 13, 14, 15, 16]
    assert len(tracks(found)) == 1


def test_smoothing_does_not_reach_over_a_gap() -> None:
    found = [*[rows(face(0, 0, 30))] * 6, *[rows()] * 9, *[rows(face(10, 0, 30))] * 6]
    placed = place(found, (100, 100), NO_PADS, face=0)
    assert set(placed.boxes[:6, 0].tolist()) == {0}
    assert set(placed.boxes[15:, 0].tolist()) == {10}


def test_a_face_beyond_the_border() -> None:
    found = [rows(face(120, 10, 30))] * 2
    with pytest.raises(Unscorable, match="outside the picture"):
        place(found, (100, 100), NO_PADS)
    assert not place(found, (100, 100), NO_PADS, face=0).present.any()


def test_a_video_is_searched_once_per_key() -> None:
    looked: list[int] = []

    def detect(frames: np.ndarray) -> list[np.ndarray]:
        looked.append(len(frames))
        return [rows(face(float(f[0, 0, 0]), 0, 10)) for f in frames]

    known = KnownFaces(detect)
    frames = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((6, 4, 4, 3), np.uint8)
    assert [f[0, 0] for f in known.of(frames[:4], "a")] == [0, 1, 2, 3]
    assert [f[0, 0] for f in known.of(frames, "a")] == [0, 1, 2, 3, 4, 5]
    assert len(known.of(frames[:2], "a")) == 2
    known.of(frames[:2], "b")
    known.of(frames[:2], None)
    known.of(frames[:2], None)
    assert looked == [4, 2, 2, 2, 2]


# --------------------------------------------------------------------------- crop and paste


def test_the_lower_half_of_the_pose_is_black() -> None:
    faces = np.random.default_rng(0).integers(1, 256, (2, 8, 8, 3), np.uint8)
    seen = network_input(faces)
    assert seen.shape == (2, 6, 8, 8)
    assert (seen[:, :3, 4:] == 0).all()
    assert (seen[:, :3, :4] == seen[:, 3:, :4]).all()
    assert (seen[:, 3:].transpose(0, 2, 3, 1) == faces).all()


def test_division_in_float32_is_the_sources_in_float64() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert (levels.astype(np.float32) / np.float32(255) == (levels / 255.0).astype(np.float32)).all()


def test_levels_are_cut_off_or_rounded() -> None:
    values = np.array([0.0, 0.999, 1.0, 1.6 / 255], np.float32).reshape(1, 1, 2, 2).repeat(3, axis=1)
    assert to_levels(values)[0, :, :, 0].ravel().tolist() == [0, 254, 255, 1]
    assert to_levels(values, rounded=True)[0, :, :, 0].ravel().tolist() == [0, 255, 255, 2]


def test_a_pasted_crop_of_the_networks_size_changes_nothing() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    box = (7, 5, 39, 37)
    again = frame.copy()
    paste(again, crop(frame, box, 32), box)
    assert (again == frame).all()


def test_a_feathered_edge_goes_over_smoothly_and_only_inside() -> None:
    frame = np.zeros((40, 40, 3), np.uint8)
    paste(frame, np.full((8, 8, 3), 200, np.uint8), (10, 10, 40, 30), feather=4)
    row = frame[20, :, 0].astype(int)
    assert row[:10].tolist() == [0] * 10
    assert row[10:15].tolist() == [40, 80, 120, 160, 200]
    assert (row[14:] == 200).all()  # the box ends at the border: nothing to go over to
    assert frame[:10].max() == frame[30:].max() == 0


def test_orders_of_frames() -> None:
    assert looped(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert forth_and_back(8, 3).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert forth_and_back(3, 1).tolist() == [0, 0, 0]
    assert forth_and_back(2, 5).tolist() == [0, 1]
