"""Set values and their bootstrap intervals: means, ratios of sums, and values of whole sets.

The bootstrap is over clips: 1,000 resamples whose index matrix is
``numpy.random.default_rng(0).integers(0, n, size=(1000, n))``, the same for all protocols with
``n`` scored clips, percentiles 2.5 and 97.5 (linear), none below ten scored clips
(specs/metrics.md 0.4). Beside it stands an interval over speakers: whole speakers are drawn, with
all of their clips.

The index matrix is drawn in blocks of rows, so memory does not grow with the number of resamples;
the stream of numbers is the one that a single call would give. A resample enters only through how
often it holds each clip, so that sums over it are one matrix product for many columns at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]  # (n,)
Matrix = NDArray[np.float64]  # (rows, columns)
Codes = NDArray[np.intp]  # (n,) number of the speaker of each clip

RESAMPLES = 1000
SEED = 0
PERCENTILES = (2.5, 97.5)
MIN_CLIPS = 10  # no interval below
MIN_SPEAKERS = 2  # a resample of one speaker is always the sample itself
BLOCK_CELLS = 1_000_000  # cells of one block of counts: 8 MB as float64
SMALL_INT = 2**31
THREADS = 2  # sizes resampled at once; each holds two blocks
TILE = 16  # columns of a matrix product are padded to a multiple of this


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Statistic:
    """One number per clip, or a pair of them, whose set value is wanted.

    ``denominator`` ``None``: the mean of ``numerator``. Else the ratio of the two sums.
    Both are float64 (n,).
    """

    numerator: Vector
    denominator: Vector | None = None

    @property
    def n(self) -> int:
        """How many clips it has."""
        return len(self.numerator)

    def value(self) -> float | None:
        """The set value; ``None`` without clips or with a denominator of 0."""
        if self.n == 0:
            return None
        if self.denominator is None:
            return float(np.mean(self.numerator))
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if total else None


def count_blocks(n: int, resamples: int = RESAMPLES) -> Iterator[Matrix]:
    """How often each of ``n`` units stands in each resample: float64 blocks (b, n), in order of the resamples."""
    generator = np.random.default_rng(SEED)
    # 32-bit draws give the numbers of 64-bit ones for such small bounds, in half of the time (a test holds it).
    dtype = np.int32 if n < SMALL_INT else np.int64
    rows = max(1, BLOCK_CELLS // n)
    for start in range(0, resamples, rows):
        indices = generator.integers(0, n, size=(min(rows, resamples - start), n), dtype=dtype)
        counts = np.empty(indices.shape)
        for row, drawn in enumerate(indices):
            counts[row] = np.bincount(drawn, minlength=n)
        yield counts


def resampled_sums(columns: Matrix, resamples: int = RESAMPLES) -> Matrix:
    """The sum of each column over each resample of the rows: (n, k) -> (resamples, k).

    Columns are padded with zeros to whole tiles, so that BLAS treats each of them alike and the last
    bits of a sum do not depend on which other columns are summed with it.
    """
    n, width = columns.shape
    padded = np.zeros((n, width + -width % TILE))
    padded[:, :width] = columns
    return np.concatenate([(counts @ padded)[:, :width] for counts in count_blocks(n, resamples)])


def interval_of(samples: Vector) -> Interval | None:
    """The 2.5 and 97.5 percentiles of the finite samples; ``None`` where fewer than half are finite."""
    finite = samples[np.isfinite(samples)]
    if 2 * len(finite) < len(samples) or not len(finite):
        return None
    low, high = np.percentile(finite, PERCENTILES)
    return Interval(float(low), float(high))


def _ratio(numerator: Vector, denominator: Vector) -> Vector:
    with np.errstate(divide="ignore", invalid="ignore"):
        return numerator / denominator


def resample_all(statistics: Sequence[Statistic], resamples: int = RESAMPLES) -> list[Vector]:
    """The set value of each statistic in each resample, float64 (resamples,) per statistic.

    Statistics of equal ``n`` share the index matrix and one pass over it. None may be empty.
    """
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for position, statistic in enumerate(statistics):
        by_size[statistic.n].append(position)

    def resample(positions: list[int]) -> list[Vector]:
        return _resample_equal([statistics[position] for position in positions], resamples)

    # Drawing and multiplying leave the interpreter free, so sizes run side by side; results do not depend on it.
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(resample, by_size.values())
        result = {
            p: samples
            for group, many in zip(by_size.values(), found, strict=True)
            for p, samples in zip(group, many, strict=True)
        }
    return [result[position] for position in range(len(statistics))]


def _resample_equal(statistics: Sequence[Statistic], resamples: int) -> list[Vector]:
    """As :func:`resample_all`, for statistics of one size."""
    columns = [column for statistic in statistics for column in _columns(statistic)]
    sums = iter(resampled_sums(np.column_stack(columns), resamples).T)
    found = []
    for statistic in statistics:
        top = next(sums)
        found.append(top / statistic.n if statistic.denominator is None else _ratio(top, next(sums)))
    return found


def _columns(statistic: Statistic) -> list[Vector]:
    denominator = statistic.denominator
    return [statistic.numerator] if denominator is None else [statistic.numerator, denominator]


def clip_intervals(statistics: Sequence[Statistic], resamples: int = RESAMPLES) -> list[Interval | None]:
    """The interval over clips of each statistic; ``None`` below :data:`MIN_CLIPS`."""
    large = [s for s in statistics if s.n >= MIN_CLIPS]
    found = iter([interval_of(samples) for samples in resample_all(large, resamples)])
    return [next(found) if s.n >= MIN_CLIPS else None for s in statistics]


def speaker_codes(speakers: Sequence[str | None]) -> Codes | None:
    """A number per clip that is equal for clips of one speaker; ``None`` unless every speaker is known."""
    if not speakers or any(speaker is None for speaker in speakers):
        return None
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(speaker, len(numbers)) for speaker in speakers], dtype=np.intp)


def by_speaker(statistic: Statistic, codes: Codes) -> Statistic:
    """The statistic with one entry per speaker: sums over the speaker's clips."""
    denominator = np.ones(statistic.n) if statistic.denominator is None else statistic.denominator
    clusters = int(codes.max()) + 1
    return Statistic(
        np.bincount(codes, weights=statistic.numerator, minlength=clusters).astype(np.float64),
        np.bincount(codes, weights=denominator, minlength=clusters).astype(np.float64),
    )


def speaker_intervals(
    statistics: Sequence[Statistic], codes: Sequence[Codes | None], resamples: int = RESAMPLES
) -> list[Interval | None]:
    """The interval over speakers of each statistic (all clips of a drawn speaker enter).

    ``codes``: 0, 1, … per clip, all of them in use. ``None`` where the speakers are not known, are fewer than
    :data:`MIN_SPEAKERS`, or there are fewer than :data:`MIN_CLIPS` clips.
    """
    usable = [
        s.n >= MIN_CLIPS and c is not None and int(c.max()) + 1 >= MIN_SPEAKERS
        for s, c in zip(statistics, codes, strict=True)
    ]
    grouped = [by_speaker(s, c) for s, c, use in zip(statistics, codes, usable, strict=True) if use and c is not None]
    found = iter([interval_of(samples) for samples in resample_all(grouped, resamples)])
    return [next(found) if use else None for use in usable]


#: ``counts`` (b, n) -> one value per row: ``Metric.aggregate`` with its other arguments given.
Aggregate = Callable[[Matrix], Vector]


class CorpusResult(NamedTuple):
    """A set value that is no mean, with its intervals."""

    value: float | None
    clips: Interval | None
    speakers: Interval | None


def corpus_result(
    aggregate: Aggregate, n: int, codes: Codes | None = None, *, intervals: bool = True, resamples: int = RESAMPLES
) -> CorpusResult:
    """Value and intervals of a statistic that only the metric can compute (a Fréchet distance)."""
    if n == 0:
        return CorpusResult(None, None, None)
    value = float(aggregate(np.ones((1, n)))[0])
    if not np.isfinite(value):
        return CorpusResult(None, None, None)
    if not intervals or n < MIN_CLIPS:
        return CorpusResult(value, None, None)
    over_clips = interval_of(np.concatenate([aggregate(counts) for counts in count_blocks(n, resamples)]))
    over_speakers = None
    if codes is not None and codes.max() + 1 >= MIN_SPEAKERS:
        drawn = count_blocks(int(codes.max()) + 1, resamples)
        blocks = (counts[start : start + 64] for counts in drawn for start in range(0, len(counts), 64))
        over_speakers = interval_of(np.concatenate([aggregate(block[:, codes]) for block in blocks]))
    return CorpusResult(value, over_clips, over_speakers)


@dataclass(frozen=True)
class SetResult:
    """Clips counted, and one set value over the scored ones (specs/metrics.md 0.2)."""

    value: float | None
    interval: Interval | None
    n_total: int
    n_scored: int
    failures: Mapping[str, int]

    @property
    def n_failed(self) -> int:
        """Clips without a value."""
        return self.n_total - self.n_scored

    @property
    def complete(self) -> bool:
        """Whether every clip has a value."""
        return self.n_failed == 0


def set_result(statistic: Statistic, failed_kinds: Sequence[str], resamples: int = RESAMPLES) -> SetResult:
    """The set result of scored clips (``statistic``) and failed ones (their kinds)."""
    return SetResult(
        statistic.value(),
        clip_intervals([statistic], resamples)[0],
        statistic.n + len(failed_kinds),
        statistic.n,
        dict(Counter(failed_kinds)),
    )


def vector(values: Sequence[Any]) -> Vector:
    """``values`` as float64 (n,)."""
    return np.asarray(values, dtype=np.float64)
