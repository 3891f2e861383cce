"""Settings of the stage ``dit``, and what each configuration has for them (hicodit.md C.4, E.1, E.5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.systems.hicodit.options import CodecName
from bench.systems.hicodit.sizes import FULL, TINY, Sizes

Identity = Literal["voice", "visual"]
_Share = Field(default=None, ge=0, le=1)


class DitOptions(BaseModel):
    """``None``: what the configuration has.

    ``codec``: a file of the stage ``codec`` (tiny; without it the shipped one). ``start``: weights of this stage to go
    on from. ``hierarchy``, ``dual_scale`` and ``emotion``: ``false`` for the ablations of the paper, and one of ours.
    ``identity``: what the speech model is told of the speaker, the voice's vector (paper) or the face adapter's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: str | None = None
    tokens: CodecName = Field(default="dac_16k", description="codec of full size")
    start: str | None = None
    hierarchy: bool = Field(default=True, description="false: one stack, all conditions on all tokens")
    dual_scale: bool = Field(default=True, description="false: plain AdaLN, one emotion per utterance")
    emotion: bool = Field(default=True, description="false: no expression stream")
    identity: Identity = "voice"
    parameterisation: Literal["free", "normalized"] | None = None
    batch_size: int | None = Field(default=None, ge=1, le=4096, description="clips per batch and process")
    rate: float | None = Field(default=None, gt=0, le=1, description="greatest learning rate of AdamW")
    schedule: int | None = Field(default=None, ge=2, description="steps over which the rate falls")
    two_times: float | None = _Share
    drop_all: float | None = _Share
    drop_each: float | None = _Share
    eval_every: int | None = Field(default=None, ge=1, description="steps between two evaluations")
    eval_clips: int | None = Field(default=None, ge=0, description="held-out clips of an evaluation")
    sound_every: int | None = Field(default=None, ge=0, description="steps between two audio samples; 0: none")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides a training.

    Attributes:
        sizes: of the network.
        batch_size: clips per batch and process.
        crop: the fewest and the most codec frames of a batch's crops; even.
        seconds: shorter clips are left out, longer ones are cut.
        rate, betas, weight_decay, warm_up: of AdamW.
        schedule, floor: steps of the cosine, and what it leaves of the rate; ``None``: the rate stays.
        average: decay of the average of the weights that is shipped.
        level_weights: of each level's loss; (): all alike.
        time_floor: below it the weight of an early time grows no further.
        two_times: how often the two groups of levels have times of their own.
        drop_all, drop_each: how often all conditions are left out, else each of them.
        identity_weight: of the distance between face adapter and voice.
        eval_every, eval_clips, sound_every: what is measured and heard on the way.
    """

    sizes: Sizes
    batch_size: int
    crop: tuple[int, int]
    seconds: tuple[float, float]
    rate: float
    betas: tuple[float, float]
    weight_decay: float
    warm_up: int
    schedule: int | None
    floor: float
    average: float
    level_weights: tuple[float, ...]
    time_floor: float
    two_times: float
    drop_all: float
    drop_each: float
    identity_weight: float
    eval_every: int
    eval_clips: int
    sound_every: int

    def changed(self, options: DitOptions) -> Recipe:
        """With what the settings say otherwise."""
        given = options.model_dump(exclude_none=True)
        sizes = replace(self.sizes, **{name: given[name] for name in _OF_SIZES if name in given})
        return replace(self, sizes=sizes, **{name: value for name, value in given.items() if name in self.__slots__})

    def described(self) -> dict[str, Any]:
        """All but the sizes, in JSON's types."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "sizes"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


_OF_SIZES = ("hierarchy", "dual_scale", "emotion", "parameterisation")

RECIPES = {
    "full": Recipe(
        sizes=FULL,
        batch_size=32,
        crop=(100, 300),
        seconds=(1.0, 20.0),
        rate=1e-4,
        betas=(0.9, 0.999),
        weight_decay=0.01,
        warm_up=2500,
        schedule=None,
        floor=1.0,
        average=0.9999,
        level_weights=(),
        time_floor=0.0,
        two_times=0.5,
        drop_all=0.1,
        drop_each=0.1,
        identity_weight=100.0,
        eval_every=5000,
        eval_clips=200,
        sound_every=5000,
    ),
    "tiny": Recipe(
        sizes=TINY,
        batch_size=8,
        crop=(64, 64),
        seconds=(0.0, 60.0),
        rate=1.5e-3,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        warm_up=100,
        schedule=3700,
        floor=0.05,
        average=0.99,
        level_weights=(2.0, 1.0, 0.6, 0.4),
        time_floor=0.05,
        two_times=0.5,
        drop_all=0.1,
        drop_each=0.1,
        identity_weight=100.0,
        eval_every=500,
        eval_clips=24,
        sound_every=1000,
    ),
}
