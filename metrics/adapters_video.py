"""What ``bench conformance`` calls for the video operations; conventions in :mod:`bench.conformance`.

Each function takes the case's configuration and inputs and returns its outputs by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import UsageError

if TYPE_CHECKING:
    from bench.conformance import Fill

Arrays = Mapping[str, NDArray[Any]]
Config = Mapping[str, Any]

OPS = {
    op: f"bench.metrics.adapters_video:{op}"
    for op in ("ssim_psnr", "lmd", "avsync_offset", "csim_cosine", "dlib_face", "frechet")
}


def _numbers(inputs: Arrays, prefix: str) -> list[int]:
    """The k of all inputs ``<prefix>k``, ascending."""
    return sorted(int(name[len(prefix) :]) for name in inputs if re.fullmatch(rf"{prefix}\d+", name))


def ssim_psnr(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Every column that the case names, for each pair (``ref``, ``gen<k>``), and SSIM per channel."""
    from bench.metrics.ssim import Ssim
    from bench.metrics.ssim_map import Recipe, StructuralSimilarity

    gaussian = next(p for p in Ssim.protocols if p.id == "ssim/skimage-gaussian@1")
    per_channel = StructuralSimilarity(Recipe.from_parameters(gaussian.parameters)).per_channel
    outputs: dict[str, Any] = {}
    for k in _numbers(inputs, "gen"):
        reference = inputs[f"ref{k}"] if f"ref{k}" in inputs else inputs["ref"]
        generated = inputs[f"gen{k}"]
        outputs[str(k)] = np.array([_picture_value(column, reference, generated) for column in config["columns"]])
        outputs[f"channels{k}"] = per_channel(reference, generated)
    return outputs


def _picture_value(column: str, reference: NDArray[Any], generated: NDArray[Any]) -> float:
    """One protocol's value of one pair; PSNR without the cap of identical pictures."""
    from bench.metrics.psnr import Psnr, frame_measure, frame_psnr
    from bench.metrics.ssim import Ssim

    protocol_id = column.split(" ", 1)[0] + "@1"  # what follows the blank is a remark
    for metric in (Ssim, Psnr):
        for protocol in metric.protocols:
            if protocol.id == protocol_id:
                if metric is Psnr:
                    return frame_psnr(protocol)(frame_measure(protocol).compute(reference, generated))
                measure = Ssim().measure(protocol_id)
                same = np.array_equal(reference, generated)
                return measure.identical if same else measure.compute(reference, generated)
    raise UsageError(f"the case asks for the unknown column {column!r}", "use ids of ssim and psnr protocols.")


def lmd(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The three forms of LMD per frame, and of the clip."""
    from bench.metrics.mouth import N_MOUTH, inter_ocular, mouth_distance

    n = min(len(inputs["gen"]), len(inputs["ref"]))
    reference = inputs["ref"][:n]
    total = mouth_distance(inputs["gen"][:n], reference)
    mean = total / N_MOUTH
    percent = mean / inter_ocular(reference) * 100.0
    return {
        "atvg_frames": total,
        "mean_px_frames": mean,
        "iod_frames": percent,
        "values": np.array([total.mean(), mean.mean(), percent.mean()]),
    }


def avsync_offset(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Opening, envelope, correlations and their summary for landmarks with gaps and 16 kHz audio."""
    from bench.metrics import mouth
    from bench.metrics.avsync import MOUTH_ENVELOPE

    settings = {**MOUTH_ENVELOPE.parameters, **config}
    envelope = mouth.envelope_db(inputs["audio"], settings["sample_rate"] // settings["fps"])
    opening, used = mouth.bridge_gaps(
        mouth.mouth_opening(inputs["landmarks"]), inputs["valid"].astype(bool), settings["max_gap_interpolated"]
    )
    correlations = mouth.shifted_correlations(opening, used, envelope, settings["max_shift"], settings["min_pairs"])
    found = mouth.coupling(correlations)
    return {
        "opening": opening,
        "used": used.astype(np.int64),
        "envelope_db": envelope,
        "r": correlations,
        "values": np.array([found.corr, found.offset, found.conf, found.corr0]),
    }


def csim_cosine(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Cosine per frame, and the clip's mean over frames with both faces."""
    from bench.metrics.csim.cosine import cosine

    cosines = cosine(inputs["gen"], inputs["ref"])
    return {"cosine": cosines, "clip": float(cosines[inputs["valid"].astype(bool)].mean())}


def dlib_face(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Box, landmarks and descriptor of each picture that the case names, and how the descriptors compare."""
    from bench.metrics.csim.cosine import cosine, euclidean
    from bench.metrics.faces import descriptor, detect, landmarks, largest

    outputs: dict[str, Any] = {}
    vectors = []
    for k, name in enumerate(config["pictures"]):
        picture = inputs[f"picture{k}"] if f"picture{k}" in inputs else named_picture(name)
        box = largest(detect(picture))
        points = landmarks(picture, box)
        vectors.append(descriptor(picture, box, points))
        outputs |= {f"rect{k}": np.array(box), f"landmarks{k}": points, f"descriptor{k}": vectors[-1]}
    every = np.array(vectors)
    outputs["cosine"] = np.array([cosine(every, np.broadcast_to(row, every.shape)) for row in every])
    outputs["euclid"] = np.array([euclidean(every, np.broadcast_to(row, every.shape)) for row in every])
    return outputs


def named_picture(name: str) -> NDArray[np.uint8]:
    """scikit-image's astronaut as a case describes it.

    A crop ``[top:bottom,left:right]`` (either end may be left out), ``mirrored``, and an OpenCV resize
    ``INTER_… resize to WIDTHxHEIGHT`` are applied in this order.
    """
    import cv2
    from skimage import data

    sample: Any = data
    picture: NDArray[np.uint8] = sample.astronaut()
    crop = re.search(r"\[(\d*):(\d*),\s*(\d*):(\d*)\]", name)
    size = re.search(r"(INTER_\w+).*?(\d+)\s*x\s*(\d+)", name)
    mirrored = re.search(r"mirror|flip|::-1", name)
    if not (crop or size or mirrored or name == "astronaut"):
        raise UsageError(f"the case asks for the unknown picture {name!r}", "name a crop, a mirror or a resize.")
    if crop:
        top, bottom, left, right = (int(end) if end else None for end in crop.groups())
        picture = picture[top:bottom, left:right]
    if mirrored:
        picture = picture[:, ::-1]
    picture = np.ascontiguousarray(picture)
    if size:
        wanted = (int(size[2]), int(size[3]))
        picture = np.asarray(cv2.resize(picture, wanted, interpolation=getattr(cv2, size[1])), dtype=np.uint8)
    return picture


def frechet(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Moments of both sets, the distance from the samples, and the one by SciPy's root."""
    from bench.metrics.frechet import distance, distance_by_sqrtm, moments

    first, second = moments(inputs["a"]), moments(inputs["b"])
    return {
        "frechet": distance(inputs["a"], inputs["b"]),
        "frechet_sqrtm": distance_by_sqrtm(first, second),
        "mu_a": first.mean,
        "mu_b": second.mean,
        "sigma_a": first.covariance,
        "sigma_b": second.covariance,
    }
