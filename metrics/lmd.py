"""LMD: distance of mouth landmarks of generated and reference frames (metrics.md 9). Lower is better.

dlib's 68 points on every frame, mouth 48..67, each mouth moved to its own mean, Euclidean distance
per point. ``lmd/mouth20-iod@1``: mean over the points in per cent of the reference's inter-ocular
distance, free of scale. ``lmd/mouth20-px@1``: the mean in pixels. ``lmd/atvg-dlib68@1``: the sum in
pixels, averaged over all frames of the set, on grey pictures and the last face found, as the
original script did (``lelechen63/ATVGnet: evaluation_matrix.py``).

L. Chen et al., "Hierarchical cross-modal talking face generation with dynamic pixel-wise loss",
CVPR 2019. Frames without a face on either side are skipped and counted; fewer than half left is
``no_face``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, Any

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Unscorable, Value
from bench.metrics.declare import DLIB_SHAPE_68, VIDEO_ONLY
from bench.metrics.video_declare import EVERY_FRAME, FACE_FAILURES, PAIR_NEEDS

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.faces import FaceTrack

_MOUTH: dict[str, Any] = {
    "landmarks": "dlib 68, mouth 48..67",
    "detector": "dlib HOG frontal, upsample 1",
    "centering": "subtract the mean of the 20 mouth points in each frame",
    "frames": EVERY_FRAME,
}


def _protocol(what: str, unit: str, per_frame: str, faces: str, *, pooled: bool, **further: Any) -> Protocol:
    aggregation = Aggregation("ratio", "lmd_sum", "n_frames") if pooled else Aggregation()
    return Protocol(
        id=f"lmd/{what}@1",
        values=(Value("lmd", "LMD", "lower", unit, low=0.0, aggregation=aggregation),),
        judges=VIDEO_ONLY,
        needs=PAIR_NEEDS,
        status="offline-canonical",
        parameters={**_MOUTH, "per_frame": per_frame, "faces": faces, **further},
        source="lelechen63/ATVGnet: evaluation_matrix.py",
        default=what == "mouth20-iod",
        weights=(DLIB_SHAPE_68,),
        used_by=("metric cited by Shared latent representation (no column printed)",) if pooled else (),
        failures=FACE_FAILURES,
        cost_hint_s=1.0 if pooled else 1.3,  # detection on grey takes less
    )


ATVG = _protocol(
    "atvg-dlib68",
    "px (sum over 20 points)",
    "sum over 20 points of Euclidean distance",
    "last detected (reference)",
    pooled=True,
    gray=True,
)
PIXELS = _protocol("mouth20-px", "px (mean over 20 points)", "mean over 20 points", "largest", pooled=False)
PERCENT = _protocol(
    "mouth20-iod",
    "% of inter-ocular distance",
    "mean over 20 points / reference inter-ocular distance * 100",
    "largest",
    pooled=False,
)


class Lmd(Metric):
    """Mouth landmark distance in three forms."""

    name = "lmd"
    protocols = (ATVG, PIXELS, PERCENT)
    summary = "Distance of mouth landmarks of generated and reference frames"
    licence = "Apache-2.0; dlib's 68 landmarks: no commercial use"

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        from bench.metrics.faces import missing_models

        return missing_models(DLIB_SHAPE_68)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; dlib runs on the CPU whatever the device."""
        from bench.metrics.faces import load_models

        load_models()

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """Landmarks of both videos, once per way of detecting, then the distances."""
        from bench.metrics.faces import faces, faces_grey_last
        from bench.metrics.pairing import of_reference

        results: dict[str, Score | Failure] = {}
        for detect, group in ((faces_grey_last, (ATVG,)), (faces, (PIXELS, PERCENT))):
            asked = [protocol.id for protocol in group if protocol.id in protocol_ids]
            if asked:
                generated = detect(output)
                with of_reference(truth):
                    expected = detect(reference)
                for protocol_id in asked:
                    results[protocol_id] = _result(protocol_id, generated, expected, truth)
        return results


def _result(protocol_id: str, generated: FaceTrack, reference: FaceTrack, truth: Reference) -> Score | Failure:
    from bench.metrics.face_pairs import pair_faces
    from bench.metrics.mouth import N_MOUTH, inter_ocular, mouth_distance

    try:
        pairs = pair_faces(generated, reference, truth.own_length)
    except Unscorable as error:
        return Failure(error.kind, error.detail)
    frames = pairs.frames
    distance = mouth_distance(generated.landmarks[frames], reference.landmarks[frames])
    if protocol_id != ATVG.id:
        distance = distance / N_MOUTH
    if protocol_id == PERCENT.id:
        distance = distance / inter_ocular(reference.landmarks[frames]) * 100.0
    total = fsum(distance)
    height, width = generated.size
    parts = {**pairs.parts(), "lmd_sum": total, "height": float(height), "width": float(width)}
    return Score({"lmd": total / len(frames)}, parts)
