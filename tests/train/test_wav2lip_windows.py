"""Which frames and which speech a training step of Wav2Lip sees (tfg.md 1.9)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.api import DataError, Unscorable
from bench.systems.wav2lip.crops import FaceClip
from bench.systems.wav2lip.training_data import Windows

COLUMNS = 130


@pytest.fixture
def clips(tmp_path: Path) -> list[FaceClip]:
    """Two clips whose faces show their clip and frame, and whose speech is its column's number."""
    return [make(tmp_path, 0, [*range(20), *range(26, 40)]), make(tmp_path, 1, list(range(3, 30)))]


def make(folder: Path, number: int, frames: list[int], columns: int = COLUMNS) -> FaceClip:
    shown, heard = folder / f"{number}.faces.npy", folder / f"{number}.mel.npy"
    faces = np.zeros((len(frames), 8, 8, 3), np.uint8)
    faces[..., 0] = np.array(frames)[:, None, None]
    faces[..., 1] = number
    np.save(shown, faces)
    np.save(heard, np.tile(np.arange(columns, dtype=np.float32) + 1000 * number, (80, 1)))
    return FaceClip(shown, heard, np.array(frames), columns)


def windows_of(clips: list[FaceClip], told: list[int] | None = None, asked: list[int] | None = None) -> Windows:
    """``asked`` are the clips that were prepared, ``told`` those that are left out."""

    def clip(number: int) -> FaceClip:
        (asked if asked is not None else []).append(number)
        return clips[number]

    def left_out(number: int, error: Unscorable) -> None:
        (told if told is not None else []).append(number)

    return Windows(len(clips), clip, left_out)


def shown(window: torch.Tensor) -> tuple[int, list[int]]:
    """Clip and frames of faces (3, 5, S, S)."""
    return int(window[1, 0, 0, 0]), [int(frame) for frame in window[0, :, 0, 0]]


def begins(mel: torch.Tensor, clip: int) -> int:
    """The first column of a window (1, 80, 16), which must be sixteen in a row."""
    columns = mel[0, 0] - 1000 * clip
    assert torch.equal(columns, columns[0] + torch.arange(16.0))
    return int(columns[0])


def test_target_reference_and_speech_of_the_generator(clips: list[FaceClip]) -> None:
    batch = windows_of(clips).faces(np.random.default_rng(2), 700)
    seen = set()
    for mels, mel, true, reference in zip(*batch, strict=True):
        clip, frames = shown(true)
        assert frames == list(range(frames[0], frames[0] + 5)) and frames[0] >= 1
        assert set(frames) <= set(clips[clip].frames.tolist())
        other, others = shown(reference)
        assert other == clip and others != frames and others == list(range(others[0], others[0] + 5))
        assert [begins(one, clip) for one in mels] == [int(80 * (frame - 1) / 25) for frame in frames]
        assert begins(mel, clip) == int(80 * frames[0] / 25)
        seen.add((clip, frames[0]))
    last = (COLUMNS - 16) * 25 / 80 - 3  # the speech of the window's last frame is whole
    wanted = {(0, f) for f in [*range(1, 16), *range(26, 36)] if f <= last} | {(1, f) for f in range(3, 26)}
    assert seen == wanted


def test_half_of_the_experts_pairs_belong_together(clips: list[FaceClip]) -> None:
    batch = windows_of(clips).sync(np.random.default_rng(1), 400)
    assert 150 < batch.label.sum() < 250
    for mel, faces, label in zip(*batch, strict=True):
        clip, frames = shown(faces)
        same = begins(mel, clip) == int(80 * frames[0] / 25)
        assert same == bool(label)


def test_a_batch_is_a_function_of_its_generator(clips: list[FaceClip]) -> None:
    one, again, other = (windows_of(clips).faces(np.random.default_rng(seed), 6) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.true, other.true)


def test_clips_without_two_windows_or_speech_are_told_once_and_never_drawn(
    clips: list[FaceClip], tmp_path: Path
) -> None:
    torn = make(tmp_path, 2, list(range(0, 60, 2)))
    silent = make(tmp_path, 3, list(range(20)), columns=16)
    told: list[int] = []
    windows = windows_of([torn, *clips, silent], told)
    drawn = {shown(true)[0] for true in windows.faces(np.random.default_rng(0), 40).true}
    assert drawn == {0, 1} and sorted(told) == [0, 3]
    windows.sync(np.random.default_rng(1), 40)
    assert sorted(told) == [0, 3]
    with pytest.raises(DataError, match="none of 2 clips"):
        windows_of([torn, silent]).sync(np.random.default_rng(0), 2)


def test_clips_are_prepared_when_they_are_first_drawn(clips: list[FaceClip]) -> None:
    asked: list[int] = []
    windows = windows_of([*clips] * 50, asked=asked)
    assert asked == []
    windows.faces(np.random.default_rng(3), 8)
    assert 1 <= len(asked) <= 8
    windows.faces(np.random.default_rng(3), 8)  # the same ones: nothing anew
    assert len(asked) == len(set(asked)) <= 8
