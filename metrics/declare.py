"""Pieces that the declarations of protocols share: failure kinds, kinds of values, weight files.

Only the standard library and :mod:`bench.api` are imported, so that listing protocols stays quick.
A declaration is the one place where a protocol's parameters are written; the code reads them from
there (``protocol.parameters["sample_rate"]``).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

from bench.api import Aggregation, Value, WeightFile

#: Units and directions are spelled as in the published list of protocols.
RATE_UNIT = "fraction (shown in %)"
MOS_UNIT = "MOS 1..5"

ANY_STREAM = frozenset({"audio", "video"})
AUDIO_ONLY = frozenset({"audio"})
VIDEO_ONLY = frozenset({"video"})

#: Shortest audio that a speech metric accepts, seconds.
SHORTEST_AUDIO_S = 0.1

#: What the reference scripts ask of FFmpeg: 16 kHz mono 16-bit PCM.
PCM_16K: dict[str, Any] = {
    "sample_rate": 16000,
    "channels": 1,
    "pcm": "int16",
    "ffmpeg": ["-ac", "1", "-vn", "-acodec", "pcm_s16le", "-ar", "16000"],
}


def rate(name: str, label: str, numerator: str, denominator: str) -> Value:
    """A corpus-level rate, lower is better: sum of ``numerator`` over sum of ``denominator`` (keys of parts)."""
    aggregation = Aggregation("ratio", numerator, denominator)
    return Value(name, label, "lower", RATE_UNIT, low=0.0, aggregation=aggregation, scale=100.0, digits=2)


def mean(
    name: str,
    label: str,
    direction: Literal["higher", "lower", "zero"],
    unit: str,
    *,
    low: float = float("-inf"),
    high: float = float("inf"),
    headline: bool = True,
    scale: float = 1.0,
    digits: int = 3,
) -> Value:
    """A value whose set value is the mean over clips."""
    return Value(name, label, direction, unit, low, high, Aggregation("mean"), headline, scale, digits)


def shipped(name: str, sha256: str, size: int | None, licence: str, source: str, package: str) -> WeightFile:
    """A weight file inside an installed package: nobody has to bring it."""
    return WeightFile(name, sha256, size, licence, source, package=package)


#: dlib's models as the package face-recognition-models ships them.
DLIB_SHAPE_68 = shipped(
    "face_recognition_models/models/shape_predictor_68_face_landmarks.dat",
    "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
    99693937,
    "trained on iBUG 300-W: no commercial use",
    "davisking/dlib-models",
    "face-recognition-models",
)
DLIB_RESNET = shipped(
    "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    22466066,
    "CC0-1.0",
    "davisking/dlib-models",
    "face-recognition-models",
)


def shipped_path(file: WeightFile) -> Path | None:
    """Where an installed package holds ``file`` (its name begins with the package's folder); ``None``: absent."""
    module, _, rest = file.name.partition("/")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / rest
    return path if path.is_file() else None


def need_modules(*modules: str, extra: str = "") -> list[str]:
    """One line with its remedy per module that is not installed; nothing is imported."""
    target = f"'bench-avgen[{extra}]'" if extra else "bench-avgen"
    return [
        f"the Python module {name} is not installed: pip install {target}"
        for name in modules
        if importlib.util.find_spec(name) is None
    ]


def need_weights(*weights: WeightFile) -> list[str]:
    """One line with its remedy per file that the user must bring and has not; no file is opened."""
    from bench.weights import locate

    return [
        f"weights {weight.name} are not here: get them from {weight.source}, then `bench weights add FILE` "
        f"(licence: {weight.licence})"
        for weight in weights
        if locate(weight) is None
    ]
