"""SSIM: structural similarity of generated and reference frames (metrics.md 6).

Range -1 to 1 (0 to 1 for the pyiqa forms), higher is better; identical frames give exactly 1.
Clip value: mean over the paired frames. Beside the mean over clips, ``ssim_pooled`` weighs every
frame of the set alike. The forms differ by 0.1 on one noisy picture: each has its own protocol.

Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004;
forms as in scikit-image (``skimage/metrics/_structural_similarity.py``) and
``chaofengc/IQA-PyTorch: pyiqa/archs/ssim_arch.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, Any

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Value
from bench.metrics.declare import VIDEO_ONLY
from bench.metrics.video_declare import FACE_FAILURES, FRAME_PAIRS, PAIR_FAILURES, PAIR_NEEDS, face_missing

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.framewise import Measure, Measured

_K: dict[str, Any] = {"K1": 0.01, "K2": 0.03}
_SKIMAGE: dict[str, Any] = {"function": "skimage.metrics.structural_similarity", "data_range": 255}
_GAUSSIAN: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
_COLOUR: dict[str, Any] = {"channel_axis": -1}
_PYIQA: dict[str, Any] = {"window": 11, "sigma": 1.5, "convolution": "valid", "cs_clip": 0}

#: Form of SSIM -> (its parameters, source, seconds per 75 frames of 224x224 px).
_FORMS: dict[str, tuple[dict[str, Any], str, float]] = {
    "skimage-gaussian": (
        {
            **_SKIMAGE,
            **_GAUSSIAN,
            **_COLOUR,
            **_K,
            "truncate": 3.5,
            "window": 11,
            "border": "reflect, 5 px left out of the mean",
        },
        "scikit-image: skimage/metrics/_structural_similarity.py",
        0.25,
    ),
    "skimage-uniform": (
        {
            **_SKIMAGE,
            **_COLOUR,
            **_K,
            "gaussian_weights": False,
            "window": 7,
            "use_sample_covariance": True,
            "border": "reflect, 3 px left out",
        },
        "scikit-image: skimage/metrics/_structural_similarity.py; lelechen63/ATVGnet: evaluation_matrix.py (form)",
        0.25,
    ),
    "skimage-gaussian-gray": (
        {**_SKIMAGE, **_GAUSSIAN, "gray": "OpenCV RGB2GRAY uint8"},
        "scikit-image",
        0.1,
    ),
    "pyiqa": (
        {
            **_PYIQA,
            **_K,
            "metric": "pyiqa ssim",
            "channel": "Y of YIQ*255 in float32, rounded half to even",
            "kernel_dtype": "float32",
            "data_dtype": "float64",
            "downsample": False,
        },
        "chaofengc/IQA-PyTorch: pyiqa/archs/ssim_arch.py",
        0.15,
    ),
    "pyiqa-rgb": (
        {**_PYIQA, "metric": "pyiqa ssimc", "channel": "RGB*255 rounded"},
        "chaofengc/IQA-PyTorch: pyiqa/archs/ssim_arch.py",
        0.25,
    ),
}

_VALUES = (
    Value("ssim", "SSIM", "higher", "1", low=-1.0, high=1.0),
    Value(
        "ssim_pooled",
        "SSIM (pooled)",
        "higher",
        "1",
        low=-1.0,
        high=1.0,
        aggregation=Aggregation("ratio", "ssim_sum", "n_frames"),
        headline=False,
    ),
)


def _protocols() -> tuple[Protocol, ...]:
    """Every form on full frames, and its twin on the reference's face box."""
    declared = []
    for form, (parameters, source, cost) in _FORMS.items():
        for region, suffix in (("full", ""), ("face (reference box)", "-face")):
            declared.append(
                Protocol(
                    id=f"ssim/{form}{suffix}@1",
                    values=_VALUES,
                    judges=VIDEO_ONLY,
                    needs=PAIR_NEEDS,
                    status="offline-canonical",
                    parameters={**FRAME_PAIRS, **parameters, "region": region},
                    source=source,
                    default=form == "skimage-gaussian" and not suffix,
                    failures=FACE_FAILURES if suffix else PAIR_FAILURES,
                    cost_hint_s=cost / 4 if suffix else cost,  # faces of the reference are found once and kept
                )
            )
    return tuple(declared)


class Ssim(Metric):
    """SSIM in five forms, on full frames and on faces."""

    name = "ssim"
    protocols = _protocols()
    summary = "Structural similarity of generated and reference frames"

    def __init__(self) -> None:
        self._measures: dict[str, Measure] = {}

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`: face regions need dlib."""
        return face_missing(protocol_id)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """One pass over the frames for all asked protocols."""
        from bench.metrics.framewise import measure_frames

        measures = {protocol: self.measure(protocol) for protocol in protocol_ids}
        measured = measure_frames(measures, output, reference, truth)
        return {protocol: _result(measured, protocol) for protocol in protocol_ids}

    def measure(self, protocol_id: str) -> Measure:
        """The measure of a protocol, built once per process."""
        from bench.metrics.framewise import Measure
        from bench.metrics.pictures import region_of
        from bench.metrics.ssim_map import Recipe, StructuralSimilarity

        if protocol_id not in self._measures:
            protocol = next(p for p in self.protocols if p.id == protocol_id)
            recipe = Recipe.from_parameters(protocol.parameters)
            region = region_of(protocol.parameters)
            self._measures[protocol_id] = Measure(region, recipe.window, StructuralSimilarity(recipe), identical=1.0)
        return self._measures[protocol_id]


def _result(measured: Measured, protocol_id: str) -> Score | Failure:
    series = measured.series[protocol_id]
    if isinstance(series, Failure):
        return series
    total = fsum(series.values)
    mean = total / len(series.values)
    parts = {**series.parts(measured.pairing), "ssim_sum": total}
    return Score({"ssim": mean, "ssim_pooled": mean}, parts)
