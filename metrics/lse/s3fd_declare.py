"""The face detector's weight file and the pipeline's recipe, without numeric imports.

The dictionaries are those of ``lse/syncnet-v2-pipeline@1`` and its relatives in the published list of
protocols: declarations are built from them (:func:`pipeline_parameters`), and the code reads what a
declaration holds. Source: ``joonson/syncnet_python: run_pipeline.py, detectors/s3fd``.
"""

from __future__ import annotations

import re
from typing import Any

from bench.api import WeightFile

S3FD_WEIGHTS = WeightFile(
    "sfd_face.pth",
    None,
    None,
    "not stated by its authors",
    "joonson/syncnet_python (download_model.sh)",
    manifest="s3fd.json",
)

DETECTOR: dict[str, Any] = {
    "name": "S3FD",
    "weights": "sfd_face.pth",
    "manifest": "s3fd.json",
    "scale": 0.25,
    "conf": 0.9,
    "mean_rgb": [123, 117, 104],
    "network_order": "RGB",
    "conf_min": 0.05,
    "nms": 0.3,
    "nms_top_k": 5000,
    "top_k": 750,
    "second_nms": 0.1,
}
SCENES: dict[str, Any] = {
    "engine": "PySceneDetect 0.5.1 ContentDetector",
    "threshold": 30,
    "min_scene_len": 15,
    "decimate_by_width": {"400": 2, "600": 3, "900": 4, "1200": 5, "1700": 6, "2100": 8, "3200": 12},
}
TRACK: dict[str, Any] = {
    "iou": 0.5,
    "min_track": "more than 100 detections",
    "num_failed_det": 25,
    "min_face_size": "mean larger side > 100 px",
    "scene_min_frames": 100,
}
CROP: dict[str, Any] = {
    "crop_scale": 0.4,
    "medfilt": 13,
    "medfilt_edges": "zero padded",
    "pad_value": 110,
    "size": 224,
}
#: The lossy generations of the reference scripts, in order; see :mod:`bench.metrics.lse.lossy`.
AVI, JPEG_Q2, XVID, JPEG = (
    "mpeg4 avi qscale 2 with the default avi audio codec",
    "jpeg qscale 2",
    "XVID crop",
    "jpeg default",
)
LOSSY = (AVI, JPEG_Q2, XVID, JPEG)


def pipeline_parameters(*, lossy: bool = False, detect_every: int = 1) -> dict[str, Any]:
    """What tells one pipeline protocol from the other, besides SyncNet's own settings.

    ``-pipeline@1`` has ``lossy``, ``-pipeline-k5@1`` has ``detect_every=5``.
    """
    made: dict[str, Any] = {
        "detector": DETECTOR,
        "scenes": SCENES,
        "track": TRACK,
        "crop": CROP,
        "track_policy": "all tracks",
        "lossy": list(LOSSY) if lossy else [],
    }
    if detect_every > 1:
        made |= {"detect_every": detect_every, "between": "linear interpolation of boxes"}
    return made


def number_in(setting: float | str) -> float:
    """The one number of a setting that may be written in words: ``more than 100 detections`` is 100.

    Raises:
        ValueError: none, or several.
    """
    found = re.findall(r"\d+(?:\.\d+)?", str(setting))
    if len(found) != 1:
        raise ValueError(f"{setting!r} should hold one number")
    return float(found[0])
