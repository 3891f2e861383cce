"""Settings of the stage ``joint``, and what each configuration has for them (talker.md 9.4, 14.3, 14.4, 14.6.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.systems.talker import tiny
from bench.systems.talker.speech_llm import SpeechLLMConfig

_Share = Field(default=None, ge=0, le=1)
_Weight = Field(default=None, ge=0)


class JointOptions(BaseModel):
    """``None``: what the configuration has.

    ``vae`` and ``motion`` are files of those stages (tiny; without them the shipped ones are taken). ``start``:
    ``fresh``, or a file to take weights from where name and shape agree: a Talker or Qwen3 checkpoint, or one of the
    text-to-speech model that Talker grew out of; without it full size goes on from the official file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vae: str | None = None
    motion: str | None = None
    start: str | None = None
    batch_size: int | None = Field(default=None, ge=1, le=4096, description="clips per batch and process")
    positions: int | None = Field(default=None, ge=1, description="the most positions of a batch; long clips: fewer")
    pool: int = Field(default=8, ge=1, description="batches among which clips are sorted by length")
    accumulate: int = Field(default=1, ge=1, le=1024, description="batches a step")
    recompute: bool | None = Field(default=None, description="gradient checkpointing")
    rate: float | None = Field(default=None, gt=0, le=1, description="greatest learning rate of AdamW")
    schedule: int | None = Field(default=None, ge=2, description="steps over which the rate falls")
    repeats: int | None = Field(default=None, ge=1, le=64, description="draws of time and noise for each patch")
    speech_share: float | None = _Share
    motion_share: float | None = _Share
    motion_weight: float | None = _Weight
    stop_weight: float | None = _Weight
    phoneme_weight: float | None = _Weight
    latent_weight: float | None = _Weight
    text_drop: float | None = _Share
    tts_share: float | None = _Share
    sound_share: float | None = _Share
    whole_share: float | None = _Share
    ahead: int | None = Field(default=None, ge=0, le=16, description="patches that a stream without text is ahead")
    keep: Literal["best", "last"] = "best"
    eval_every: int = Field(default=200, ge=1, description="steps between two evaluations")
    eval_batches: int = Field(default=2, ge=1, description="batches of an evaluation")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides a training.

    Attributes:
        sizes: of the network.
        batch_size: clips per batch and process.
        rate, warm_up, floor, schedule: greatest learning rate, steps of its rise, what is left of it in the end, and
            the steps until then.
        repeats: draws of time and noise for each patch that a head learns from.
        speech_share, motion_share: the part of a batch's patches that the heads learn from.
        motion_weight, stop_weight, phoneme_weight, latent_weight: of the losses beside speech; the last two are of
            training-only read-outs of the states.
        text_drop: how often a clip's text is left out; one stream is then given and the other made to it, where the
            given one is ``ahead``.
        sound_share: how often the sound is what is given then.
        tts_share: how often its motion is.
        whole_share: how often it is not trimmed to its speech; None: clips are never trimmed.
        ahead: patches that a given stream is ahead; 0: as the official model, which learns both streams at once.
        recompute: gradient checkpointing.
        embedding_deviation: of fresh embeddings.
        average: decay of the average of the weights that is kept; None: the weights themselves are.
    """

    sizes: SpeechLLMConfig
    batch_size: int
    rate: float
    warm_up: int
    floor: float
    schedule: int
    repeats: int
    speech_share: float
    motion_share: float
    motion_weight: float
    stop_weight: float
    phoneme_weight: float
    latent_weight: float
    text_drop: float
    sound_share: float
    tts_share: float
    whole_share: float | None
    ahead: int
    recompute: bool
    embedding_deviation: float
    average: float | None

    def changed(self, options: JointOptions) -> Recipe:
        """With what the settings say otherwise."""
        given = options.model_dump(exclude_none=True)
        return replace(self, **{name: value for name, value in given.items() if name in self.__slots__})

    def described(self) -> dict[str, Any]:
        """All but the sizes, in JSON's types."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "sizes"}


RECIPES = {
    "full": Recipe(
        sizes=SpeechLLMConfig(),
        batch_size=8,
        rate=1e-4,
        warm_up=20_000,
        floor=0.01,
        schedule=200_000,
        repeats=2,
        speech_share=1.0,
        motion_share=1.0,
        motion_weight=10.0,
        stop_weight=1.0,
        phoneme_weight=0.0,
        latent_weight=0.0,
        text_drop=0.0,
        sound_share=0.0,
        tts_share=0.0,
        whole_share=None,
        ahead=0,
        recompute=True,
        embedding_deviation=0.02,
        average=None,
    ),
    "tiny": Recipe(
        sizes=tiny.LLM,
        batch_size=24,
        rate=2e-3,
        warm_up=100,
        floor=0.05,
        schedule=4000,
        repeats=1,
        speech_share=0.5,
        motion_share=0.15,
        motion_weight=2.0,
        stop_weight=0.2,
        phoneme_weight=1.0,
        latent_weight=1.0,
        text_drop=0.45,
        sound_share=0.3,
        tts_share=0.1,
        whole_share=0.2,
        ahead=tiny.AHEAD,
        recompute=False,
        embedding_deviation=0.1,
        average=0.99,
    ),
}
