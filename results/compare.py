"""Paired comparison of two runs, protocol by protocol, on the clips that both have a value for.

Clips are common where their ids and their references' hashes are equal. Per column: both set values
on these clips, their difference with a 95 % interval (both runs resampled alike, 1,000 times), the
p-value of a permutation test with Holm's adjustment over all columns, the standardised effect, and
how many clips each run wins. Differences are first minus second, in the protocol's own unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from bench.api import Unscorable, UsageError, did_you_mean
from bench.protocols import Selection, select
from bench.results.imported import IMPORTED_WEIGHTS
from bench.results.labels import tell_apart
from bench.results.leaderboard import slow_set_value, statistic
from bench.results.ranking import cost
from bench.results.significance import Pair, Rows, corpus_p, holm, permutation_p, standardised_effect
from bench.results.stats import MIN_CLIPS, Interval, Matrix, Statistic, Vector, count_blocks, interval_of, resample_all
from bench.results.table import Column, Group
from bench.store import Store
from bench.store_records import RunClip, RunRecord, ScoreColumn

SIGNIFICANT = 0.05
CORPUS_FLIPS = 1000  # each costs two values of the whole set
GREATEST = 10  # clips listed per column


@dataclass(frozen=True)
class ClipDifference:
    """One clip's two values."""

    clip_id: str
    first: float
    second: float


@dataclass(frozen=True)
class Comparison:
    """One column. ``wins``, ``ties`` and ``losses`` count clips from the first run's point of view.

    They, ``effect`` and ``clips`` are ``None`` or empty for values that exist for sets alone.
    ``p_holm`` is adjusted over the columns of the report. ``better`` names the run whose value is
    better where the adjusted p-value is below 0.05.
    """

    column: Column
    n: int
    first: float
    second: float
    interval: Interval | None
    p: float | None
    p_holm: float | None
    effect: float | None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    clips: Sequence[ClipDifference] = ()

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second

    @property
    def better(self) -> Literal["first", "second", ""]:
        """Which run is better beyond doubt, if any."""
        if self.p_holm is None or self.p_holm >= SIGNIFICANT:
            return ""
        direction = self.column.value.direction
        return "first" if cost(self.first, direction) < cost(self.second, direction) else "second"


@dataclass(frozen=True)
class Report:
    """Two runs and their columns. ``n_common``: clips with equal references in both."""

    first: RunRecord
    second: RunRecord
    labels: tuple[str, str]
    n_common: int
    comparisons: Sequence[Comparison]
    notes: Sequence[str]


def resolve(store: Store, first: str, second: str, **filters: str | None) -> list[tuple[RunRecord, RunRecord]]:
    """Pairs of runs that two names mean: run ids (or prefixes), or systems.

    Two systems are paired in every group (data set, split, task, condition) that both have one run in.

    Raises:
        UsageError: an unknown name, no common group, or several runs of one system in a group.
    """
    left, right = _runs(store, first, filters), _runs(store, second, filters)
    pairs = [(a, b) for group, a in left.items() if (b := right.get(group)) is not None]
    if len(left) == len(right) == 1 and not pairs:
        pairs = [(next(iter(left.values())), next(iter(right.values())))]
    if not pairs:
        raise UsageError(
            f"{first!r} and {second!r} have no data set, split, task and condition in common",
            "`bench runs list` shows the runs; name two run ids to compare across conditions.",
        )
    if any(a.id == b.id for a, b in pairs):
        raise UsageError(f"{first!r} and {second!r} are the same run", "name two different runs or systems.")
    return pairs


def _runs(store: Store, name: str, filters: Mapping[str, str | None]) -> dict[Group, RunRecord]:
    wanted = {key: value for key, value in filters.items() if value is not None}
    found = store.runs(system=name, **wanted) or [_one(store, name, wanted)]
    by_group: dict[Group, RunRecord] = {}
    for run in found:
        group = Group(run.dataset, run.split, run.task, run.pairing, run.audio, run.reference)
        if group in by_group:
            raise UsageError(
                f"several runs of {name!r} on {group.title}: {by_group[group].id[:12]}, {run.id[:12]}",
                "name one by its run id.",
            )
        by_group[group] = run
    return by_group


def _one(store: Store, name: str, wanted: Mapping[str, str]) -> RunRecord:
    """The run whose id begins with ``name``, which no run under ``wanted`` has as its system."""
    runs = store.runs()
    systems = {run.system for run in runs}
    if name in systems:
        chosen = ", ".join(f"{key} {value}" for key, value in wanted.items())
        raise UsageError(f"system {name!r} has no run here with {chosen}", "`bench runs list` lists all.")
    if not any(run.id.startswith(name) for run in runs):
        raise UsageError(f"{name!r} is no system and no run here", did_you_mean(name, systems, "bench runs list"))
    return store.run(name)


@dataclass(frozen=True)
class _Measured:
    """A column before its p-value is adjusted; ``pair`` is absent for set values."""

    comparison: Comparison
    pair: Pair | None = None
    rows: Rows | None = None


def compare(
    store: Store, first: RunRecord, second: RunRecord, *, metrics: Sequence[str] | str = "all", greatest: int = GREATEST
) -> Report:
    """The headline values of all protocols that both runs have scores of; ``greatest``: clips listed for each.

    Raises:
        UsageError: an unknown protocol, no common clip, or no common protocol.
    """
    common = _Common.of(store.run_clips(first.id), store.run_clips(second.id))
    if not common.n:
        raise UsageError(
            f"runs {first.id[:12]} and {second.id[:12]} have no clip with an equal reference in common",
            "a paired comparison needs the same clips, pairing and audio.",
        )
    selection = select(metrics, runnable=False)
    shared = set.intersection(*(set(selection.judging(r.task, store.protocols(r.id))) for r in (first, second)))
    if not shared:
        raise UsageError("the two runs have no scored protocol in common", "`bench score` both under the same ones.")
    measured: list[_Measured] = []
    notes = _notes(first, second, common)
    for pid in sorted(shared, key=lambda pid: (not selection.get(pid).gated, pid)):
        columns = [
            store.scores(run.id, pid, reference_is_run="cost" in selection.get(pid).needs) for run in (first, second)
        ]
        found, left_out = _protocol(selection, pid, columns, common, greatest)
        measured += found
        notes += left_out
    names = tell_apart([first, second])
    labels = (names[first.id], names[second.id])
    return Report(first, second, labels, common.n, _adjusted(_tested(measured, common.n)), notes)


@dataclass(frozen=True)
class _Common:
    """The clips of two runs with equal ids and references, and their places in each run."""

    n: int
    only_first: int
    only_second: int
    changed: int  # equal ids, other references
    left: Rows
    right: Rows

    @classmethod
    def of(cls, first: Sequence[RunClip], second: Sequence[RunClip]) -> _Common:
        places = {clip.clip_id: place for place, clip in enumerate(second)}
        both = [(i, places[clip.clip_id]) for i, clip in enumerate(first) if clip.clip_id in places]
        same = [(i, j) for i, j in both if first[i].reference_sha256 == second[j].reference_sha256]
        pairs = np.array(same, dtype=np.intp).reshape(-1, 2)
        counts = (len(first) - len(both), len(second) - len(both), len(both) - len(same))
        return cls(len(same), *counts, pairs[:, 0], pairs[:, 1])


def _notes(first: RunRecord, second: RunRecord, common: _Common) -> list[str]:
    notes = []
    if common.only_first or common.only_second:
        notes.append(f"left out: {common.only_first} clips of the first run alone, {common.only_second} of the second")
    if common.changed:
        notes.append(f"left out: {common.changed} clips whose references differ between the runs")
    for name in ("dataset", "split", "task", "pairing", "audio", "reference", "tier"):
        left, right = getattr(first, name), getattr(second, name)
        if left != right:
            notes.append(f"the runs differ in {name}: {left or '–'} and {right or '–'}")
    return notes


def _protocol(
    selection: Selection, pid: str, columns: Sequence[ScoreColumn], common: _Common, greatest: int
) -> tuple[list[_Measured], list[str]]:
    """The columns of one protocol on the clips that both have scored."""
    left, right = columns
    protocol = selection.get(pid)
    scored = left.ok[common.left] & right.ok[common.right]
    rows = np.flatnonzero(scored)
    if left.weights_sha256 != right.weights_sha256 and len(rows):
        imported = IMPORTED_WEIGHTS in {left.weights_sha256, right.weights_sha256}
        why = "the scores of one run are imported" if imported else "the two runs were scored with different weights"
        return [], [f"{pid}: left out: {why}"]
    if not len(rows):
        return [], [f"{pid}: left out: no clip has a value in both runs"]
    notes = [f"{pid}: {common.n - len(rows)} common clips lack a value in one run"] if len(rows) < common.n else []
    sides = [_Side(left, common.left[rows]), _Side(right, common.right[rows])]
    found: list[_Measured] = []
    for value in protocol.values:
        column = Column(protocol, value)
        if not value.headline:  # near copies of the headline would only weigh on Holm's adjustment
            continue
        if value.aggregation.kind != "corpus":
            found.append(_clipwise(column, sides, rows, greatest))
            continue
        try:
            found.append(_setwise(selection, column, sides))
        except Unscorable as error:
            notes.append(f"{pid}: {value.label} left out: {error}")
    return found, notes


@dataclass(frozen=True)
class _Side:
    """One run's scores of a protocol, and the places of the common clips in it."""

    scores: ScoreColumn
    places: Rows

    def statistic(self, column: Column) -> Statistic:
        """The common clips' numbers."""
        whole = statistic(self.scores, column.value)
        rank = np.cumsum(self.scores.ok) - 1  # place among all clips -> place among scored ones
        chosen = rank[self.places]
        bottom = None if whole.denominator is None else whole.denominator[chosen]
        return Statistic(whole.numerator[chosen], bottom)

    def clip_values(self, column: Column) -> Vector:
        """Each clip's own value (a ratio's own ratio where the metric does not store it)."""
        name = column.value.name
        if name in self.scores.values:
            return np.asarray(self.scores.values[name][self.places], dtype=np.float64)
        own = self.statistic(column)
        with np.errstate(divide="ignore", invalid="ignore"):
            return own.numerator if own.denominator is None else own.numerator / own.denominator

    def clips_with_arrays(self) -> list[tuple[ScoreColumn, int]]:
        """Where the arrays of the common clips are: column and place among its scored clips."""
        rank = np.cumsum(self.scores.ok) - 1
        return [(self.scores, int(i)) for i in rank[self.places]]


class _Arrays(Sequence[Mapping[str, NDArray[Any]]]):
    """What a set value needs of the clips of both runs, read at each access: FID's features fill a disk."""

    def __init__(self, clips: Sequence[tuple[ScoreColumn, int]]) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, NDArray[Any]]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, NDArray[Any]] | Sequence[Mapping[str, NDArray[Any]]]:
        if isinstance(index, slice):
            return _Arrays(self._clips[index])
        scores, place = self._clips[index]
        return scores.arrays[place]


def _clipwise(column: Column, sides: Sequence[_Side], rows: Rows, greatest: int) -> _Measured:
    pair = Pair(sides[0].statistic(column), sides[1].statistic(column))
    first, second = pair.first.value(), pair.second.value()
    values = [side.clip_values(column) for side in sides]
    direction = column.value.direction
    costs = [np.abs(v) if direction == "zero" else v if direction == "lower" else -v for v in values]
    wins, losses = int((costs[0] < costs[1]).sum()), int((costs[0] > costs[1]).sum())
    difference = values[0] - values[1]
    finite = np.flatnonzero(np.isfinite(difference))
    order = finite[np.argsort(-np.abs(difference[finite]), kind="stable")][:greatest]
    ids = sides[0].scores.clip_ids
    clips = [
        ClipDifference(ids[int(sides[0].places[i])], float(values[0][i]), float(values[1][i]))
        for i in order
        if difference[i] != 0
    ]
    comparison = Comparison(
        column=column,
        n=len(rows),
        first=float("nan") if first is None else first,
        second=float("nan") if second is None else second,
        interval=None,
        p=None,
        p_holm=None,
        effect=standardised_effect(difference[finite]),
        wins=wins,
        ties=len(rows) - wins - losses,
        losses=losses,
        clips=clips,
    )
    return _Measured(comparison, pair, rows)


def _setwise(selection: Selection, column: Column, sides: Sequence[_Side]) -> _Measured:
    """A value that only the metric can compute: both runs' clips in one list, chosen by counts."""
    metric = selection.metric(column.protocol.id)
    n = len(sides[0].places)
    lazy = _Arrays([*sides[0].clips_with_arrays(), *sides[1].clips_with_arrays()])
    arrays = lazy if slow_set_value(column.protocol) else list(lazy)

    def values(first: Matrix, second: Matrix) -> Vector:
        counts = np.concatenate([first, second], axis=1)
        found = metric.aggregate(column.protocol.id, column.value.name, arrays, counts)
        return np.asarray(found, dtype=np.float64)

    def flipped(signs: Matrix) -> Vector:
        kept = (signs + 1) / 2
        return values(kept, 1 - kept) - values(1 - kept, kept)

    ones, zeros = np.ones((1, n)), np.zeros((1, n))
    first, second = float(values(ones, zeros)[0]), float(values(zeros, ones)[0])
    if not (math.isfinite(first) and math.isfinite(second)):
        raise Unscorable("nan", "the set has no finite value in one of the runs (too few clips or faces?)")
    interval, p = None, None
    if n >= MIN_CLIPS and not slow_set_value(column.protocol):
        interval = interval_of(_set_differences(values, n))
        p = corpus_p(flipped, n, (first, second), CORPUS_FLIPS)
    return _Measured(Comparison(column, n, first, second, interval, p, None, None))


def _set_differences(values: Callable[[Matrix, Matrix], Vector], n: int) -> Vector:
    blocks = (counts[start : start + 64] for counts in count_blocks(n) for start in range(0, len(counts), 64))
    differences = []
    for counts in blocks:
        none = np.zeros_like(counts)
        differences.append(values(counts, none) - values(none, counts))
    return np.concatenate(differences)


def _tested(measured: Sequence[_Measured], n_common: int) -> list[Comparison]:
    """Intervals and p-values of all clip-wise columns at once: they share resamples and coins."""
    clipwise = [(m.pair, m.rows) for m in measured if m.pair is not None and m.rows is not None]
    pairs, rows = [pair for pair, _ in clipwise], [row for _, row in clipwise]
    p_values = iter(permutation_p(pairs, rows, n_common))
    samples = iter(resample_all([statistic for pair in pairs for statistic in pair]))
    finished = []
    for m in measured:
        comparison = m.comparison
        if m.pair is not None:
            spread = next(samples) - next(samples)
            interval = interval_of(spread) if comparison.n >= MIN_CLIPS else None
            comparison = replace(comparison, interval=interval, p=next(p_values))
        finished.append(comparison)
    return finished


def _adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Holm's adjustment over the columns that have a p-value."""
    tested = [c.p for c in comparisons if c.p is not None]
    adjusted = iter(holm(tested))
    return [replace(c, p_holm=next(adjusted)) if c.p is not None else c for c in comparisons]
