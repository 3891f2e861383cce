"""From the store to a table: groups, set values, intervals, ranks and warnings.

Set values come from per-clip rows of the store: means and ratios here, values of whole sets by
``Metric.aggregate``. Those take seconds, so they are kept in the store under a hash of all outputs
and references that they rest on.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.api import DataError, Metric, Protocol, Unscorable, UsageError, Value, did_you_mean
from bench.protocols import Catalogue, Selection, catalogue, select
from bench.results import alarms, deletions, labels, ranking
from bench.results.imported import is_imported
from bench.results.some_clips import judged_clips, some_clips
from bench.results.stats import (
    Codes,
    CorpusResult,
    Interval,
    Statistic,
    clip_intervals,
    corpus_result,
    speaker_codes,
    speaker_intervals,
)
from bench.results.table import LOW_N, Cell, Column, Group, Key, Row, Section, Table
from bench.store import Store
from bench.store_records import RunClip, RunRecord, ScoreColumn

#: Parts of scores that are flags: 1 where a clip was treated in a way that a reader should know.
FLAGS = ("fps_converted", "silent_audio", "length_differs", "short_for_offsets", "low_n", "clipped")
CACHE_VERSION = "corpus-1"


def slow_set_value(protocol: Protocol) -> bool:
    """Whether a set value's bootstrap takes minutes to hours: Fréchet distances over features so wide that
    their declaration has a ``low_n_flag`` (FID). They get intervals on request alone, and are read clip by clip."""
    return "low_n_flag" in protocol.parameters


def chosen_runs(store: Store, **filters: Sequence[str] | None) -> list[RunRecord]:
    """The runs whose attributes (``system``, ``dataset``, ``split``, ``task`` …) are among the given values.

    Raises:
        UsageError: the store has no run, or none matches (with the nearest values).
    """
    runs = store.runs()
    if not runs:
        raise UsageError(f"the store {store.root} has no run yet", "`bench run --system ground-truth` makes one.")
    for name, wanted in filters.items():
        if not wanted:
            continue
        known = {str(getattr(run, name)) for run in runs}
        for value in wanted:
            if value not in known:
                raise UsageError(f"no run here has {name} {value!r}", did_you_mean(value, known, "bench runs list"))
        runs = [run for run in runs if str(getattr(run, name)) in wanted]
    return runs


def build(
    store: Store,
    runs: Sequence[RunRecord] | None = None,
    *,
    metrics: Sequence[str] | str = "all",
    slow_intervals: bool = False,
) -> Table:
    """The table of ``runs`` (default: all of the store).

    ``metrics``: as ``--metrics``; only what has been scored appears. ``slow_intervals``: intervals
    of FID and the like too.

    Raises:
        UsageError: an unknown protocol or family.
        DataError: a set value outside the range that its protocol declares.
    """
    known = catalogue()
    selection = select(metrics, runnable=False, known=known)
    groups: defaultdict[Group, list[RunRecord]] = defaultdict(list)
    for run in store.runs() if runs is None else runs:
        groups[Group(run.dataset, run.split, run.task, run.pairing, run.audio, run.reference)].append(run)
    builder = _Builder(store, selection, slow_intervals)
    sections = [builder.section(group, groups[group]) for group in sorted(groups)]
    return Table(sections, _unknown_protocols(store, [run for found in groups.values() for run in found], known))


def _unknown_protocols(store: Store, runs: Sequence[RunRecord], known: Catalogue) -> list[str]:
    """Notes on protocols that the store has and no installed plug-in declares: direction and recipe are unknown."""
    found = sorted({pid for run in runs for pid in store.protocols(run.id)} - set(known.entries))
    notes = [f"{pid} is scored in this store, but no installed plug-in declares it: left out." for pid in found]
    return notes + ([*known.broken.values()] if found else [])


@dataclass(frozen=True)
class _Measured:
    """One value of one run, before its intervals: a statistic over clips, or a finished set value."""

    run_id: str
    column: Column
    cell: Cell
    statistic: Statistic | None = None
    codes: Codes | None = None


@dataclass(frozen=True)
class Named:
    """A run under the name that a table gives to it, over some of its clips."""

    run: RunRecord
    name: str
    clips: Collection[str]


def build_section(
    store: Store, group: Group, runs: Sequence[Named], selection: Selection, title: str, notes: Sequence[str] = ()
) -> Section:
    """One table of runs that need not be of one task and condition, in the order of ``runs``.

    Columns are in the order of ``selection``. Rows are over the same clips where the ids are the same: what is driven
    by synthetic speech is held against it, so that the hashes of references differ between conditions.
    """
    clips = {named.run.id: frozenset(named.clips) for named in runs}
    builder = _Builder(store, selection, slow_intervals=False, clips=clips)
    made = builder.section(group, [named.run for named in {n.run.id: n for n in runs}.values()])
    rows = {row.run.id: row for row in made.rows}
    order = list(selection.entries)
    return replace(
        made,
        columns=sorted(made.columns, key=lambda column: order.index(column.protocol.id)),
        rows=[replace(rows[named.run.id], label=named.name) for named in runs],
        title=title,
        notes=[*notes, *alarms.notes(replace(made, rows=[replace(rows[n.run.id], label=n.name) for n in runs]))],
    )


class _Builder:
    """Makes the sections of one table; metrics are instantiated once. ``clips``: the only ones that count, by run."""

    def __init__(
        self,
        store: Store,
        selection: Selection,
        slow_intervals: bool,
        clips: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self._store = store
        self._selection = selection
        self._slow = slow_intervals
        self._clips = clips
        self._metrics: dict[str, Metric] = {}

    def section(self, group: Group, runs: Sequence[RunRecord]) -> Section:
        """The rows of one group, ranked, with their warnings."""
        measured = [value for run in runs for value in self._measure(run)]
        measured += self._deletions(runs, measured)
        measured = _with_intervals(measured)
        for value in measured:
            _check_range(value)
        cells: defaultdict[str, dict[Key, Cell]] = defaultdict(dict)
        for value in measured:
            cells[value.run_id][value.column.key] = value.cell
        columns = _columns(measured)
        names = labels.tell_apart(runs)
        rows = ranking.mark_other_clips([self._row(run, names[run.id], cells[run.id]) for run in runs])
        rows = ranking.ranked(rows, columns)
        controls = ranking.contenders(rows)[1]
        section = Section(group, columns, rows, controls_ranked=controls)
        return replace(section, notes=alarms.notes(section))

    def _scores(self, run: RunRecord, protocol: Protocol) -> ScoreColumn:
        column = self._store.scores(run.id, protocol.id, reference_is_run="cost" in protocol.needs)
        column = judged_clips(column) if protocol.sampled else column
        return column if self._clips is None else some_clips(column, self._clips[run.id])

    def _run_clips(self, run: RunRecord) -> Sequence[RunClip]:
        found = self._store.run_clips(run.id)
        return found if self._clips is None else [clip for clip in found if clip.clip_id in self._clips[run.id]]

    def _row(self, run: RunRecord, label: str, cells: Mapping[Key, Cell]) -> Row:
        clips = self._run_clips(run)
        lines = [c.clip_id if self._clips is not None else f"{c.clip_id}\t{c.reference_sha256}" for c in clips]
        return Row(run, label, cells, len(clips), hashlib.sha256("\n".join(lines).encode()).hexdigest())

    def _measure(self, run: RunRecord) -> list[_Measured]:
        """All values of the selected protocols of a run."""
        found: list[_Measured] = []
        codes: Codes | None = None
        for pid in self._selection.judging(run.task, self._store.protocols(run.id)):
            protocol = self._selection.get(pid)
            column = self._scores(run, protocol)
            if codes is None and not protocol.sampled:  # the clips of a run are the same for all other protocols
                codes = speaker_codes(column.speakers)
            own = speaker_codes(column.speakers) if protocol.sampled else codes
            scored = None if own is None else np.unique(own[column.ok], return_inverse=True)[1]
            cell = replace(_counts(column, scored), panel=(column.weights_sha256 or "") if protocol.sampled else "")
            values = [value for value in protocol.values if not is_imported(run) or _has(column, value)]
            found += [self._value(run, protocol, value, column, cell, scored) for value in values]
        return found

    def _value(
        self, run: RunRecord, protocol: Protocol, value: Value, column: ScoreColumn, cell: Cell, codes: Codes | None
    ) -> _Measured:
        shown = Column(protocol, value)
        if value.aggregation.kind == "corpus":
            sized = replace(cell, **_samples(protocol, column))
            return _Measured(run.id, shown, self._corpus(run, shown, column, sized, codes))
        return _Measured(run.id, shown, cell, statistic(column, value), codes)

    def _corpus(self, run: RunRecord, shown: Column, column: ScoreColumn, cell: Cell, codes: Codes | None) -> Cell:
        """The cell of a set value that only the metric can compute, from the store's cache where it is there."""
        if not column.n_scored:
            return cell
        intervals = self._slow or not slow_set_value(shown.protocol)
        key = self._cache_key(run, shown, column, intervals)
        cached = self._store.get_cached(key)
        if cached is None:
            cached = self._compute(shown, column, codes, intervals)
            self._store.put_cached(key, cached)
        if cached.get("problem"):
            return replace(cell, problem=cached["problem"])
        over_clips, over_speakers = (Interval(*cached[k]) if cached[k] else None for k in ("clips", "speakers"))
        return replace(cell, value=cached["value"], interval=over_clips, speakers=over_speakers)

    def _compute(self, shown: Column, column: ScoreColumn, codes: Codes | None, intervals: bool) -> dict[str, Any]:
        metric = self.metric(shown.protocol.id)
        # Features of large sets do not fit in memory and are read clip by clip; those that are resampled are kept.
        arrays = column.arrays if slow_set_value(shown.protocol) else list(column.arrays)

        def aggregate(counts: Any) -> Any:
            return metric.aggregate(shown.protocol.id, shown.value.name, arrays, counts)

        try:
            result: CorpusResult = corpus_result(aggregate, len(arrays), codes, intervals=intervals)
        except Unscorable as error:
            return {"problem": str(error)}
        if result.value is None:
            return {"problem": "the set has no finite value (too few clips or faces?)"}
        return {"value": result.value, "clips": result.clips, "speakers": result.speakers}

    def metric(self, protocol_id: str) -> Metric:
        """The metric that serves a protocol, made once."""
        name = self._selection.entries[protocol_id].metric
        if name not in self._metrics:
            self._metrics[name] = self._selection.metric(protocol_id)
        return self._metrics[name]

    def _cache_key(self, run: RunRecord, shown: Column, column: ScoreColumn, intervals: bool) -> str:
        outputs = self._store.outputs(run.id)
        references = {clip.clip_id: clip for clip in self._store.run_clips(run.id)}
        digest = hashlib.sha256()
        head = [CACHE_VERSION, *shown.key, column.weights_sha256, intervals]
        digest.update(json.dumps(head).encode())
        for index in np.flatnonzero(column.ok).tolist():
            clip_id = column.clip_ids[index]
            clip = references[clip_id]
            line = [clip_id, clip.speaker, clip.reference_sha256, outputs[clip_id].sha256]
            digest.update(json.dumps(line).encode())
        return digest.hexdigest()

    def _deletions(self, runs: Sequence[RunRecord], measured: Sequence[_Measured]) -> list[_Measured]:
        """Error rates with missing outputs counted as deletions, where every missing clip's words are known."""
        found: list[_Measured] = []
        wanted = {m.column.protocol.id for m in measured if deletions.concerns(m.column.protocol, m.cell.failures)}
        for pid in sorted(wanted):
            protocol = self._selection.get(pid)
            having = [run for run in runs if pid in self._store.protocols(run.id)]
            columns = {run.id: self._scores(run, protocol) for run in having}
            clips = {run.id: self._run_clips(run) for run in having}
            value = deletions.deletion_value(protocol)
            for run_id, counted in deletions.counted(protocol, columns, clips).items():
                n_failed = columns[run_id].n - counted.n - columns[run_id].n_pending
                failures = {kind: n for kind, n in columns[run_id].failures.items() if kind != "missing_output"}
                cell = Cell(None, counted.n, n_failed, columns[run_id].n_pending, failures=failures)
                found.append(_Measured(run_id, Column(protocol, value), cell, counted))
        return found


def _has(column: ScoreColumn, value: Value) -> bool:
    """Whether somebody's file has that value: it may have one of several, and never that of a whole set."""
    return not column.n_scored or value.name in column.values


def statistic(column: ScoreColumn, value: Value) -> Statistic:
    """The scored clips' numbers of a mean or ratio, in order of clip id.

    Raises:
        DataError: the scores lack the value or the parts that the protocol declares.
    """
    aggregation = value.aggregation
    ratio = aggregation.kind == "ratio"
    wanted = (aggregation.numerator, aggregation.denominator) if ratio else (value.name,)
    source = column.parts if ratio else column.values
    for name in wanted:
        if column.n_scored and (name not in source or not np.isfinite(source[name][column.ok]).all()):
            raise DataError(
                f"{column.protocol}, run {column.run_id[:12]}: scores without {name!r}",
                "the metric's declaration has changed under the same id: score again with --force.",
            )
    numbers = [source[name][column.ok] if column.n_scored else np.zeros(0) for name in wanted]
    return Statistic(numbers[0], numbers[1] if ratio else None)


def _counts(column: ScoreColumn, codes: Codes | None) -> Cell:
    flags = {name: int(np.nansum(column.parts[name][column.ok])) for name in FLAGS if name in column.parts}
    return Cell(
        value=None,
        n_scored=column.n_scored,
        n_failed=column.n_failed,
        n_pending=column.n_pending,
        n_speakers=0 if codes is None or not len(codes) else int(codes.max()) + 1,
        failures=dict(sorted(column.failures.items())),
        flags={name: n for name, n in flags.items() if n},
    )


def _samples(protocol: Protocol, column: ScoreColumn) -> dict[str, Any]:
    """The fields of a cell that say how many samples a set value rests on; none where the number is no matter."""
    least, names = protocol.parameters.get(LOW_N), ("n_generated", "n_reference")
    if least is None or not column.n_scored or not all(name in column.parts for name in names):
        return {}
    generated, reference = (int(np.nansum(column.parts[name][column.ok])) for name in names)
    return {"samples": (generated, reference), "few_samples": min(generated, reference) < least}


def _with_intervals(measured: Sequence[_Measured]) -> list[_Measured]:
    """Set values and intervals of all statistics at once: those of equal size share their resamples."""
    statistics = [m.statistic for m in measured if m.statistic is not None]
    codes = [m.codes for m in measured if m.statistic is not None]
    over_clips, over_speakers = iter(clip_intervals(statistics)), iter(speaker_intervals(statistics, codes))
    finished: list[_Measured] = []
    for m in measured:
        if m.statistic is not None:
            cell = replace(m.cell, value=m.statistic.value(), interval=next(over_clips), speakers=next(over_speakers))
            m = replace(m, cell=cell, statistic=None)
        finished.append(m)
    return finished


def _check_range(measured: _Measured) -> None:
    value, number = measured.column.value, measured.cell.value
    slack = 1e-9 * max(1.0, abs(number or 0.0))
    if number is not None and not value.low - slack <= number <= value.high + slack:
        raise DataError(
            f"{measured.column.protocol.id}, run {measured.run_id[:12]}: set value {value.name} = {number} "
            f"is outside its declared range [{value.low}, {value.high}]",
            "the metric is broken: report it to its author; `--metrics` leaves it out.",
        )


def _columns(measured: Sequence[_Measured]) -> list[Column]:
    """The columns in order of protocol id, costs last; values of a protocol in the order of its declaration."""
    found: dict[Key, Column] = {}
    for value in measured:
        found.setdefault(value.column.key, value.column)
    return [
        found[key]
        for key in sorted(found, key=lambda key: (not found[key].protocol.gated, key.protocol, _place(found[key])))
    ]


def _place(column: Column) -> int:
    names = [value.name for value in column.protocol.values]
    return names.index(column.value.name) if column.value.name in names else len(names)
