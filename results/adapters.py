"""Golden cases of the statistics, for ``bench conformance`` (component ``metrics``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.results import stats

if TYPE_CHECKING:
    from bench.conformance import Fill


def bootstrap(config: dict[str, Any], inputs: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    """Mean, WER and their intervals over clips; the first row of the index matrix."""
    resamples = int(inputs["B"])
    values = stats.Statistic(stats.vector(inputs["values"]))
    edits = stats.Statistic(stats.vector(inputs["edits"]), stats.vector(inputs["ref_words"]))
    mean_interval, wer_interval = stats.clip_intervals([values, edits], resamples)
    generator = np.random.default_rng(stats.SEED)
    return {
        "mean": values.value(),
        "mean_ci95": _listed(mean_interval),
        "wer": edits.value(),
        "macro_wer": float(np.mean(edits.numerator / stats.vector(inputs["ref_words"]))),
        "wer_ci95": _listed(wer_interval),
        "first_row_of_indices": generator.integers(0, values.n, size=(1, values.n))[0].tolist(),
    }


def set_result(config: dict[str, Any], inputs: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    """The set result of clips with values and typed failures."""
    clips = inputs["clips"]
    scored = [clip for clip in clips if "failed" not in clip]
    kinds = [clip["failed"] for clip in clips if "failed" in clip]
    values = stats.vector([clip["value"] for clip in scored])
    frames = stats.vector([clip["frames"] for clip in scored])
    mean = stats.set_result(stats.Statistic(values), kinds)
    words = stats.Statistic(
        stats.vector([clip["edits"] for clip in scored]), stats.vector([clip["ref_words"] for clip in scored])
    )
    wer = stats.set_result(words, kinds)
    return {
        "expected": {
            "n_total": mean.n_total,
            "n_scored": mean.n_scored,
            "n_failed": mean.n_failed,
            "failures": dict(mean.failures),
            "mean": mean.value,
            "mean_ci95": _listed(mean.interval),
            "pooled_by_frames": stats.Statistic(values * frames, frames).value(),
            "wer": wer.value,
            "wer_ci95": _listed(wer.interval),
            "complete": mean.complete,
        }
    }


def _listed(interval: stats.Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
