"""What work will cost: seconds of devices and wall time. Formulas alone; :mod:`bench.cost_rates` has the rates.

Seconds of a piece of work are taken as a line over the length of its media: so much per clip and so much per second of
media. What is computed of the truth (faces, features) is paid for once, by the first system that is scored on it, and
found kept by the others. Wall time on W workers that are busy for a share u of it:

    start + load · models + max(seconds / (W · u), units · dispatch) + tail

where the tail, while the last unit keeps one worker busy, is at most (1 - 1/W) of the longest unit (units go longest
first). All sums are linear in clips and seconds of media, so that a set of any size is two numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

MIN_FIT = 8  # samples below which, or of one length alone, only the ratio of the sums is taken
SPREAD = 1.5  # longest over shortest from which a line can be told from a ratio
DISPATCH_S = 0.0002  # of the driver per unit, mostly the commit that keeps its result: 5,800 a second were measured


class Amount(NamedTuple):
    """A set of clips: how many, their seconds together, and those of the longest."""

    clips: float = 0.0
    media_s: float = 0.0
    longest_s: float = 0.0

    @classmethod
    def of(cls, durations: Sequence[float]) -> Amount:
        """The amount of clips of these lengths in seconds."""
        return cls(len(durations), sum(durations), max(durations, default=0.0))


class Line(NamedTuple):
    """Seconds of a clip: ``fixed_s`` and ``per_s`` for each second of its media."""

    fixed_s: float = 0.0
    per_s: float = 0.0

    def of(self, amount: Amount) -> float:
        """Seconds for all clips of an amount."""
        return self.fixed_s * amount.clips + self.per_s * amount.media_s

    def longest(self, amount: Amount) -> float:
        """Seconds for its longest clip."""
        return self.fixed_s + self.per_s * amount.longest_s

    def plus(self, other: Line) -> Line:
        """Both."""
        return Line(self.fixed_s + other.fixed_s, self.per_s + other.per_s)

    def without(self, other: Line, at_s: float) -> Line:
        """What is left for clips of ``at_s`` seconds when ``other`` is taken away, as time per second of media."""
        left = self.fixed_s - other.fixed_s + (self.per_s - other.per_s) * at_s
        return Line(0.0, max(0.0, left / at_s)) if at_s > 0 else Line()


NO_TIME = Line()
NOTHING = Amount()


def fit(samples: Sequence[tuple[float, float]]) -> Line | None:
    """The line through ``(seconds of media, seconds taken)``; ``None`` without media.

    Least squares where lengths differ enough, with neither part below 0; else proportional. It keeps the sum of the
    seconds either way.
    """
    media = sum(length for length, _ in samples)
    if media <= 0:
        return None
    ratio = Line(0.0, sum(seconds for _, seconds in samples) / media)
    lengths = [length for length, _ in samples]
    if len(samples) < MIN_FIT or max(lengths) < SPREAD * min(lengths):
        return ratio
    middle, mean = fmean(lengths), fmean(seconds for _, seconds in samples)
    slope = sum((length - middle) * (seconds - mean) for length, seconds in samples)
    slope /= sum((length - middle) ** 2 for length in lengths)
    if slope < 0:
        return Line(mean, 0.0)
    fixed = mean - slope * middle
    return Line(fixed, slope) if fixed >= 0 else ratio


@dataclass(frozen=True, slots=True)
class Rate:
    """What a clip of a system takes: ``own`` for each, ``once`` for each clip's truth whatever the number of systems.

    ``samples``: how many results it was measured on; 0: a guess.
    """

    own: Line
    once: Line = NO_TIME
    samples: int = 0

    @property
    def basis(self) -> str:
        """For people."""
        return f"measured on {self.samples}" if self.samples else "guess"


@dataclass(frozen=True, slots=True)
class Stage:
    """What generating or scoring takes besides.

    ``start_s``: until a first batch can run. ``load_s``: of a worker to load a model (generating: one for each run).
    ``busy``: the share of the wall time that workers work. ``samples``: units that this was measured on; 0: a guess.
    """

    start_s: float
    load_s: float
    busy: float
    samples: int = 0

    def wall(self, seconds: float, workers: int, *, units: float, longest_s: float, models: int = 1) -> float:
        """Wall seconds of ``units`` that take ``seconds`` of devices together, by the formula of this module."""
        if units <= 0:
            return 0.0
        working = max(seconds / (workers * self.busy), units * DISPATCH_S)
        return self.start_s + self.load_s * models + working + longest_s * (1 - 1 / workers)


class Cost(NamedTuple):
    """Seconds of devices for some work, those of them that rest on guesses, and of the longest unit."""

    seconds: float = 0.0
    guessed_s: float = 0.0
    longest_s: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Work of further units."""
        return Cost(
            self.seconds + other.seconds, self.guessed_s + other.guessed_s, max(self.longest_s, other.longest_s)
        )

    def within(self, other: Cost) -> Cost:
        """More work in the same units."""
        return Cost(self.seconds + other.seconds, self.guessed_s + other.guessed_s, self.longest_s + other.longest_s)


def cost(rate: Rate, amount: Amount, truths: Amount = NOTHING) -> Cost:
    """Of a system's clips, ``truths`` of which are met for the first time."""
    seconds = rate.own.of(amount) + rate.once.of(truths)
    longest = rate.own.longest(amount) if amount.clips else 0.0
    if truths.clips:
        longest += rate.once.longest(truths)
    return Cost(seconds, 0.0 if rate.samples else seconds, longest)
