"""The settings of Wav2Lip's training (``bench train wav2lip --set key=value``) and its two configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bench.faces.boxes import NO_PADS, Pads
from bench.systems.wav2lip.expert import SmallSyncNet, SyncExpert, SyncNetColor
from bench.systems.wav2lip.generator import GeneratorSizes
from bench.systems.wav2lip.options import four


class DataOptions(BaseModel):
    """How faces are found, and how fast is learnt. ``box``: top, bottom, left, right of every picture's face, in
    pixels (-1: to the end), in place of a detector. ``None``: what the configuration has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: Literal["s3fd", "dlib"] | None = None
    box: Annotated[tuple[int, int, int, int] | None, BeforeValidator(four)] = None
    batch_size: int | None = Field(default=None, ge=2, le=4096, description="samples per step and process")
    rate: float | None = Field(default=None, gt=0, le=1, description="learning rate of Adam")
    eval_every: int | None = Field(default=None, ge=1, description="steps between two evaluations")
    eval_batches: int | None = Field(default=None, ge=1, description="batches of an evaluation")


class GeneratorOptions(DataOptions):
    """``expert``: a file that the stage ``expert`` has made; without one the official file (``bench weights add``), in
    configuration ``tiny`` the shipped one.
    ``gan``: with the discriminator, as ``hq_wav2lip_train.py``."""

    expert: str | None = None
    gan: bool = False


@dataclass(frozen=True)
class Size:
    """Networks, batches and learning rates of a configuration.

    ``small`` is the expert of our own; the generator's ``sizes`` decide the size of faces, which are cut with ``pads``
    and ``smooth``: the source trains on other boxes than it draws in, the tiny configuration on the same.
    ``copying``: the generator begins as :mod:`bench.systems.wav2lip.copying` says. ``average``: the decay of an
    exponential average of its weights, which is what is written then.
    """

    small: bool
    sizes: GeneratorSizes
    detector: Literal["s3fd", "dlib"]
    expert_batch: int
    generator_batch: int
    expert_rate: float
    generator_rate: float
    critic_width: int
    critic_rate: float
    expert_eval: tuple[int, int]  # every so many steps, over so many batches
    generator_eval: tuple[int, int]
    pads: Pads = NO_PADS
    smooth: bool = False
    copying: bool = False
    average: float | None = None

    def expert(self) -> SyncExpert:
        """With fresh weights."""
        return SmallSyncNet(image=self.sizes.image) if self.small else SyncNetColor(image=self.sizes.image)


#: ``full``: ``Rudrabha/Wav2Lip: color_syncnet_train.py, wav2lip_train.py, hparams.py``. ``tiny``: tfg.md 2.6 but 96 px:
#: at 64 the upper half of a face, which is only copied, comes back visibly softer, and its identity less sure.
SIZES = {
    "full": Size(
        small=False,
        sizes=GeneratorSizes(),
        detector="s3fd",
        expert_batch=64,
        generator_batch=16,
        expert_rate=1e-4,
        generator_rate=1e-4,
        critic_width=32,
        critic_rate=1e-4,
        expert_eval=(10_000, 1400),
        generator_eval=(3000, 700),
    ),
    "tiny": Size(
        small=True,
        sizes=GeneratorSizes(
            image=96,
            stem=8,
            widths=(16, 24, 32, 48, 64),
            depths=(1, 1, 1, 1, 1),
            embedding=64,
            audio=(16, 24, 32, 48),
            decoder=(64, 64, 48, 32, 24, 16),
            output=16,
        ),
        detector="dlib",
        expert_batch=16,
        generator_batch=4,
        expert_rate=1e-3,
        generator_rate=1e-3,
        critic_width=8,
        critic_rate=1e-4,
        expert_eval=(100, 8),
        generator_eval=(100, 8),
        pads=Pads(),
        smooth=True,
        copying=True,
        average=0.99,
    ),
}


@dataclass(frozen=True)
class Losses:
    """Weights of the generator's losses: ``sync`` from the evaluation on whose sync loss is below :data:`SYNC_BELOW`,
    ``adversarial`` throughout; the rest to 1 is the pixels'. ``betas`` are Adam's."""

    sync: float
    adversarial: float
    betas: tuple[float, float]


SYNC_BELOW = 0.75
PLAIN = Losses(0.01, 0.0, (0.9, 0.999))
GAN = Losses(0.03, 0.07, (0.5, 0.999))


def described(options: DataOptions, size: Size) -> dict[str, Any]:
    """What of the settings decides a training's result, in JSON's types."""
    told = options.model_dump(mode="json", exclude={"expert"})
    return {**told, "detector": options.detector or size.detector}
