"""The settings of the talking face's training (``bench train hierspeech --stage 0|1|2 --set key=value``), and the two
configurations (specification tfg.md, 2.5 and 2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from bench.systems.hierspeech import tiny
from bench.systems.hierspeech.face.discriminator import CHANNELS, TINY_CHANNELS
from bench.systems.hierspeech.face.generator import TTVFaceSizes
from bench.systems.wav2lip.training_options import DataOptions


class ClosingOptions(DataOptions):
    """Stage 0. ``features``: weights of the stage ``features``; ``None``: those of the configuration."""

    features: str | None = None
    schedule: int | None = Field(default=None, ge=1, description="steps over whose second half the rate falls")
    per_norm: Literal["l2", "l1"] = Field(default="l2", description="the perceptual loss's distance")


class FirstOptions(ClosingOptions):
    """Stage 1. ``silent``: weights of stage 0; ``expert``: of the stage ``sync``. ``begin``: with ``fresh`` weights, or
    with those of stage 0, which can draw already; ``None``: what the configuration has."""

    silent: str | None = None
    expert: str | None = None
    triplet: bool = Field(default=False, description="with the adaptive triplet loss, coefficient 0.5 (needs VGG-19)")
    begin: Literal["fresh", "silent"] | None = None
    ramp_steps: int | None = Field(default=None, ge=1, description="steps until the sync loss counts in full")


class SecondOptions(ClosingOptions):
    """Stage 2. ``first``: weights of stage 1; ``ttv``: of the stage ``ttv``; ``sync``: with the expert's opinion, or
    without."""

    silent: str | None = None
    expert: str | None = None
    first: str | None = None
    ttv: str | None = None
    sync: Literal["vanilla", "none"] = "vanilla"


@dataclass(frozen=True)
class FaceConfig:
    """Networks, batches and learning rates of a configuration.

    ``batch``: clips per step, of five frames each. ``average``: decay of the generator's average, which is what is
    shipped. ``schedules``: by stage, the steps over whose second half the generator's rate falls to a twentieth; it
    stays where there is none. ``begin``: what stage 1 begins with; ``ramp``: the steps over which its sync loss comes
    in, up to ``stable_sync``. The small expert is soon deceived by dark spots, and with the published 2 its steep
    gradients undo the drawing (mean difference 0.04 before, 0.06 after 200 steps), so that it has a tenth.
    ``evaluation``: every so many steps, over so many batches.
    """

    sizes: TTVFaceSizes
    critic: tuple[int, ...]
    detector: Literal["s3fd", "dlib"]
    batch: int
    rate: float
    fine_rate: float
    critic_rate: float
    average: float
    schedules: Mapping[str, int]
    begin: Literal["fresh", "silent"]
    ramp: int
    stable_sync: float
    evaluation: tuple[int, int]


CONFIGS = {
    "full": FaceConfig(
        sizes=TTVFaceSizes(),
        critic=CHANNELS,
        detector="s3fd",
        batch=16,
        rate=1e-4,
        fine_rate=5e-5,
        critic_rate=1e-4,
        average=0.999,
        schedules={},
        begin="fresh",
        ramp=10_000,
        stable_sync=2.0,
        evaluation=(5000, 50),
    ),
    "tiny": FaceConfig(
        sizes=tiny.FACE,
        critic=TINY_CHANNELS,
        detector="dlib",
        batch=4,
        rate=1e-3,
        fine_rate=3e-4,
        critic_rate=1e-4,
        average=0.98,  # of a few hundred steps
        schedules={"1": 1500, "2": 300},
        begin="silent",
        ramp=300,
        stable_sync=0.2,
        evaluation=(100, 4),
    ),
}

BETAS = (0.5, 0.999)
CLIP_NORM = 10.0
PIXEL, PERCEPTUAL, VANILLA_SYNC, TRIPLET = 10.0, 1.0, 0.1, 0.5
#: The sync loss of stage 1 begins when the mean pixel difference is below this: before, similarities are noise.
DRAWN_BELOW = 0.1
