"""Pictures compared frame by frame (SSIM, PSNR): one pass over both videos for all asked protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.api import Failure, Reference
from bench.metrics.faces import FaceTrack, clip_box, faces
from bench.metrics.pairing import Pairing, frame_pairs, of_reference, pair
from bench.metrics.pictures import Picture, Region

if TYPE_CHECKING:
    from bench.media import Media


@dataclass(frozen=True)
class Measure:
    """``compute(reference, generated)`` of two RGB pictures (H, W, 3); ``identical`` is its value for equal ones.

    ``least_side``: pixels that a picture must have in both directions.
    """

    region: Region
    least_side: int
    compute: Callable[[Picture, Picture], float]
    identical: float


@dataclass
class Series:
    """The numbers of one measure: per compared frame, how many were equal, how many had no reference face."""

    values: list[float] = field(default_factory=list)
    n_identical: int = 0
    n_noface: int = 0

    def parts(self, pairing: Pairing) -> dict[str, float]:
        """Counts and flags as parts of a score."""
        counts = {"n_frames": len(self.values), "n_identical": self.n_identical, "n_frames_noface": self.n_noface}
        return {**{key: float(count) for key, count in counts.items()}, **pairing.parts()}


@dataclass(frozen=True)
class Measured:
    """What :func:`measure_frames` gives: per protocol its series or failure, and how frames were paired."""

    series: Mapping[str, Series | Failure]
    pairing: Pairing


def measure_frames(measures: Mapping[str, Measure], output: Media, reference: Media, truth: Reference) -> Measured:
    """Apply every measure to every pair of frames.

    A face region is the dlib box of the *reference* frame, without a margin, cut to the picture.
    Frames whose reference has no face (or one smaller than the measure's window) are skipped and
    counted; fewer than half of the frames left is ``no_face``, as for CSIM.

    Raises:
        Unscorable: what fails for all measures alike (see :mod:`bench.metrics.pairing`).
    """
    pairing = pair(output, reference, truth)
    track: FaceTrack | None = None
    if any(measure.region == "face" for measure in measures.values()):
        with of_reference(truth):
            track = faces(reference)
    series = {protocol: Series() for protocol in measures}
    for start, generated, expected in frame_pairs(output, reference, pairing):
        for offset, (gen, ref) in enumerate(zip(generated, expected, strict=True)):
            for protocol, measure in measures.items():
                _add(series[protocol], measure, ref, gen, track, start + offset)
    return Measured({p: _settled(series[p], measures[p], pairing.n) for p in measures}, pairing)


def _add(series: Series, measure: Measure, ref: Picture, gen: Picture, track: FaceTrack | None, index: int) -> None:
    if measure.region == "face" and track is not None:
        rows, columns = clip_box(track.boxes[index], track.size)
        ref, gen = ref[rows, columns], gen[rows, columns]
        if not track.found[index] or min(ref.shape[:2]) < measure.least_side:
            series.n_noface += 1
            return
    elif min(ref.shape[:2]) < measure.least_side:
        return
    if np.array_equal(ref, gen):
        series.n_identical += 1
        series.values.append(measure.identical)
    else:
        series.values.append(measure.compute(ref, gen))


def _settled(series: Series, measure: Measure, n: int) -> Series | Failure:
    if measure.region == "face" and 2 * len(series.values) < n:
        return Failure("no_face", f"{series.n_noface} of {n} reference frames have no usable face")
    if not series.values:
        return Failure("too_short", f"the picture is smaller than the window of {measure.least_side} px")
    return series
