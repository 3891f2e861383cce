"""The settings of the baselines (``--set key=value``), imported when they are needed: pydantic is slow to load."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bench import espeak
from bench.api import did_you_mean


class EspeakOptions(BaseModel):
    """Settings of ``espeak``. ``voice`` is a variant of American English, the empty string the plain voice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: str = "m6"
    pitch: int = Field(default=80, ge=espeak.PITCH_RANGE[0], le=espeak.PITCH_RANGE[1])
    rate: int = Field(default=130, ge=espeak.RATE_RANGE[0], le=espeak.RATE_RANGE[1], description="words per minute")

    @field_validator("voice")
    @classmethod
    def _known(cls, voice: str) -> str:
        if voice and not espeak.available() and voice not in espeak.variants():
            raise ValueError(f"unknown voice; {did_you_mean(voice, espeak.variants())}")
        return voice


class OutputsOptions(BaseModel):
    """Settings of ``outputs``: the folder, and the name that tables show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dir: str
    name: str = ""
