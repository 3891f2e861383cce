"""Fréchet distance over dlib's face descriptors: ``fd/dlib-resnet@1`` (metrics.md 5).

How far the distribution of generated faces lies from that of the reference's faces, in 128
dimensions; lower is better, 0 for equal sets, values about 0 to 0.5. One value per set, from the
descriptors of frames 0, 5, 10, …; it depends on the number of faces, so compare equal sets only.
With fewer than 256 faces on a side the set has no value (``nan``). Another scale than FID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Value
from bench.metrics.declare import DLIB_RESNET, DLIB_SHAPE_68, VIDEO_ONLY
from bench.metrics.video_declare import EVERY_FIFTH_FRAME, PAIR_NEEDS

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Array

FD_DLIB = Protocol(
    id="fd/dlib-resnet@1",
    values=(Value("fd", "FD-dlib", "lower", "1", low=0.0, aggregation=Aggregation("corpus"), digits=4),),
    judges=VIDEO_ONLY,
    needs=PAIR_NEEDS,
    status="offline-real",
    parameters={
        "min_faces_per_side": 256,
        "detector": "dlib HOG, upsample 1, largest face",
        "jitters": 0,
        "covariance": "ddof=1, float64",
        "frames": EVERY_FIFTH_FRAME,
    },
    source="davisking/dlib: dlib_face_recognition_resnet_model_v1",
    default=True,
    weights=(DLIB_RESNET, DLIB_SHAPE_68),
    failures=("too_short",),
    cost_hint_s=0.05,  # the features are those of csim
    note="one value per set; never mixed with FID",
)


class FdDlib(Metric):
    """Fréchet distance of the face descriptors of a set."""

    name = "fd"
    protocols = (FD_DLIB,)
    summary = "Fréchet distance over the face descriptors of all clips"
    licence = "Apache-2.0; dlib's 68 landmarks: no commercial use"

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        from bench.metrics.faces import missing_models

        return missing_models(*FD_DLIB.weights)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; faces are found on the CPU whatever the device."""
        from bench.metrics.faces import load_models

        load_models(recogniser=True)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """The descriptors of both sides; a clip without faces adds none and is no failure."""
        from bench.metrics.faces import descriptors, faces
        from bench.metrics.pairing import of_reference

        found = descriptors(output)
        generated = found.vectors[found.valid]
        with of_reference(truth):
            found = descriptors(reference)
        expected = found.vectors[found.valid]
        parts: dict[str, Any] = {
            "n_generated": float(len(generated)),
            "n_reference": float(len(expected)),
            "fps_converted": float(faces(output).fps_converted or faces(reference).fps_converted),
        }
        score = Score({}, parts, arrays={"generated": generated, "reference": expected})
        return dict.fromkeys(protocol_ids, score)

    def aggregate(self, protocol_id: str, value: str, arrays: Sequence[Mapping[str, Array]], counts: Array) -> Array:
        """One distance per row of ``counts`` (B, n), the multiplicity of each clip; ``nan`` for too few faces."""
        from bench.metrics.resampled_frechet import resampled_distances

        generated = [clip["generated"] for clip in arrays]
        reference = [clip["reference"] for clip in arrays]
        return resampled_distances(generated, reference, counts, FD_DLIB.parameters["min_faces_per_side"])
