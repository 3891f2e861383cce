"""The naive way to score: each metric opens and decodes its files itself, and finds its faces itself.

Written from the definitions (metrics.md 2 and 6 to 9) on the reference libraries: scikit-image, dlib's
Python API, the Resemblyzer package. Nothing of ``bench.metrics`` is used. What is given to it for
nothing: models are loaded once per process (the published scripts load them per clip), and videos are
decoded by ``bench.media``, so that both ways see the same pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.media import decode_video
from bench.records import Source

Frames = NDArray[np.uint8]
EVERY = 5  # frames between two descriptors


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def _model(name: str) -> str:
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise RuntimeError("the package face-recognition-models is not installed")
    return str(Path(package.origin).parent / "models" / name)


@cache
def _shape() -> Any:
    import dlib

    return dlib.shape_predictor(_model("shape_predictor_68_face_landmarks.dat"))


@cache
def _recogniser() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(_model("dlib_face_recognition_resnet_model_v1.dat"))


@cache
def _voice_encoder() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder

        return VoiceEncoder("cpu", verbose=False)


def _pair(output: Path, reference: Path) -> tuple[Frames, Frames]:
    """Frames of both files on the 25 fps grid, over the common length."""
    generated, expected = decode_video(Source(output)).frames, decode_video(Source(reference)).frames
    n = min(len(generated), len(expected))
    return generated[:n], expected[:n]


def _grey(picture: Frames) -> Frames:
    import cv2

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _largest(found: Any) -> Any:
    """The face of the greatest area, the leftmost on ties; ``None`` where there is none."""
    return min(found, key=lambda box: (-box.area(), box.left(), box.top()), default=None)


def _last(found: Any) -> Any:
    return found[-1] if len(found) else None


def _marked(picture: Frames, choose: Callable[[Any], Any]) -> Any:
    """The 68 landmarks of the chosen face as dlib gives them, ``None`` without a face."""
    picture = np.ascontiguousarray(picture)
    box = choose(_detector()(picture, 1))
    return None if box is None else _shape()(picture, box)


def _points(shape: Any) -> NDArray[np.float64]:
    return np.array([(point.x, point.y) for point in shape.parts()], np.float64)


def _regions(generated: Frames, expected: Frames, face: bool) -> list[tuple[Frames, Frames]]:
    """Pairs of pictures; with ``face`` the part inside the largest face of the reference."""
    if not face:
        return list(zip(generated, expected, strict=True))
    pairs = []
    for gen, ref in zip(generated, expected, strict=True):
        box = _largest(_detector()(np.ascontiguousarray(ref), 1))
        if box is None:
            continue
        rows = slice(max(box.top(), 0), box.bottom() + 1)
        columns = slice(max(box.left(), 0), box.right() + 1)
        pairs.append((gen[rows, columns], ref[rows, columns]))
    return pairs


def ssim(output: Path, reference: Path, *, grey: bool = False, uniform: bool = False, face: bool = False) -> float:
    """``ssim/skimage-gaussian@1`` and its forms: mean over frames of scikit-image's function."""
    from skimage.metrics import structural_similarity

    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    form: dict[str, Any] = {"data_range": 255, **({} if uniform else gaussian)}
    values = []
    for gen, ref in _regions(*_pair(output, reference), face):
        one, other = (_grey(ref), _grey(gen)) if grey else (ref, gen)
        values.append(structural_similarity(one, other, **form, channel_axis=None if grey else -1))
    return float(np.mean(values))


def psnr(output: Path, reference: Path, *, grey: bool = False, face: bool = False) -> float:
    """``psnr/rgb@1`` and its forms: mean over frames, identical frames as 100 dB."""
    from skimage.metrics import peak_signal_noise_ratio

    values = []
    for gen, ref in _regions(*_pair(output, reference), face):
        one, other = (_grey(ref), _grey(gen)) if grey else (ref, gen)
        equal = np.array_equal(one, other)
        values.append(100.0 if equal else min(100.0, peak_signal_noise_ratio(one, other, data_range=255)))
    return float(np.mean(values))


def secs(output: Path, reference: Path) -> float:
    """``secs/resemblyzer@1``: cosine of the embeddings that the package makes of the two WAV files."""
    import torch

    encoder = _voice_encoder()
    from resemblyzer import preprocess_wav

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (encoder.embed_utterance(preprocess_wav(path)).astype(np.float64) for path in (output, reference))
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def lmd(output: Path, reference: Path, *, unit: str = "iod") -> float:
    """``lmd/mouth20-iod@1`` (``unit="iod"``), ``lmd/mouth20-px@1`` (``px``) and ``lmd/atvg-dlib68@1`` (``sum``)."""
    values = []
    for gen, ref in zip(*_pair(output, reference), strict=True):
        if unit == "sum":
            found = [_marked(_grey(picture), _last) for picture in (gen, ref)]
        else:
            found = [_marked(picture, _largest) for picture in (gen, ref)]
        if None in found:
            continue
        one, other = (_points(shape) for shape in found)
        mouths = [points[48:68] - points[48:68].mean(axis=0) for points in (one, other)]
        distances = np.linalg.norm(mouths[0] - mouths[1], axis=1)
        eyes = np.linalg.norm(other[36:42].mean(axis=0) - other[42:48].mean(axis=0))
        values.append({"sum": distances.sum(), "px": distances.mean(), "iod": distances.mean() / eyes * 100.0}[unit])
    return float(np.mean(values))


def csim(output: Path, reference: Path) -> float:
    """``csim/dlib-resnet@1``: cosine of dlib's descriptors on frames 0, 5, 10, …"""
    values = [
        one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        for one, other in _described(*_pair(output, reference))
    ]
    return float(np.mean(values))


def fd(output: Path, reference: Path) -> float:
    """What ``fd/dlib-resnet@1`` takes from a clip; the sum of its numbers, since the distance is one per set."""
    return float(sum(np.abs(one).sum() + np.abs(other).sum() for one, other in _described(*_pair(output, reference))))


def _described(generated: Frames, expected: Frames) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Pairs of descriptors of frames 0, 5, 10, … on which both show a face."""
    pairs = []
    for gen, ref in zip(generated[::EVERY], expected[::EVERY], strict=True):
        shapes = [_marked(picture, _largest) for picture in (gen, ref)]
        if None in shapes:
            continue
        one, other = (
            np.asarray(_recogniser().compute_face_descriptor(np.ascontiguousarray(picture), shape, 0), np.float64)
            for picture, shape in zip((gen, ref), shapes, strict=True)
        )
        pairs.append((one, other))
    return pairs


Measure = Callable[[Path, Path, Path, Path], float]  # output video, output audio, reference video, reference audio


def _of_video(measure: Callable[..., float], **form: Any) -> Measure:
    return lambda video, audio, ref_video, ref_audio: measure(video, ref_video, **form)


#: The headline protocols of SSIM, PSNR, SECS, LMD and identity (CSIM and the Fréchet distance of faces).
HEADLINE: Mapping[str, Measure] = {
    "ssim/skimage-gaussian@1": _of_video(ssim),
    "psnr/rgb@1": _of_video(psnr),
    "secs/resemblyzer@1": lambda video, audio, ref_video, ref_audio: secs(audio, ref_audio),
    "lmd/mouth20-iod@1": _of_video(lmd),
    "csim/dlib-resnet@1": _of_video(csim),
    "fd/dlib-resnet@1": _of_video(fd),
}

#: The headline and the further forms of the same metrics that scikit-image and dlib compute.
ALL_FORMS: Mapping[str, Measure] = {
    **HEADLINE,
    "ssim/skimage-uniform@1": _of_video(ssim, uniform=True),
    "ssim/skimage-gaussian-gray@1": _of_video(ssim, grey=True),
    "ssim/skimage-gaussian-face@1": _of_video(ssim, face=True),
    "psnr/gray@1": _of_video(psnr, grey=True),
    "psnr/rgb-face@1": _of_video(psnr, face=True),
    "lmd/mouth20-px@1": _of_video(lmd, unit="px"),
    "lmd/atvg-dlib68@1": _of_video(lmd, unit="sum"),
}


def load() -> None:
    """Load all models now, so that no timing has it."""
    _detector()
    _shape()
    _recogniser()
    _voice_encoder()
