"""The talking face in its frame: no edge where the box ends, and a middle that is the network's alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import frames, loaded
from system_helpers import make_clip

from bench import media
from bench.api import Request, Source
from bench.faces.paste import paste
from bench.systems.hierspeech.options import HierSpeechOptions
from bench.systems.wav2lip.options import Wav2LipOptions

BOX = (40, 24, 130, 120)
SIZE = (144, 176)  # height, width
DEFAULT = HierSpeechOptions().feather


class Detector:
    """One box in every frame."""

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        return [np.array([(*map(float, BOX), 0.9)]) for _ in pictures]


def added_step(made: np.ndarray, true: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """How much steeper the picture is across the box's four borders than the video it was drawn into, in levels.

    Pictures (H, W, 3); the mean of absolute differences of the pixels on both sides of the border.
    """
    x1, y1, x2, y2 = box

    def steepness(picture: np.ndarray) -> float:
        p = picture.astype(int)
        across = [p[y1:y2, x1] - p[y1:y2, x1 - 1], p[y1:y2, x2] - p[y1:y2, x2 - 1]]
        down = [p[y1, x1:x2] - p[y1 - 1, x1:x2], p[y2, x1:x2] - p[y2 - 1, x1:x2]]
        return float(np.abs(np.concatenate(across + down)).mean())

    return steepness(made) - steepness(true)


def steepest_change(made: np.ndarray, true: np.ndarray) -> int:
    """The largest difference between neighbours of what was changed, in levels."""
    change = made.astype(int) - true
    return max(int(np.abs(np.diff(change, axis=axis)).max()) for axis in (0, 1))


def picture(low: int = 60, high: int = 200) -> np.ndarray:
    """A smooth picture (144, 176, 3), brighter to the right."""
    ramp = np.linspace(low, high, SIZE[1])[None, :, None]
    return np.broadcast_to(ramp, (*SIZE, 3)).astype(np.uint8)


def pasted(true: np.ndarray, by: int, feather: int, box: tuple[int, int, int, int] = BOX) -> np.ndarray:
    """``true`` with what is in the box too bright by ``by``."""
    x1, y1, x2, y2 = box
    made = true.copy()
    paste(made, (true[y1:y2, x1:x2].astype(int) + by).astype(np.uint8), box, feather)
    return made


@pytest.mark.parametrize("by", [-40, 40])
def test_a_face_of_another_brightness_has_no_edge_in_the_default(by: int) -> None:
    true = picture()
    hard, soft = pasted(true, by, 0), pasted(true, by, DEFAULT)
    assert abs(added_step(hard, true, BOX)) > 30  # the measure sees the edge
    assert abs(added_step(soft, true, BOX)) < 3
    assert steepest_change(hard, true) == 40
    assert steepest_change(soft, true) <= 3  # nor is there one further inside
    x1, y1, x2, y2 = BOX
    inner = (slice(y1 + DEFAULT, y2 - DEFAULT), slice(x1 + DEFAULT, x2 - DEFAULT))
    assert np.array_equal(soft[inner], hard[inner])


@pytest.mark.parametrize("side", [5, 20, 47])
def test_a_small_face_keeps_a_middle_of_its_own(side: int) -> None:
    true, box = picture(100, 100), (60, 50, 60 + side, 50 + side)
    made = pasted(true, 50, DEFAULT, box)
    edge = side // 4
    middle = made[50 + edge : 50 + side - edge, 60 + edge : 60 + side - edge]
    assert len(middle) >= side / 2
    assert (middle == 150).all()
    assert (made[50, 60] < 150).all()


def test_a_face_of_three_pixels_is_written_as_it_is() -> None:
    true, box = picture(100, 100), (60, 50, 63, 53)
    assert np.array_equal(pasted(true, 50, DEFAULT, box), pasted(true, 50, 0, box))


def test_wav2lip_stays_as_its_source_has_it() -> None:
    assert "feather" not in Wav2LipOptions.model_fields
    assert DEFAULT > 0


def drawn(folder: Path, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the small system makes of a clip, and the clip."""
    made = make_clip(folder, "one", frames=3, size=SIZE).clip
    assert made.video is not None and made.audio is not None
    system = loaded(Detector(), silent="off", smooth=False, pads="0,0,0,0", **settings)
    request = Request("k", "a2v", 1, audio=made.audio.path, identity=made.video.path, n_frames=3)
    return frames(system.generate([request])[0]), media.decode_video(Source(made.video.path)).frames


def test_the_system_draws_without_an_edge_unless_told_to(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        soft, true = drawn(tmp_path)
        hard, _ = drawn(tmp_path, feather=0)
    finally:
        torch.set_num_threads(before)
    assert added_step(hard[0], true[0], BOX) > 20
    assert added_step(soft[0], true[0], BOX) < 5
    assert np.array_equal(soft[:, :20], true[:, :20])
