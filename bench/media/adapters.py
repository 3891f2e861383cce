"""Adapters of this package for ``bench conformance``: the frame grid and the sinc resampler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.media.grid import fps_grid as grid
from bench.media.resample import sinc

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array


def fps_grid(config: dict[str, Any], case: dict[str, dict[str, Any]], fill: Fill) -> dict[str, Any]:
    """``{name: {"pts", "duration"}}`` -> ``{name: {"index"}}``."""
    return {name: {"index": grid(item["pts"], item["duration"]).tolist()} for name, item in case.items()}


def resample_sinc(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """``wav_<rate>`` -> ``wav16k_<rate>`` for every rate among the inputs."""
    out: dict[str, Array] = {}
    for name, wave in inputs.items():
        rate = int(name.rsplit("_", 1)[1])
        out[f"wav16k_{rate}"] = sinc(wave, rate, config["new_freq"], config["lowpass_filter_width"], config["rolloff"])
    return out
