"""The settings of ``wav2lip`` (``--set key=value``), imported when they are needed: pydantic is slow to load."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def four(value: Any) -> Any:
    """``0,10,0,0`` or ``0 10 0 0`` as four numbers."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


class Wav2LipOptions(BaseModel):
    """``face``: ``best`` is the most certain detection of each frame, as in the official script, and a frame without
    one fails the clip; a number N is the N-th largest track of the video (from 0), and frames without it stay as they
    are. ``pads``: pixels above, below, left and right of the detected face.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: Literal["wav2lip", "wav2lip_gan"] = "wav2lip"
    trained: str | None = Field(default=None, description="a generator of `bench train wav2lip`, for the checkpoint")
    pads: Annotated[tuple[int, int, int, int], BeforeValidator(four)] = (0, 10, 0, 0)
    smooth: bool = Field(default=True, description="boxes are averaged over five frames")
    resize_factor: int = Field(default=1, ge=1, le=64, description="the video is made smaller by this factor first")
    face: Literal["best"] | Annotated[int, Field(ge=0, le=99)] = "best"
    detector: Literal["auto", "s3fd", "dlib"] = Field(default="auto", description="s3fd, in tier embedded dlib")
    batch_size: int = Field(default=32, ge=1, le=1024, description="faces that are made at once; on a CPU at most 8")
    detector_batch_size: int = Field(default=16, ge=1, le=256, description="frames that are searched at once")
