"""Conformance adapters of the networks that hear: operation -> ``module:function`` in :data:`OPS`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

OPS: dict[str, str] = {"utmos": "bench.metrics.adapters_nets_audio:utmos"}

_FULL_FRAMES, _FULL_CHANNELS = 3, 8  # a full-size case keeps every third frame and every eighth channel
_FAMILIAR_RATES = {11: 11025, 22: 22050, 44: 44100}  # what the kHz in a name stand for


def utmos(config: Mapping[str, Any], inputs: Mapping[str, Array], fill: Fill) -> dict[str, Any]:
    """Features and scores of each batch of waves ``wav``, ``wav0`` …; ``wav24k`` is at 24 kHz and resampled first."""
    import numpy as np
    import torch

    from bench.media.resample import resample
    from bench.metrics.utmos import PARAMETERS
    from bench.metrics.utmos_net import Sizes, StrongLearner

    changed = {name: value for name, value in config.items() if name in PARAMETERS["network"]}
    net = fill.apply(StrongLearner(Sizes.of(PARAMETERS, **changed))).eval().settle()
    full = config.get("size") == "full"
    outputs: dict[str, Any] = {}
    for name, waves in inputs.items():
        rate = _rate(name, PARAMETERS["sample_rate"])
        rows = [resample(row, rate, PARAMETERS["sample_rate"], "sinc") for row in np.atleast_2d(waves)]
        ours = torch.from_numpy(np.stack(rows))
        with torch.inference_mode():
            features = net.wav2vec2(ours)
            outputs[name.replace("wav", "score")] = net.judge(features).numpy()
        kept = features[:, ::_FULL_FRAMES, ::_FULL_CHANNELS] if full else features
        outputs[name.replace("wav", "features")] = kept.numpy()
    return outputs


def _rate(name: str, usual: int) -> int:
    """The sample rate that the name of an input ends in, in kHz; ``usual`` where it says none."""
    stated = re.fullmatch(r"wav[0-9]*?_?([0-9]+)k", name)
    if stated is None:
        return usual
    thousands = int(stated.group(1))
    return _FAMILIAR_RATES.get(thousands, 1000 * thousands)
