"""CSIM with dlib's face recogniser: ``csim/dlib-resnet@1`` (metrics.md 8).

Cosine of the 128-dimensional descriptors of generated and reference frame at the same index, on
frames 0, 5, 10, …; clip value: mean over the frames where both show a face. Range -1 to 1, higher
is better. dlib was trained for Euclidean distance, and other people's cosine is high as well: read
``csim_distance`` beside it (dlib's own threshold for the same person is 0.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING

from bench.api import Failure, Metric, Protocol, Reference, Score, Value
from bench.metrics.declare import DLIB_RESNET, DLIB_SHAPE_68, VIDEO_ONLY
from bench.metrics.video_declare import EVERY_FIFTH_FRAME, FACE_FAILURES, PAIR_NEEDS

if TYPE_CHECKING:
    from bench.media import Media

DLIB_CSIM = Protocol(
    id="csim/dlib-resnet@1",
    values=(
        Value("csim", "CSIM-dlib", "higher", "cosine", low=-1.0, high=1.0),
        Value("csim_distance", "CSIM-dlib distance", "lower", "Euclidean distance", low=0.0, headline=False),
    ),
    judges=VIDEO_ONLY,
    needs=PAIR_NEEDS,
    status="offline-real",
    parameters={
        "detector": "dlib HOG frontal, upsample 1, largest face, tie leftmost",
        "landmarks": 68,
        "jitters": 0,
        "colour": "RGB",
        "extra": "Euclidean distance",
        "frames": EVERY_FIFTH_FRAME,
    },
    source="davisking/dlib: dlib_face_recognition_resnet_model_v1",
    default=True,
    weights=(DLIB_RESNET, DLIB_SHAPE_68),
    failures=FACE_FAILURES,
    cost_hint_s=0.3,  # the descriptors; detection is counted by lmd
    note="not comparable with CSIM by ArcFace",
)


class CsimDlib(Metric):
    """Identity similarity by dlib's face descriptors."""

    name = "csim"
    protocols = (DLIB_CSIM,)
    summary = "Cosine of the face descriptors of generated and reference frames"
    licence = "Apache-2.0; dlib's 68 landmarks: no commercial use"

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        from bench.metrics.faces import missing_models

        return missing_models(*DLIB_CSIM.weights)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; faces are found on the CPU whatever the device."""
        from bench.metrics.faces import load_models

        load_models(recogniser=True)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """Descriptors of both videos on the frames that both show a face."""
        from bench.metrics.csim.cosine import cosine, euclidean
        from bench.metrics.face_pairs import pair_faces
        from bench.metrics.faces import DESCRIPTOR_STEP, descriptors, faces
        from bench.metrics.pairing import of_reference

        generated = faces(output)
        with of_reference(truth):
            expected = faces(reference)
        # Pairs are judged before the descriptors, which take most of the time, are computed.
        pairs = pair_faces(generated, expected, truth.own_length, DESCRIPTOR_STEP)
        gen, ref = (descriptors(media).vectors[pairs.frames // DESCRIPTOR_STEP] for media in (output, reference))
        n = len(pairs.frames)
        values = {"csim": fsum(cosine(gen, ref)) / n, "csim_distance": fsum(euclidean(gen, ref)) / n}
        return dict.fromkeys(protocol_ids, Score(values, pairs.parts()))
