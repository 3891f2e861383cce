"""Sizes of the model: the full one, the tiny one and the variants of the ablations are the same classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError

Parameterisation = Literal["free", "normalized"]


@dataclass(frozen=True)
class Sizes:
    """Sizes and options of a HiCoDiT; the defaults are the full size (arXiv 2604.15923, section 4).

    Attributes:
        levels: levels of the codec; the first ``low_levels`` of them are made by the low stack.
        low_levels: levels of content and timbre.
        codes: codes K of a level; index K is the mask.
        width: channels C.
        heads: attention heads.
        ratio: width of the feed-forward layer over C.
        low_blocks: blocks of the low stack.
        high_blocks: blocks of the high stack.
        lip: size of a lip feature.
        face: size of the face vector, which the identity adapter reads.
        voice: size of the voice vector, which the adapter makes.
        classes: classes of emotion; one more stands for "not given".
        stride: codec frames of one emotion step.
        dropout: share of a branch's values that training drops.
        parameterisation: what the logits mean (`score_entropy`).
        hierarchy: two stacks; else one stack of as many blocks sees every level and every condition.
        dual_scale: temporal factors in the high blocks; else the emotion enters once for the utterance.
        emotion: whether there is an emotion condition at all.
    """

    levels: int = 12
    low_levels: int = 2
    codes: int = 1024
    width: int = 768
    heads: int = 12
    ratio: int = 4
    low_blocks: int = 8
    high_blocks: int = 8
    lip: int = 1024
    face: int = 512
    voice: int = 256
    classes: int = 7
    stride: int = 25
    dropout: float = 0.1
    parameterisation: Parameterisation = "normalized"
    hierarchy: bool = True
    dual_scale: bool = True
    emotion: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.low_levels < self.levels:
            raise UsageError(f"low_levels must lie between 0 and levels ({self.levels}), not {self.low_levels}")
        if self.width % (2 * self.heads):
            raise UsageError(f"a width of {self.width} does not make {self.heads} heads of even size")
        if self.parameterisation not in ("free", "normalized"):
            raise UsageError(f"parameterisation is free or normalized, not {self.parameterisation!r}")

    @property
    def mask(self) -> int:
        """Index of the mask token in every level."""
        return self.codes

    @property
    def null_class(self) -> int:
        """Index of the emotion class that means "not given"."""
        return self.classes

    @property
    def high_levels(self) -> int:
        """Levels of prosody and detail."""
        return self.levels - self.low_levels

    def emotion_steps(self, length: int) -> int:
        """Emotion steps of ``length`` codec frames."""
        return -(-length // self.stride)


FULL = Sizes()
TINY = Sizes(
    levels=4,
    codes=256,
    width=160,
    heads=4,
    low_blocks=3,
    high_blocks=3,
    lip=160,
    face=64,
    voice=64,
)
