"""Stage ``motion``: the small autoencoder grown to twice its size. Facts: specs/talker.md, 14.2 (stage 2c), 14.6.1."""

from __future__ import annotations

import torch

from bench.systems.talker.lia_start import grow
from bench.systems.talker.motion_model import MotionModel
from bench.systems.talker.training.motion_generator import DrawingStage
from bench.systems.talker.training.motion_options import GrownOptions, config_of
from bench.systems.talker.training.motion_parts import Origin, fingerprint, trained
from bench.train import Stage
from bench.train_request import TrainRequest


def stage(request: TrainRequest) -> Stage:
    """The stage ``motion``.

    Raises:
        UsageError: there is no trained small autoencoder, another configuration than ``tiny``, or clips without
            landmarks.
    """
    options, config = request.options(GrownOptions), config_of(request.config)
    small = trained(MotionModel(config.small), Origin("motion", "motion64", "motion64", "small"), options.small)
    torch.manual_seed(request.seed)  # of the new layers' fresh weights
    model = MotionModel(config.grown)
    model.generator = grow(small.generator)
    model.head.load_state_dict(small.head.state_dict())
    return GrownStage(request, options, config.growing, model, fingerprint(small))


class GrownStage(DrawingStage):
    """At the full size of the configuration."""

    name = "talker-motion"
