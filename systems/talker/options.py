"""The settings of ``talker`` (``--set key=value``), imported when they are needed: pydantic is slow to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bench.systems.talker import tiny

if TYPE_CHECKING:
    from bench.api import Tier


def _parts(value: Any) -> Any:
    """``t2av,a2v`` or ``t2av a2v`` as two values; the word ``auto`` as it is."""
    return value.replace(",", " ").split() if isinstance(value, str) and value != "auto" else value


_Task = Literal["t2av", "tts", "a2v", "vts", "dub"]
TaskToken = Literal["prepend", "add_to_prefix"]


class TalkerOptions(BaseModel):
    """Settings without a value are the tier's own: those of the official command line (its ``infer.py``; the paper
    samples with temperature 0.7, the functions themselves have 20 steps, guidance 1 and a prefix of 3 s), and in tier
    embedded those that the small model was tuned with: no guidance, no prefix, the task as first token, stop after 2.

    ``gt_prefix_seconds``: so much of the reference, speech and motion, is taken for the beginning of what is generated
    (``t2av``, ``tts``); it is cut off the result before scoring unless ``keep_prefix``. ``reference_text``: what the
    reference says, put in front of each text: continuation; without it the reference is another sentence.
    ``task_token``: in training the task is the first token; the official script adds it to the first patch of the
    prefix, and leaves it out without one. ``max_seconds``: the longest speech; without it the official bound, the
    reference's length and ``margin_patches``. ``motion_file``: motion codes (T, C) for those of the reference
    video, as safetensors (tensor ``motion``) or a file of ``torch.save`` with nothing but that tensor.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: Annotated[Literal["auto"] | tuple[_Task, ...], BeforeValidator(_parts)] = "auto"

    steps: int = Field(default=10, ge=1, le=1000, description="of the flow, in both heads")
    temperature: float = Field(default=0.3, ge=0, le=2, description="scale of the noise that a patch begins from")
    cfg: float | None = Field(default=None, ge=0, le=10, description="guidance: 2, in tier embedded 1 (none)")
    sway: float = Field(default=1.0, ge=-1, le=2, description="how the steps lie in time; 0 is even")
    zero_star: bool = Field(default=True, description="guidance of the CFG-zero-star kind")
    gt_prefix_seconds: float | None = Field(default=None, ge=0, le=30, description="0.5, in tier embedded 0")
    keep_prefix: bool = Field(default=False, description="leave the prefix in the result, as the official script does")
    reference_text: str | None = Field(default=None, max_length=2000, description="what the reference says")
    task_token: TaskToken | None = Field(default=None, description="add_to_prefix, in tier embedded prepend")

    stop_threshold: float = Field(default=0.5, gt=0, lt=1, description="from which probability on a patch may end it")
    stop_k: int | None = Field(default=None, ge=1, le=100, description="so often in a row: 3, in tier embedded 2")
    min_gen_patches: int | None = Field(default=None, ge=0, le=500, description="asked from then on: 7, embedded 4")
    margin_patches: int = Field(default=15, ge=0, le=500, description="beyond the reference's length")
    max_seconds: float | None = Field(default=None, gt=0, le=600, description="the longest speech of one piece of text")

    longest_text: int | None = Field(
        default=None, ge=10, le=2000, description="characters spoken in one piece: 300, in tier embedded 40"
    )
    longest_seconds: float = Field(
        default=30.0, ge=1, le=30, description="of a reference, and of what is driven in one piece"
    )
    follow: Literal["auto", "whole", "mouth"] = Field(
        default="auto",
        description="what speech follows in vts and dub: the whole video, or the part in which the mouth moves, with "
        "silence around it; auto: whole, in tier embedded mouth",
    )
    motion_file: str | None = Field(default=None, description="the reference's motion codes")
    view: Literal["auto", "whole", "official", "face"] = Field(
        default="auto",
        description="whole: the picture squeezed to a square, what is made of it brought back to the picture's size; "
        "official: the square of 512 px as it is, which frame metrics cannot compare; face: a square around the face, "
        "the made one pasted back; auto: whole, in tier embedded face",
    )

    backbone: Literal["bfloat16", "float32"] = Field(
        default="bfloat16", description="numbers of the official backbone; in tier embedded always float32"
    )
    slots: int = Field(default=16, ge=1, le=512, description="requests that are generated at once")
    render_batch: int | None = Field(
        default=None, ge=1, le=256, description="frames that are drawn at once: 8; of the official 512 px on a CPU 1"
    )
    vae: str | None = Field(default=None, description="tier embedded: weights of the stage vae")
    motion: str | None = Field(default=None, description="tier embedded: weights of motion, motion64 or motion-detail")
    joint: str | None = Field(default=None, description="tier embedded: weights of the stage joint")


@dataclass(frozen=True)
class Manner:
    """The settings of generation with the tier's own values put in."""

    cfg: float
    prefix_seconds: float
    task_token: TaskToken
    stop_k: int
    min_gen_patches: int
    longest_text: int


_OFFICIAL = Manner(2.0, 0.5, "add_to_prefix", 3, 7, 300)
_EMBEDDED = Manner(1.0, 0.0, "prepend", 2, 4, tiny.LONGEST_TEXT)


def manner_of(options: TalkerOptions, tier: Tier) -> Manner:
    """What is set, else what the tier has."""
    own = _EMBEDDED if tier == "embedded" else _OFFICIAL

    def chosen(value: Any, other: Any) -> Any:
        return other if value is None else value

    return Manner(
        chosen(options.cfg, own.cfg),
        chosen(options.gt_prefix_seconds, own.prefix_seconds),
        chosen(options.task_token, own.task_token),
        chosen(options.stop_k, own.stop_k),
        chosen(options.min_gen_patches, own.min_gen_patches),
        chosen(options.longest_text, own.longest_text),
    )
