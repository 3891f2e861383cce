"""The lip-sync expert that judges the talking face: Wav2Lip's, trained by its own stage."""

from __future__ import annotations

from bench.systems.wav2lip.training import expert
from bench.train import Stage
from bench.train_request import TrainRequest


def stage(request: TrainRequest) -> Stage:
    """The stage ``sync``: what ``bench train wav2lip --stage expert`` trains, with the same settings."""
    return expert(request)
