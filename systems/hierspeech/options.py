"""The settings of ``hierspeech`` (``--set key=value``), imported when they are needed: pydantic is slow to load."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _parts(value: Any) -> Any:
    """``0,10,0,0`` or ``0 10 0 0`` as four values; the word ``auto`` as it is."""
    return value.replace(",", " ").split() if isinstance(value, str) and value != "auto" else value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


_Task = Literal["tts", "t2av", "a2v"]


class HierSpeechOptions(BaseModel):
    """``tasks``: which ones it does; those of ``auto`` that nobody named and whose files are not here are left out.

    The defaults of speech are those of the official code's shell scripts (its ``inference.py`` itself has denoise 0.8
    and 48 kHz). ``face``: number of a track of the identity video, the largest is 0, and frames without it stay as they
    are; ``best``: the most certain detection of each frame, and a frame without one fails the clip. ``silent``: how the
    lips of the identity reference are closed: by the ``generator`` for it, by taking the ``closed_frame``, or not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: Annotated[Literal["auto"] | tuple[_Task, ...], BeforeValidator(_parts)] = "auto"

    output_rate: Annotated[Literal[16000, 24000, 48000], BeforeValidator(_number)] = Field(
        default=16000, description="Hz; above 16000 by SpeechSR"
    )
    noise_scale_ttv: float = Field(default=0.333, ge=0, le=2, description="spread of text-to-vec; 0.667 is expressive")
    noise_scale_w: float = Field(default=1.0, ge=0, le=2, description="spread of the durations")
    noise_scale: float = Field(default=0.333, ge=0, le=2, description="spread of the synthesizer")
    length_scale: float = Field(default=1.0, ge=0.25, le=4, description="slower above 1")
    max_token_frames: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="a token lasts at most so many 20 ms: 100, in tier embedded 60; the official code has no limit",
    )
    scale_norm: Literal["max", "prompt"] = Field(default="max", description="peak 0.999, or that of the reference")
    denoise_ratio: float = Field(default=0.0, ge=0, le=1, description="share of the denoised reference in the voice")
    voice_seconds: float = Field(default=30.0, ge=1, le=120, description="so much of the reference counts")
    voice_repeats: int = Field(default=1, ge=1, le=10, description="how often a reference below 3 s is repeated")
    longest_sentence: int = Field(default=300, ge=20, le=2000, description="characters that are spoken in one piece")
    sentence_batch: int = Field(
        default=8,
        ge=1,
        le=64,
        description="pieces of all texts that are made at once; 1: each alone, equal to the bit whatever comes with it",
    )
    official_list_repr: bool = Field(default=False, description="quotes around the text, as the official script has")

    face: Literal["best"] | Annotated[int, Field(ge=0, le=99)] = 0
    silent: Literal["generator", "closed_frame", "off"] = "generator"
    pads: Annotated[tuple[int, int, int, int], BeforeValidator(_parts)] = Field(
        default=(0, 10, 0, 0), description="pixels above, below, left and right of the detected face"
    )
    smooth: bool = Field(default=True, description="boxes are averaged over five frames")
    feather: int = Field(
        default=16,
        ge=0,
        le=64,
        description="pixels inside the box over which the frame goes over into the face, at most a quarter of it; "
        "0: a hard edge, as Wav2Lip has",
    )
    detector: Literal["auto", "s3fd", "dlib"] = Field(default="auto", description="s3fd, in tier embedded dlib")
    face_checkpoint: Literal["full", "stage1", "no_sync"] = Field(
        default="full", description="of tier embedded: after both stages, the first alone, both without the sync loss"
    )
    face_batch: int = Field(default=32, ge=1, le=1024, description="faces that are made at once; on a CPU at most 8")
    detector_batch_size: int = Field(default=16, ge=1, le=256, description="frames that are searched at once")
