"""Who speaks: what a face says of a voice's owner, and what the speech itself says (hicodit.md B.2 and E.1).

Full size: ArcFace of up to eight frames, 512 values; GE2E (Resemblyzer) of the speech, 256 values. The adapter from
one to the other is ``identity.mlp`` of the model. Tiny: 64 values of a blurred picture, and 64 of the spectrum's mean
and deviation over time; neither needs a network. All vectors are float32 with length 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.media.log_mel import DEFAULT, log_mel
from bench.systems.hicodit.landmarks import Frames, Points

if TYPE_CHECKING:
    from bench.metrics.csim.arcface_net import IResNet
    from bench.metrics.speaker_net import VoiceEncoder
    from bench.records import Audio

Vector = NDArray[np.float32]

FACE_FRAMES = 8  # whose ArcFace vectors are averaged
TINY_SIDE = 8  # pixels of the blurred picture
TINY_VOICE = 64  # values
STATISTICS = 2 * DEFAULT.n_mels
_LEAST_DEVIATION = 1e-3
_LEAST_LENGTH = 1e-12


def tiny_face(chunks: Iterable[Frames]) -> Vector:
    """(64,): the mean over a video's frames (n, H, W, 3), grey, by areas in 8x8 pixels, less its own mean.

    Raises:
        Unscorable: ``too_short``, there is no frame.
    """
    total: NDArray[np.float64] | None = None
    count = 0
    for frames in chunks:
        for frame in frames:
            grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float64)
            total = grey if total is None else total + grey
            count += 1
    if total is None:
        raise Unscorable("too_short", "a video without a frame")
    mean = (total / count).astype(np.float32)
    small = np.asarray(cv2.resize(mean, (TINY_SIDE, TINY_SIDE), interpolation=cv2.INTER_AREA), np.float32).ravel()
    return unit(small - small.mean())


def voice_statistics(audio: Audio) -> Vector:
    """(160,): mean, then deviation over time of the 80 log-mel bands of 16 kHz audio, in nats.

    What the speech is levelled to is seen here: level it first, by the rule of the codec.

    Raises:
        ValueError: audio at another rate.
        Unscorable: ``too_short``, less than a mel frame.
    """
    if audio.rate != DEFAULT.sample_rate:
        raise ValueError(f"audio at {audio.rate} Hz, expected {DEFAULT.sample_rate}")
    if len(audio.samples) < DEFAULT.hop_length:
        raise Unscorable("too_short", f"{len(audio.samples)} samples of speech")
    mel = log_mel(torch.from_numpy(np.ascontiguousarray(audio.samples, np.float32))[None])[0]  # (T, 80)
    return np.asarray(torch.cat([mel.mean(0), mel.std(0, unbiased=False)]).numpy(), np.float32)


def standard(statistics: Sequence[Vector]) -> tuple[Vector, Vector]:
    """Mean and deviation (160,) of the training clips' :func:`voice_statistics`, the latter at least 0.001."""
    rows = np.stack(statistics).astype(np.float64)
    deviation = np.maximum(rows.std(axis=0), _LEAST_DEVIATION)
    return rows.mean(axis=0).astype(np.float32), deviation.astype(np.float32)


def tiny_voice(statistics: Vector, mean: Vector, deviation: Vector) -> Vector:
    """(64,): standardised :func:`voice_statistics` by a fixed Gaussian matrix; ``mean``, ``deviation`` of
    :func:`standard`.
    """
    return unit(((statistics - mean) / deviation).astype(np.float64) @ _projection())


def mean_direction(vectors: Sequence[Vector]) -> Vector:
    """The mean of vectors (d,), as long as they are: a voice by its clips, a face by its frames."""
    return unit(np.mean(np.stack(vectors).astype(np.float64), axis=0))


def unit(vector: NDArray[np.floating]) -> Vector:
    """``vector`` with length 1; one without a length stays what it is."""
    length = max(float(np.linalg.norm(vector.astype(np.float64))), _LEAST_LENGTH)
    return np.asarray(vector / length, np.float32)


@lru_cache(maxsize=1)
def _projection() -> NDArray[np.float64]:
    """(160, 64)."""
    return np.asarray(np.random.default_rng(0).standard_normal((STATISTICS, TINY_VOICE)) / STATISTICS**0.5)


def face_frames(points: Points) -> NDArray[np.intp]:
    """Up to eight of the frames that have landmarks (F, 68, 2), evenly spaced, the first and the last among them.

    Raises:
        Unscorable: ``no_face``, none has.
    """
    known = np.flatnonzero(~np.isnan(points).any(axis=(1, 2)))
    if not len(known):
        raise Unscorable("no_face", f"no face in any of {len(points)} frames")
    places = np.linspace(0, len(known) - 1, min(FACE_FRAMES, len(known)))
    return np.asarray(known[np.rint(places).astype(np.intp)], np.intp)


def aligned_faces(frames: Iterable[tuple[int, NDArray[np.uint8]]], points: Points) -> Iterator[NDArray[np.uint8]]:
    """The faces (112, 112, 3) that ArcFace sees, of numbered frames with landmarks (F, 68, 2)."""
    from bench.metrics.csim.align import Alignment
    from bench.metrics.csim.arcface import ARCFACE

    alignment = Alignment.from_parameters(ARCFACE.parameters)
    for index, frame in frames:
        yield alignment.face(frame, points[index])


def face_identity(network: IResNet, faces: Sequence[NDArray[np.uint8]]) -> Vector:
    """(512,): the mean direction of the ArcFace vectors of a video's aligned faces."""
    from bench.metrics.csim.arcface import embed

    return mean_direction([unit(vector) for vector in embed(network, faces)])


def voice_identity(encoder: VoiceEncoder, audio: Audio) -> Vector:
    """(256,), no value below 0: GE2E of speech.

    Raises:
        Unscorable: ``too_short``, ``silent_audio``: no voice in it.
    """
    from bench.media.resample import resample
    from bench.metrics.secs import PARAMETERS
    from bench.metrics.speaker import Recipe, embed, prepare

    recipe = Recipe.of(PARAMETERS)
    samples = (
        resample(audio.samples, audio.rate, recipe.rate, "soxr_hq") if audio.rate != recipe.rate else audio.samples
    )
    return embed(prepare(samples, recipe), encoder, recipe).embedding
