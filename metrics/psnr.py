"""PSNR: peak signal-to-noise ratio of generated and reference frames in dB (metrics.md 7).

10·log10(255² / MSE), MSE over all pixels and channels; higher is better. Identical frames, for
which this is infinite, are counted (``n_identical``) and enter with the cap of 100 dB, which is
also the upper bound of every other frame (above 224x224 px one changed level lies beyond it). The
pyiqa form adds 1e-8 to the MSE of pictures in [0, 1], so that identical frames give 80 dB.

Clip value: mean over the paired frames. ``psnr_pooled`` weighs every frame of the set alike;
``psnr_of_mean_mse`` is the PSNR of the clip's mean MSE.

Forms as in scikit-image (``skimage/metrics/simple_metrics.py``) and
``chaofengc/IQA-PyTorch: pyiqa/archs/psnr_arch.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum, inf, log10
from typing import TYPE_CHECKING, Any

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Value
from bench.metrics.declare import VIDEO_ONLY
from bench.metrics.video_declare import FACE_FAILURES, FRAME_PAIRS, PAIR_FAILURES, PAIR_NEEDS, face_missing

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.framewise import Measure, Measured

CAP_DB = 100.0  # of identical frames; the "identical" entry of the protocols says so in words
PEAK = 255.0

#: Form -> (its parameters, source).
_FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "rgb": (
        {"data_range": 255, "identical": "cap 100 dB, counted as n_identical", "dtype": "float64"},
        "scikit-image: skimage/metrics/simple_metrics.py",
    ),
    "pyiqa": (
        {"data_range": 1.0, "eps": 1e-08, "channels": "RGB"},
        "chaofengc/IQA-PyTorch: pyiqa/archs/psnr_arch.py",
    ),
    "gray": ({"data_range": 255, "gray": "OpenCV RGB2GRAY uint8", "identical": "cap 100 dB"}, "project"),
}


def _value(name: str, label: str, aggregation: Aggregation, headline: bool) -> Value:
    # White against black is 0 dB, and -4e-8 dB with pyiqa's epsilon.
    return Value(name, label, "higher", "dB", -1e-6, CAP_DB, aggregation, headline, digits=2)


_VALUES = (
    _value("psnr", "PSNR", Aggregation(), headline=True),
    _value("psnr_pooled", "PSNR (pooled)", Aggregation("ratio", "psnr_sum", "n_frames"), headline=False),
    _value("psnr_of_mean_mse", "PSNR (of mean MSE)", Aggregation(), headline=False),
)


def _protocols() -> tuple[Protocol, ...]:
    """Every form on full frames, and its twin on the reference's face box."""
    declared = []
    for form, (parameters, source) in _FORMS.items():
        for region, suffix in (("full", ""), ("face (reference box)", "-face")):
            declared.append(
                Protocol(
                    id=f"psnr/{form}{suffix}@1",
                    values=_VALUES,
                    judges=VIDEO_ONLY,
                    needs=PAIR_NEEDS,
                    status="offline-canonical",
                    parameters={**FRAME_PAIRS, **parameters, "region": region},
                    source=source,
                    default=form == "rgb" and not suffix,
                    failures=FACE_FAILURES if suffix else PAIR_FAILURES,
                    cost_hint_s=0.01,  # faces of the reference are found once and kept
                )
            )
    return tuple(declared)


def decibels(mse: float, data_range: float = PEAK, eps: float = 0.0) -> float:
    """10·log10(data_range² / (mse + eps)); infinite where the denominator is 0."""
    noise = mse + eps
    return 10.0 * log10(data_range**2 / noise) if noise > 0 else inf


class Psnr(Metric):
    """PSNR in three forms, on full frames and on faces."""

    name = "psnr"
    protocols = _protocols()
    summary = "Peak signal-to-noise ratio of generated and reference frames"

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`: face regions need dlib."""
        return face_missing(protocol_id)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """One pass over the frames for all asked protocols."""
        from bench.metrics.framewise import measure_frames

        asked = {p.id: p for p in self.protocols if p.id in protocol_ids}
        measured = measure_frames({i: frame_measure(p) for i, p in asked.items()}, output, reference, truth)
        return {protocol: _result(measured, protocol, frame_psnr(asked[protocol])) for protocol in protocol_ids}


def frame_psnr(protocol: Protocol) -> Callable[[float], float]:
    """From the MSE of pictures in 0..255 to the dB of a protocol; infinite for 0 where nothing is added to it."""
    data_range = float(protocol.parameters["data_range"])
    eps = float(protocol.parameters.get("eps", 0.0))
    scale = (data_range / PEAK) ** 2
    return lambda mse: decibels(mse * scale, data_range, eps)


def frame_measure(protocol: Protocol) -> Measure:
    """The mean squared error on 0..255 that a protocol looks at."""
    from bench.metrics.framewise import Measure
    from bench.metrics.mse import grey_mse, rgb_mse
    from bench.metrics.pictures import region_of

    region = region_of(protocol.parameters)
    return Measure(region, 1, grey_mse if "gray" in protocol.parameters else rgb_mse, identical=0.0)


def _result(measured: Measured, protocol_id: str, psnr: Callable[[float], float]) -> Score | Failure:
    series = measured.series[protocol_id]
    if isinstance(series, Failure):
        return series
    frames = [min(CAP_DB, psnr(mse)) for mse in series.values]
    total = fsum(frames)
    mean = total / len(frames)
    of_mean = min(CAP_DB, psnr(fsum(series.values) / len(frames)))
    parts = {**series.parts(measured.pairing), "psnr_sum": total}
    return Score({"psnr": mean, "psnr_pooled": mean, "psnr_of_mean_mse": of_mean}, parts)
