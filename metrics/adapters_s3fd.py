"""Golden operations of the face detector and the tracker (:mod:`bench.conformance`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.conformance import Fill

Config = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]

OPS: dict[str, str] = {
    name: f"bench.metrics.adapters_s3fd:{name}"
    for name in ("s3fd_net", "s3fd_decode", "scene_cuts", "face_tracks", "face_crop")
}


def s3fd_net(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Raw boxes, softmaxed scores and priors for a picture at network size."""
    import torch

    from bench.metrics.lse.s3fd import run
    from bench.metrics.lse.s3fd_declare import DETECTOR
    from bench.metrics.lse.s3fd_decode import DetectorRules
    from bench.metrics.lse.s3fd_net import S3FD, channels_last, priors

    network = channels_last(fill.apply(S3FD()).eval())
    rules = DetectorRules.of({**DETECTOR, **config})
    picture = inputs["image_rgb"]
    offsets, scores, maps = run(network, picture[None], rules.mean_rgb, torch.device("cpu"))
    return {"loc": offsets, "conf": scores, "priors": priors(picture.shape[:2], maps).numpy()}


def s3fd_decode(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Both suppressions, from raw boxes and scores."""
    from bench.metrics.lse.s3fd_declare import DETECTOR
    from bench.metrics.lse.s3fd_decode import DetectorRules, candidates, second_pass, to_pixels
    from bench.metrics.lse.s3fd_net import priors

    rules = DetectorRules.of({**DETECTOR, **config, "conf": config.get("conf_th", DETECTOR["conf"])})
    height, width = (int(side) for side in config["scaled_hw"])
    maps = [(int(rows), int(columns)) for rows, columns in inputs["feature_maps"]]
    places = priors((height, width), maps).numpy()
    rows = candidates(inputs["loc"][0], inputs["conf"][0, :, 1], places, rules, rules.conf_min)
    sure = to_pixels(rows, (int(inputs["size_hw"][0]), int(inputs["size_hw"][1])), rules.conf)
    return {
        "priors": places,
        "detections": rows,
        "boxes_over_0.9": sure,
        f"boxes_over_{rules.conf:g}": sure,
        "final": second_pass(sure, rules.second_nms),
    }


def scene_cuts(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Content value per frame, and the frames that begin a new shot."""
    from bench.metrics.lse.s3fd_declare import SCENES
    from bench.metrics.lse.scenes import SceneCuts, SceneRules

    found = SceneCuts(SceneRules.of({**SCENES, **config}))
    found.feed(inputs["frames_bgr"][..., ::-1])
    return {"content_val": np.array(found.values), "cuts": np.array(found.cuts, np.int64)}


def face_tracks(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Tracks of each scene as the source finds them, and the path of their crops."""
    from bench.metrics.lse.face_crop import CropRules, crop_path
    from bench.metrics.lse.s3fd_declare import CROP, TRACK
    from bench.metrics.lse.tracks import TrackRules
    from bench.metrics.lse.tracks import face_tracks as join

    rules = TrackRules.of({**TRACK, **config}, keep_duplicates=True)
    crop = CropRules.of({**CROP, **config})
    outputs: dict[str, Any] = {}
    for scene in sorted({name.rpartition(".")[0] for name in inputs}):
        frames, boxes = inputs[f"{scene}.frame"], inputs[f"{scene}.bbox"]
        found = [(int(frame), boxes[frames == frame]) for frame in np.unique(frames)]
        for index, track in enumerate(join(found, rules)):
            path = crop_path(track.boxes, crop)
            named = {
                "frame": track.frames,
                "bbox": track.boxes,
                "rect": path.rects,
                "s": path.s,
                "x": path.x,
                "y": path.y,
            }
            outputs |= {f"{scene}.{index}.{name}": value for name, value in named.items()}
    return outputs


def face_crop(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """One picture's face before and after the resize, of which every second row and column is compared."""
    from bench.metrics.lse.face_crop import CropRules, crop_path, cut_out, resized
    from bench.metrics.lse.s3fd_declare import CROP

    rules = CropRules.of({**CROP, **config})
    rect = crop_path(inputs["bbox"], rules).rects[int(config["frame_index"])]
    face = cut_out(inputs["image"], rect, rules.pad_value)
    return {"rect": rect, "crop_pre": face, "crop224": resized(face, rules.size)[::2, ::2]}
