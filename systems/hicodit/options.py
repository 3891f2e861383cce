"""The settings of ``hicodit`` (``--set key=value``), imported when they are needed: pydantic is slow to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from bench.api import Tier

Preset = Literal["paper", "default", "fast", "tiny"]
CodecName = Literal["dac_16k", "maskgct"]


class HiCoDiTOptions(BaseModel):
    """Settings without a value are those of the sampler's preset; the preset without a value is the tier's own.

    ``mode``: whose voice is heard. ``video``: what the face suggests (the paper's row without audio); ``audio``: the
    voice of the reference (its row with audio and video). ``steps``: of all levels, or of the low ones where they are
    decoded first (``fast``, ``tiny``), the others then having ``high_steps``. Weights of guidance of 0 leave their
    branch out. ``dit``: the weights.safetensors of ``bench train hicodit --stage dit``; ``codec_file``: of its stage
    ``codec``, in the place of what is shipped or published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["video", "audio"] = Field(default="video", description="the voice: by the face, or by the reference")
    sampler: Preset | None = Field(default=None, description="default (tau, 32 steps), in tier embedded tiny (staged)")
    steps: int | None = Field(
        default=None, ge=1, le=1000, description="steps of denoising; of the low levels, if staged"
    )
    high_steps: int | None = Field(default=None, ge=1, le=1000, description="of the high levels, after the low ones")
    temperature: float | None = Field(default=None, gt=0, le=10, description="of the distribution over codes: 1")
    kappa: float | None = Field(default=None, ge=0, le=100, description="noise of the confidence sampler: 4.5")
    scales: Literal["lrs3", "lrs2"] = Field(
        default="lrs3", description="the data set whose guidance the paper prints, for sampler paper and default"
    )
    w_all: float | None = Field(default=None, ge=0, le=20, description="guidance by all conditions together")
    w_lip: float | None = Field(default=None, ge=0, le=20, description="guidance by the lips alone")
    w_id: float | None = Field(default=None, ge=0, le=20, description="guidance by the identity alone")
    w_emo: float | None = Field(default=None, ge=0, le=20, description="guidance by the emotion alone")

    emotion: Literal["constant", "tiny", "poster2"] = Field(
        default="constant", description="neutral throughout, by the small classifier, or by that of emotion_file"
    )
    emotion_file: str | None = Field(
        default=None, description="Poster V2 as TorchScript: faces to 7 logits; or weights of the stage expression"
    )
    codec: CodecName = Field(default="dac_16k", description="of the full-size model; as it was trained with")

    window_seconds: float | None = Field(
        default=None, ge=1, le=60, description="longer clips are spoken window by window: 8 above 10, embedded 4"
    )
    overlap_seconds: float | None = Field(
        default=None, ge=0, le=10, description="of two windows, less than half of one: 1, in tier embedded 0.5"
    )
    frames_per_batch: int = Field(
        default=8192, ge=1, description="tokens of a level that are denoised at once, branches of guidance included"
    )
    dit: str | None = Field(default=None, description="weights of the stage dit")
    codec_file: str | None = Field(default=None, description="weights of the stage codec")


@dataclass(frozen=True)
class Manner:
    """The settings with the tier's own values put in.

    A clip of more than ``longest`` seconds is cut into windows of ``window`` seconds that share ``overlap``.
    """

    sampler: Preset
    window: float
    overlap: float
    longest: float


def manner_of(options: HiCoDiTOptions, tier: Tier) -> Manner:
    """What is set, else what the tier has (hicodit.md C.7, C.8, E.1, E.5)."""
    small = tier == "embedded"
    window = options.window_seconds or (4.0 if small else 8.0)
    longest = window if small or options.window_seconds else 10.0
    own = 0.5 if small else 1.0
    overlap = min(own, window / 4) if options.overlap_seconds is None else options.overlap_seconds
    return Manner(options.sampler or ("tiny" if small else "default"), window, overlap, longest)
