"""UTMOS, one wave after the other (metrics.md 3; ``tarepan/SpeechMOS``)."""

from __future__ import annotations

from typing import Any

import torch
from plain import answer, filled, job, pcm_of

from bench.metrics.utmos import PARAMETERS
from bench.metrics.utmos_net import Sizes, StrongLearner


def rate(net: Any, wave: torch.Tensor) -> float:
    """The score of a wave (1, N): the front end layer by layer on the whole wave, then the rest."""
    hidden = wave[:, None]
    for layer in net.wav2vec2.feature_extractor.conv_layers:
        hidden = torch.nn.functional.gelu(layer(hidden))
    body = net.wav2vec2
    features = body.encoder(body.post_extract_proj(body.layer_norm(hidden.transpose(1, 2))))
    return float(net.judge(features)[0])


def main() -> None:
    given = job()
    net = filled(given, StrongLearner(Sizes.of(PARAMETERS)), "utmos22_strong_step7459_v1.pt")
    with torch.no_grad():
        waves = (torch.from_numpy(pcm_of(clip["audio"]) / 32768.0).float()[None] for clip in given["clips"])
        answer(values=[rate(net, wave) for wave in waves])


main()
