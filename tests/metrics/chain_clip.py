"""A demo clip for the tests of whole chains: as the metrics read it, and as libav and the standard library do."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from bench.espeak import available
from bench.media import Media, Source
from bench.media.picture import rgb

START = 30  # the stretches of the clip that are scored begin here, in the first sentence


def write_demo_clip(root: Path) -> Path:
    """The first clip of the demo's ``test-long``: 150 frames of 224x224 px, and a WAV of 16 kHz beside."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if missing := available():
        pytest.skip(missing[0])
    from bench.datasets.demo.clip_files import clip_path, write_clip
    from bench.datasets.demo.sentences import plan_corpus

    plan = plan_corpus()["test-long"][0]
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with threadpoolctl.threadpool_limits(1):
        write_clip(root, plan)
    cv2.setNumThreads(before)
    return clip_path(root, plan, "mp4")


def media(path: Path, n: int) -> Media:
    """The stretch of ``n`` frames."""
    at = START / 25, (START + n) / 25
    return Media(Source(path, *at), Source(path.with_suffix(".wav"), *at), f"{n:064d}")


def pictures_of(path: Path) -> Any:
    """Every picture of a file, uint8 (T, H, W, 3)."""
    with av.open(str(path)) as container:
        return np.stack([rgb(frame) for frame in container.decode(video=0)])


def plainly(path: Path, n: int) -> tuple[Any, Any]:
    """The same stretch: pictures, and the WAV's 16-bit samples."""
    with wave.open(str(path.with_suffix(".wav"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return pictures_of(path)[START : START + n], pcm[640 * START : 640 * (START + n)]
