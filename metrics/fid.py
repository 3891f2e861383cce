"""FID, Fréchet Inception Distance: ``fid/inception-pt@1`` and, on faces, ``fid/inception-pt-face@1`` (metrics.md 5).

How far the distribution of generated frames lies from that of the reference's, in the 2,048 pool-3
features of an Inception v3; lower is better, 0 for equal sets. One value per set, from all frames of
all clips. It depends on the number of frames (the estimate is biased upwards, the more the fewer there
are), so compare equal numbers only; they stand beside the value, which is marked under 2,048.

M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
2017; ``mseitzer/pytorch-fid: src/pytorch_fid/{inception,fid_score}.py``.

Features are kept per medium under ``video:inception-pool3-<weights>@1`` (``-face`` for the crops of a
reference): float32 rows, or beyond 2,048 frames float64 sums, whichever is smaller; both are exact.
On faces both sides show the dlib box of the *reference's* frame at the same index, without resizing
before the network's own. Frames without one are skipped; fewer than half left is ``no_face``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Unscorable, Value, WeightFile
from bench.metrics.declare import DLIB_SHAPE_68, VIDEO_ONLY, need_modules, need_weights
from bench.metrics.video_declare import PAIR_NEEDS, face_missing
from bench.networks import OFFICIAL, WeightSource

if TYPE_CHECKING:
    import torch

    from bench.media import Media
    from bench.metrics.faces import FaceTrack
    from bench.metrics.inception_net import Inception
    from bench.metrics.moments import Pool
    from bench.metrics.pairing import Pairing
    from bench.metrics.pictures import Picture
    from bench.records import Array, Frames

INCEPTION = WeightFile(
    "pt_inception-2015-12-05-6726825d.pth",
    None,  # only its beginning is published, in the name
    None,
    "Apache-2.0",
    "github.com/mseitzer/pytorch-fid, release fid_weights",
    manifest="fid_inception.json",
)
BATCH = 16  # different pictures at a time; as quick as 32 on a CPU, and 0.25 GB
SIDES = ("generated", "reference")

_RECIPE: dict[str, Any] = {
    "features": "pool3, 2048",
    "resize": "bilinear 299x299, align_corners=False, no antialias",
    "value_range": "uint8/255, then 2x-1",
    "colour": "RGB",
    "covariance": "ddof=1, float64",
    "sqrtm_eps": 1e-06,
    "low_n_flag": 2048,
}
_VALUES = (Value("fid", "FID", "lower", "1", low=0.0, aggregation=Aggregation("corpus"), digits=2),)

FULL = Protocol(
    id="fid/inception-pt@1",
    values=_VALUES,
    judges=VIDEO_ONLY,
    needs=PAIR_NEEDS,
    status="needs-weights",
    parameters={**_RECIPE, "region": "full", "frames": "all frames on the 25 fps grid, whole set pooled"},
    source="mseitzer/pytorch-fid: src/pytorch_fid/fid_score.py, inception.py",
    default=True,
    weights=(INCEPTION,),
    used_by=("Wav2Lip evaluation README",),
    failures=("too_short", "missing_output", "no_video_stream"),
    cost_hint_s=10.0,
    note="one value per set; compare equal numbers of frames only",
)
FACE = Protocol(
    id="fid/inception-pt-face@1",
    values=_VALUES,
    judges=VIDEO_ONLY,
    needs=PAIR_NEEDS,
    status="needs-weights",
    parameters={**_RECIPE, "region": "face (reference box)"},
    source="mseitzer/pytorch-fid: src/pytorch_fid/fid_score.py, inception.py; region: Rudrabha/Wav2Lip, issue 22",
    weights=(INCEPTION, DLIB_SHAPE_68),
    failures=("too_short", "no_face"),
    cost_hint_s=10.0,
    note="one value per set; compare equal numbers of frames only",
)


class Fid(Metric):
    """Fréchet distance of the Inception features of all frames, whole pictures or faces."""

    name = "fid"
    protocols = (FULL, FACE)
    summary = "Fréchet Inception Distance over the frames of all clips"
    licence = "Apache-2.0; dlib's 68 landmarks (faces): no commercial use"

    def __init__(self, weights: WeightSource = OFFICIAL) -> None:
        self._weights = weights
        self._network: Inception | None = None
        self._device = "cpu"
        self._key = ""

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        return need_modules("torch") + need_weights(INCEPTION) + face_missing(protocol_id)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; float32, norms folded into convolutions."""
        self._network = inception(self._weights, device)
        self._device = device
        self._key = f"video:inception-pool3-{self._weights.identity(INCEPTION)}"

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """The features of both sides, for each region."""
        if self._network is None:
            self.load("cpu")
        found: dict[str, Score | Failure] = {}
        for protocol_id in protocol_ids:
            measure = self._faces if protocol_id == FACE.id else self._whole
            try:
                found[protocol_id] = measure(output, reference, truth)
            except Unscorable as error:
                found[protocol_id] = Failure(error.kind, error.detail)
        return found

    def aggregate(self, protocol_id: str, value: str, arrays: Sequence[Mapping[str, Array]], counts: Array) -> Array:
        """One distance per row of ``counts`` (B, n), the multiplicity of each clip; clips are read one at a time.

        Raises:
            Unscorable: ``too_short`` where no row has two frames on both sides; a single such row is ``nan``.
        """
        import numpy as np

        result = np.full(len(counts), np.nan)
        problem: Unscorable | None = None
        for place, row in enumerate(counts):
            try:
                result[place] = set_distance(arrays, row)
            except Unscorable as error:
                problem = error
        if problem is not None and np.isnan(result).all():
            raise problem
        return result

    def _whole(self, output: Media, reference: Media, truth: Reference) -> Score:
        from bench.metrics.pairing import of_reference

        generated = self._of_medium(output)
        with of_reference(truth):
            expected = self._of_medium(reference)
        flags = {"fps_converted": float(output.fps_converted or reference.fps_converted)}
        return _score({"generated": generated, "reference": expected}, flags)

    def _faces(self, output: Media, reference: Media, truth: Reference) -> Score:
        from bench.metrics.faces import faces
        from bench.metrics.pairing import frame_pairs, of_reference, pair

        pairing = pair(output, reference, truth)
        with of_reference(truth):
            boxes = faces(reference)
        usable = _usable(boxes)
        n = int(usable[: pairing.n].sum())
        if 2 * n < pairing.n:
            raise Unscorable("no_face", f"{pairing.n - n} of {pairing.n} reference frames have no usable face")
        crops = _crops(((start, gen) for start, gen, _ in frame_pairs(output, reference, pairing)), boxes, usable)
        generated = self._pool(crops)
        key = f"{self._key}-face@1"
        expected = _pool_of(
            reference.feature(key, lambda: self._pool(_crops(reference.frame_chunks(), boxes, usable)).arrays())
        )
        return _score({"generated": generated, "reference": expected}, _face_parts(pairing, n))

    def _of_medium(self, media: Media) -> Pool:
        """The features of all frames of a medium. Raises ``Unscorable``: ``too_short`` without a frame."""

        def compute() -> Mapping[str, Array]:
            pool = self._pool(frame for _, chunk in media.frame_chunks() for frame in chunk)
            if not pool.n:
                raise Unscorable("too_short", "the video has no frame")
            return pool.arrays()

        return _pool_of(media.feature(f"{self._key}@1", compute))

    def _pool(self, pictures: Iterator[Picture]) -> Pool:
        from bench.metrics.batches import in_batches
        from bench.metrics.moments import Pool

        pool = Pool()
        for features in in_batches(pictures, self._compute, BATCH):
            pool.add(features)
        return pool

    def _compute(self, pictures: list[Picture]) -> Array:
        """Features (B, 2048) float32 of pictures of any sizes."""
        if self._network is None:
            raise RuntimeError("load() comes first")
        return pool3(self._network, pictures, input_side(FULL.parameters), self._device)


def input_side(parameters: Mapping[str, Any]) -> int:
    """Height and width (px) of the network's input, from ``resize`` ("bilinear 299x299, ...")."""
    found = re.search(r"(\d+)x\1\b", parameters["resize"])
    if found is None:
        raise ValueError(f"no size in {parameters['resize']!r}")
    return int(found[1])


def inception(weights: WeightSource, device: str) -> Inception:
    """The network with its weights, norms folded in, channels-last. Raises ``DataError`` where they are absent."""
    import torch

    from bench.metrics.inception_net import Inception

    if torch.device(device).type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return weights.fill(Inception(), INCEPTION).fold().to(device)


def pool3(network: Inception, pictures: Sequence[Picture], side: int, device: str | torch.device) -> Array:
    """Pool-3 features (B, 2048) float32 of RGB pictures of any sizes, resized one by one."""
    import torch

    from bench.metrics.inception_input import prepare

    with torch.inference_mode():
        batch = torch.cat([prepare(picture[None], side, device) for picture in pictures])
        features: Array = network(batch.contiguous(memory_format=torch.channels_last)).cpu().numpy()
    return features


def set_distance(arrays: Sequence[Mapping[str, Array]], counts: Array) -> float:
    """Squared Fréchet distance of a set, clip i taken ``counts[i]`` times, from ``Score.arrays``.

    Memory holds one clip and the sums of both sides, however many clips there are.

    Raises:
        Unscorable: ``too_short`` for fewer than two frames on a side.
    """
    import numpy as np

    from bench.metrics.moments import Pool, pool_distance

    pools = {side: Pool() for side in SIDES}
    for index in np.flatnonzero(counts):
        clip = arrays[int(index)]
        for side, pool in pools.items():
            own = {name.removeprefix(f"{side}."): array for name, array in clip.items() if name.startswith(f"{side}.")}
            pool.merge(Pool.from_arrays(own), int(counts[index]))
    return pool_distance(pools["generated"], pools["reference"])


def _pool_of(arrays: Mapping[str, Array]) -> Pool:
    from bench.metrics.moments import Pool

    return Pool.from_arrays(arrays)


def _score(sides: Mapping[str, Pool], parts: Mapping[str, float]) -> Score:
    """No value per clip: the features of both sides, as ``<side>.<array>``, and how many frames they are of."""
    arrays = {f"{side}.{name}": array for side, pool in sides.items() for name, array in pool.arrays().items()}
    return Score({}, {**{f"n_{side}": float(pool.n) for side, pool in sides.items()}, **parts}, arrays=arrays)


def _usable(boxes: FaceTrack) -> Array:
    """Which frames of a face track have a box with at least one pixel inside of the picture, (T,) bool."""
    import numpy as np

    from bench.metrics.faces import clip_box

    inside = []
    for box in boxes.boxes:
        rows, columns = clip_box(box, boxes.size)
        inside.append(rows.stop > rows.start and columns.stop > columns.start)
    usable: Array = boxes.found & np.array(inside, dtype=bool)
    return usable


def _crops(chunks: Iterator[tuple[int, Frames]], boxes: FaceTrack, usable: Array) -> Iterator[Picture]:
    """The reference's face box cut from each usable frame of ``chunks`` (index of the first, frames)."""
    from bench.metrics.faces import clip_box

    for start, frames in chunks:
        for index, frame in enumerate(frames, start):
            if usable[index]:
                yield frame[clip_box(boxes.boxes[index], boxes.size)]


def _face_parts(pairing: Pairing, n: int) -> dict[str, float]:
    return {"n_frames_noface": float(pairing.n - n), **pairing.parts()}
