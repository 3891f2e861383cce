"""Guidance: log scores of several settings of the conditions, joined to one (hicodit.md C.6; arXiv 2502.01046)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from bench.systems.hicodit.schedule import SCHEDULE, LogLinear, over_codes

#: Settings of the conditions -> which are dropped, in the order of the network's flags: lip, identity, emotion.
BRANCHES: dict[str, tuple[bool, bool, bool]] = {
    "none": (True, True, True),
    "lip": (False, True, True),
    "identity": (True, False, True),
    "emotion": (True, True, False),
    "all": (False, False, False),
}


@dataclass(frozen=True)
class Guidance:
    """How strongly the conditions pull. The defaults pull with nothing: the network's conditional scores as they are.

    Attributes:
        w_all: scale of all conditions together.
        w_lip: scale of lip motion alone.
        w_id: scale of identity alone.
        w_emo: scale of emotion alone.
        b: power of the unconditional score at the base: 1, or 2 for the literal product of DEmoFace's two factors.
        renormalize: whether the total rate at which tokens are revealed is set back to the exact one.
    """

    w_all: float = 1.0
    w_lip: float = 0.0
    w_id: float = 0.0
    w_emo: float = 0.0
    b: float = 1.0
    renormalize: bool = True

    def __post_init__(self) -> None:
        if self.b not in (1, 2):
            raise ValueError(f"guidance: the base is the first or the second power of the score, not {self.b}")

    def scales(self, *, low: bool = False) -> dict[str, float]:
        """Setting -> scale, without those of scale 0, in the order of ``BRANCHES``.

        Args:
            low: for the low levels, which do not see the emotion: emotion alone is the same as none there.
        """
        emotion = 0.0 if low else self.w_emo
        scales = {"lip": self.w_lip, "identity": self.w_id, "emotion": emotion, "all": self.w_all}
        return {name: scale for name, scale in scales.items() if scale != 0}

    def branches(self, *, low: bool = False) -> tuple[str, ...]:
        """The settings that the network must be asked for, in the order of ``BRANCHES``."""
        scales = self.scales(low=low)
        return ("all",) if self._pulls_nothing(scales) else ("none", *scales)

    def combine(
        self,
        scores: Mapping[str, Tensor],
        time: Tensor | float,
        *,
        low: bool = False,
        schedule: LogLinear = SCHEDULE,
    ) -> Tensor:
        """One set of log scores from those of each setting in ``branches(low=low)``.

        Without any pull the conditional scores come back as they are, unscaled in every parameterisation.

        Args:
            scores: setting -> log scores ``(..., K)`` of masked positions.
            time: the time, a float or of the positions' shape ``(...)`` (sizes of 1 are spread).
            low: whether these are low levels.
            schedule: the noise schedule.
        """
        scales = self.scales(low=low)
        if self._pulls_nothing(scales):
            return scores["all"]
        joined = pulled(scores, scales, self.b)
        return exact_rate(joined, time, schedule) if self.renormalize else joined

    def _pulls_nothing(self, scales: Mapping[str, float]) -> bool:
        return self.b == 1 and scales == {"all": 1.0}


#: Conditional sampling without guidance: one setting.
PLAIN = Guidance()
#: The paper's scales by data set (arXiv 2604.15923; which symbol is the emotion's is inferred, hicodit.md A.4).
PAPER: dict[str, Guidance] = {
    "lrs3": Guidance(w_all=2.5, w_lip=2.0, w_id=1.25, w_emo=1.5),
    "lrs2": Guidance(w_all=2.25, w_lip=2.0, w_id=1.25, w_emo=1.5),
}


def paper_guidance(dataset: str | None) -> Guidance:
    """The paper's scales for a data set; LRS3's for one of which the paper says nothing."""
    return PAPER.get(dataset or "", PAPER["lrs3"])


def pulled(scores: Mapping[str, Tensor], scales: Mapping[str, float], b: float = 1.0) -> Tensor:
    """Unconditional log scores ``(..., K)`` times ``b``, and what each setting adds to them, times its scale."""
    none = scores["none"]
    joined = none * b
    for name, scale in scales.items():
        joined = joined + scale * (scores[name] - none)
    return joined


def exact_rate(log_scores: Tensor, time: Tensor | float, schedule: LogLinear = SCHEDULE) -> Tensor:
    """Log scores ``(..., K)`` of the same distribution over codes, with the sum that the true scores have."""
    return log_scores.log_softmax(-1) - over_codes(schedule.log_ratio(time))
