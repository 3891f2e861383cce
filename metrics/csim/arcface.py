"""CSIM with ArcFace: ``csim/arcface-r100@1`` (metrics.md 8).

Cosine of the 512-dimensional embeddings of generated and reference frame at the same index, on every
frame; clip value: mean over the frames where both show a face. Range -1 to 1, higher is better;
other people lie near 0. Faces are found by dlib and brought to the network's position by five points
of its 68 (:mod:`bench.metrics.csim.align`); papers that use RetinaFace's points, or none, measure something
else.

Embeddings are kept per medium under ``video:arcface-<weights>@1``. Fewer than half of the paired
frames with both faces is ``no_face``; of several faces the largest counts, of equal ones the leftmost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable, Value, WeightFile
from bench.metrics.declare import DLIB_SHAPE_68, VIDEO_ONLY, need_modules, need_weights
from bench.metrics.video_declare import FACE_FAILURES, PAIR_NEEDS
from bench.networks import OFFICIAL, WeightSource

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.csim.align import Alignment
    from bench.metrics.csim.arcface_net import IResNet
    from bench.metrics.faces import FaceTrack
    from bench.metrics.pictures import Picture
    from bench.records import Array

BACKBONE = WeightFile(
    "backbone.pth",
    None,  # several releases have this layout; the hash of the user's is kept with every score
    None,
    "non-commercial research only",
    "github.com/deepinsight/insightface, recognition/arcface_torch: iresnet100 of Glint360K or MS1MV3",
    manifest="arcface_r100.json",
)
BATCH = 32  # different faces at a time

ARCFACE = Protocol(
    id="csim/arcface-r100@1",
    values=(Value("csim", "CSIM", "higher", "cosine", low=-1.0, high=1.0),),
    judges=VIDEO_ONLY,
    needs=PAIR_NEEDS,
    status="needs-weights",
    parameters={
        "size": 112,
        "colour": "RGB",
        "normalise": "(x/255-0.5)/0.5",
        "alignment": "Umeyama similarity with scale to the 5-point template, OpenCV warpAffine bilinear border 0",
        "template": [
            [38.2946, 51.6963],
            [73.5318, 51.5014],
            [56.0252, 71.7366],
            [41.5493, 92.3655],
            [70.7299, 92.2041],
        ],
        "five_points": "dlib68: mean 36-41, mean 42-47, 30, 48, 54",
        "face": "largest",
        "network": {"layers": [3, 13, 30, 3], "num_features": 512},
    },
    source="deepinsight/insightface: recognition/arcface_torch/backbones/iresnet.py, "
    "python-package/insightface/utils/face_align.py",
    default=True,
    weights=(BACKBONE, DLIB_SHAPE_68),
    failures=FACE_FAILURES,
    cost_hint_s=35.0,
    note="five points from dlib; not comparable with CSIM-dlib",
)


class CsimArcface(Metric):
    """Identity similarity by ArcFace's embeddings."""

    name = "csim-arcface"
    protocols = (ARCFACE,)
    summary = "Cosine of the ArcFace embeddings of generated and reference frames"
    licence = "Apache-2.0; ArcFace's weights and dlib's 68 landmarks: no commercial use"

    def __init__(self, weights: WeightSource = OFFICIAL) -> None:
        self._weights = weights
        self._network: IResNet | None = None
        self._key = ""

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        from bench.metrics.faces import missing_models

        return need_modules("torch") + need_weights(BACKBONE) + missing_models(DLIB_SHAPE_68)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; float32; dlib runs on the CPU whatever the device."""
        from bench.metrics.faces import load_models

        load_models()
        self._network = iresnet(self._weights, device)
        self._key = f"video:arcface-{self._weights.identity(BACKBONE)}@1"

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """Embeddings of both videos on the frames that both show a face."""
        from bench.metrics.csim.cosine import cosine
        from bench.metrics.face_pairs import pair_faces
        from bench.metrics.faces import faces
        from bench.metrics.pairing import of_reference

        if self._network is None:
            self.load("cpu")
        generated = faces(output)
        with of_reference(truth):
            expected = faces(reference)
        pairs = pair_faces(generated, expected, truth.own_length)  # judged before the costly embeddings
        ours = self.embeddings(output)[pairs.frames]
        theirs = self.embeddings(reference)[pairs.frames]
        value = fsum(cosine(ours, theirs)) / len(pairs.frames)
        return dict.fromkeys(protocol_ids, Score({"csim": value}, pairs.parts()))

    def embeddings(self, media: Media) -> Array:
        """Embeddings (T, 512) float32 of a medium's frames; zeros where no face was found.

        Raises:
            Unscorable: ``nan`` where the network gives a number that is not finite.
        """
        import numpy as np

        from bench.metrics.batches import in_batches
        from bench.metrics.csim.align import Alignment
        from bench.metrics.faces import faces

        def compute() -> Mapping[str, Array]:
            track = faces(media)
            aligned = aligned_faces(media, track, Alignment.from_parameters(ARCFACE.parameters))
            vectors = np.zeros((track.n_frames, ARCFACE.parameters["network"]["num_features"]), np.float32)
            pieces = list(in_batches(aligned, self._embed, BATCH))
            if pieces:
                vectors[track.found] = np.concatenate(pieces)
            if not np.isfinite(vectors).all():
                raise Unscorable("nan", "a face embedding is not finite")
            return {"vectors": vectors}

        return media.feature(self._key, compute)["vectors"]

    def _embed(self, pictures: list[Picture]) -> Array:
        if self._network is None:
            raise RuntimeError("load() comes first")
        return embed(self._network, pictures)


def iresnet(weights: WeightSource, device: str) -> IResNet:
    """The network with its weights, norms folded in, channels-last. Raises ``DataError`` where they are absent."""
    import torch

    from bench.metrics.csim.arcface_net import IResNet

    if torch.device(device).type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    settings: Mapping[str, Any] = ARCFACE.parameters["network"]
    network = weights.fill(IResNet(settings["layers"], settings["num_features"]), BACKBONE)
    return network.fold().to(device)


def embed(network: IResNet, pictures: Sequence[Picture]) -> Array:
    """Embeddings (B, D) float32 of aligned RGB faces (112, 112, 3), not normalised."""
    import numpy as np
    import torch

    from bench.metrics.csim.align import network_input

    batch = torch.from_numpy(network_input(np.stack(pictures))).to(network.fc.weight.device)
    with torch.inference_mode():
        vectors: Array = network(batch.contiguous(memory_format=torch.channels_last)).cpu().numpy()
    return vectors


def aligned_faces(media: Media, track: FaceTrack, alignment: Alignment) -> Iterator[Picture]:
    """The aligned face of each frame that shows one, in order."""
    for start, frames in media.frame_chunks():
        for index, frame in enumerate(frames, start):
            if track.found[index]:
                yield alignment.face(frame, track.landmarks[index])
