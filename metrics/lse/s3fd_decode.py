"""From S3FD's outputs to boxes: decoding, suppression of overlapping boxes, scaling.

Source: ``joonson/syncnet_python: detectors/s3fd/box_utils.py`` (``decode``, ``nms``, ``Detect``, ``nms_``)
and ``__init__.py`` (``detect_faces``). The first suppression works in float32 on shares of the
picture, the second in float64 on pixels; both go through the boxes by falling score, and of equal scores
the later place comes first. Thresholds are compared in the type of what they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2  # of the prior box's size; what the network was trained with


@dataclass(frozen=True, slots=True)
class DetectorRules:
    """The settings of a protocol's ``detector``; names as there."""

    scale: float
    conf: float
    conf_min: float
    nms: float
    nms_top_k: int
    top_k: int
    second_nms: float
    mean_rgb: tuple[float, float, float]

    @classmethod
    def of(cls, detector: Mapping[str, Any]) -> DetectorRules:
        """Read from the ``detector`` of a protocol's parameters."""
        red, green, blue = (float(value) for value in detector["mean_rgb"])
        return cls(
            float(detector["scale"]),
            float(detector["conf"]),
            float(detector["conf_min"]),
            float(detector["nms"]),
            int(detector["nms_top_k"]),
            int(detector["top_k"]),
            float(detector["second_nms"]),
            (red, green, blue),
        )


def decode(offsets: NDArray[np.float32], priors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Offsets (P, 4) from prior boxes (P, 4) to corners x1, y1, x2, y2 in shares of the picture."""
    centre = priors[:, :2] + offsets[:, :2] * np.float32(_CENTRE_VARIANCE) * priors[:, 2:]
    side = priors[:, 2:] * np.exp(offsets[:, 2:] * np.float32(_SIZE_VARIANCE))
    low = centre - side / 2
    return np.concatenate([low, side + low], axis=1)


def suppress(boxes: NDArray[Any], scores: NDArray[Any], overlap: float, limit: int | None = None) -> NDArray[np.intp]:
    """Indices of the boxes that stay, by falling score; at most ``limit``.

    A box goes when its intersection over union with one that stays is more than ``overlap``. All
    numbers are in the type of ``boxes``; areas are without the "+ 1" of whole pixels.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    x1, y1, x2, y2 = (np.ascontiguousarray(boxes[order, k]) for k in range(4))
    areas = (x2 - x1) * (y2 - y1)
    left = np.arange(len(order))
    kept: list[int] = []
    while left.size and (limit is None or len(kept) < limit):
        first, left = left[0], left[1:]
        kept.append(int(order[first]))
        width = np.maximum(np.minimum(x2[left], x2[first]) - np.maximum(x1[left], x1[first]), 0)
        height = np.maximum(np.minimum(y2[left], y2[first]) - np.maximum(y1[left], y1[first]), 0)
        shared = width * height
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = shared / ((areas[left] - shared) + areas[first])
        left = left[ratio <= overlap]  # not a number (two boxes without area): it goes, as in the source
    return np.array(kept, dtype=np.intp)


def candidates(
    offsets: NDArray[np.float32],
    scores: NDArray[np.float32],
    priors: NDArray[np.float32],
    rules: DetectorRules,
    least: float,
) -> NDArray[np.float32]:
    """Rows (n, 5) score, x1, y1, x2, y2 in shares, falling: the first suppression among scores above ``least``.

    ``offsets`` (P, 4), face ``scores`` (P,), ``priors`` (P, 4). A box is never moved or removed by one
    of a lower score, so a greater ``least`` gives the head of the list that a smaller one gives.
    """
    chosen = np.flatnonzero(scores > least)
    if chosen.size > rules.nms_top_k:
        best = np.argsort(scores[chosen], kind="stable")[-rules.nms_top_k :]
        chosen = chosen[np.sort(best)]
    boxes, sure = decode(offsets[chosen], priors[chosen]), scores[chosen]
    kept = suppress(boxes, sure, rules.nms, rules.top_k)
    return np.concatenate([sure[kept, None], boxes[kept]], axis=1)


def to_pixels(rows: NDArray[np.float32], size: tuple[int, int], least: float) -> NDArray[np.float64]:
    """Rows of :func:`candidates` above ``least`` as (n, 5) x1, y1, x2, y2, score in pixels of ``size`` (height, width).

    Pixels are rounded to float32 before they become float64, as in the source.
    """
    sure = rows[rows[:, 0] > least]
    scale = np.array([size[1], size[0], size[1], size[0]], np.float32)
    return np.concatenate([sure[:, 1:] * scale, sure[:, :1]], axis=1).astype(np.float64)


def second_pass(boxes: NDArray[np.float64], overlap: float) -> NDArray[np.float64]:
    """The second suppression of rows (n, 5) x1, y1, x2, y2, score."""
    return boxes[suppress(boxes[:, :4], boxes[:, 4], overlap)]


def detections(
    offsets: NDArray[np.float32],
    scores: NDArray[np.float32],
    priors: NDArray[np.float32],
    size: tuple[int, int],
    rules: DetectorRules,
) -> NDArray[np.float64]:
    """Faces (n, 5) x1, y1, x2, y2, score of one picture of ``size`` (height, width), in its pixels."""
    rows = candidates(offsets, scores, priors, rules, max(rules.conf_min, rules.conf))
    return second_pass(to_pixels(rows, size, rules.conf), rules.second_nms)
