"""The chain that no golden joins: picture, five points, alignment, ArcFace, CSIM, on a demo clip's files.

The generated side is the clip at a quarter of its resolution, written and read as any output. The plain version calls
dlib, scikit-image, OpenCV and the network as published, picture by picture (:func:`plain_embedding`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain_clip import media, pictures_of, plainly, write_demo_clip
from test_nets_arcface import GAIN, LAYERS, WEIGHTS, plain_embedding
from video_helpers import truth

from bench.api import Score
from bench.detfill import fill_module
from bench.media import Media, Source, write_video
from bench.metrics.csim.arcface import ARCFACE, CsimArcface
from bench.metrics.csim.arcface_net import IResNet
from bench.systems.baselines.pictures import quarter_and_back

FRAMES = 6


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip's video file."""
    return write_demo_clip(tmp_path_factory.mktemp("demo"))


@pytest.fixture(autouse=True)
def _models_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain version makes dlib's models anew for every picture; 100 MB each time."""
    dlib = pytest.importorskip("dlib")
    for name in ("get_frontal_face_detector", "shape_predictor"):
        monkeypatch.setattr(dlib, name, lru_cache(getattr(dlib, name)))


def compare(video: Path, folder: Path, layers: Any, n: int) -> None:
    """CSIM of ``n`` frames through files and :class:`Media`, and plainly; equal to 1e-5."""
    reference, _ = plainly(video, n)
    path = folder / "generated.mp4"
    write_video(path, quarter_and_back(reference), audio=None)
    generated = pictures_of(path)
    network = fill_module(IResNet(layers, 512), GAIN).eval()
    cosines = []
    for made, real in zip(generated, reference, strict=True):
        a, b = (plain_embedding(np.ascontiguousarray(p), network).astype(float) for p in (made, real))
        cosines.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    found = CsimArcface(WEIGHTS).score(
        [ARCFACE.id], Media(Source(path), None, "b" * 64), media(video, n), truth(own_length=False)
    )[ARCFACE.id]
    assert isinstance(found, Score)
    assert found.values["csim"] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert (found.parts["n_frames"], found.parts["n_frames_noface"]) == (n, 0)
    assert min(cosines) < 0.9999  # the case could fail


def test_with_few_layers(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCFACE.parameters, "network", {"layers": list(LAYERS), "num_features": 512})  # type: ignore[arg-type]
    compare(video, tmp_path, LAYERS, FRAMES)


@pytest.mark.slow
def test_with_the_network_as_declared(video: Path, tmp_path: Path) -> None:
    compare(video, tmp_path, ARCFACE.parameters["network"]["layers"], 3)
