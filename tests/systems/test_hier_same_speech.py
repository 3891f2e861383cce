"""``t2av`` says what ``tts`` says with the same words, voice and seed: what the papers' tables rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hier_small import loaded, samples, tts, voice
from system_helpers import make_clip

from bench.api import Request

pytest.importorskip("espeakng_loader")
BOX = (12.0, 6.0, 44.0, 40.0)


def one_box(pictures: np.ndarray) -> list[np.ndarray]:
    return [np.array([(*BOX, 0.9)]) for _ in pictures]


def test_the_speech_of_both_tasks_is_one(tmp_path: Path) -> None:
    text = "Bin red."
    clip = make_clip(tmp_path, "one", frames=9)
    assert clip.clip.video is not None
    reference = voice(tmp_path)
    made = loaded(one_box, silent="off", smooth=False)
    request = Request("k", "t2av", 7, text=text, voice=reference, identity=clip.clip.video.path, identity_key="id")
    alone, both = (samples(found) for found in made.generate([tts(reference, text), request]))
    assert 0 <= len(alone) - len(both) <= 320, "an odd feature has no frame"
    same = len(both) - 2 * 320  # before the end is faded out
    assert same > 3200
    assert np.abs(alone[:same] - both[:same]).max() * 32768 <= 2, "they are made in one batch: rounding"
    other = samples(made.generate([tts(reference, text, seed=8)])[0])
    assert len(other) != len(alone) or not np.array_equal(other, alone)
