"""Rows of somebody's CSV as results per clip and protocol; every fault by its line.

A cell is a finite number, the kind of a failure (``no_face``), or empty: no result so far.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.api import FAILURE_KINDS, DataError, Protocol, did_you_mean
from bench.results.import_columns import PART, Columns, Target

SHOWN = 20  # faults that are printed
CLOSE = 1e-6  # how far a given ratio may lie from that of its parts, relative above 1


@dataclass(frozen=True)
class Result:
    """Of one clip and protocol: numbers, or the kind of its failure."""

    values: Mapping[str, float]
    parts: Mapping[str, float]
    kind: str = ""


@dataclass(frozen=True)
class Line:
    """One clip of the file."""

    number: int
    clip_id: str
    results: Mapping[str, Result]  # by protocol


class _Fault(ValueError):
    """What is wrong with a cell or row."""


def header(path: Path) -> list[str]:
    """The first line of a CSV.

    Raises:
        DataError: no file, no text, or nothing in it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file, strict=True), None)
    except (OSError, UnicodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    if not first:
        raise DataError(f"{path}: empty", "a header line and one line per clip are expected.")
    return first


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = error.strerror or str(error) if isinstance(error, OSError) else f"no CSV in UTF-8: {error}"
    return DataError(f"{path}: {reason}", "give a comma separated file with a header line.")


def lines(path: Path, columns: Columns, clips: Sequence[str]) -> list[Line]:
    """All lines of the file. ``clips``: the ids that are known, in any order; empty: any will do.

    Raises:
        DataError: a broken file, or faulty lines: all are listed.
    """
    faults: list[str] = []
    found: dict[str, Line] = {}
    known = frozenset(clips)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in _rows(file):
                try:
                    line = _line(number, row, columns)
                    _refuse(line, found, known, suggest=len(faults) < SHOWN)
                    found[line.clip_id] = line
                except _Fault as fault:
                    faults.append(f"line {number}: {fault}")
    except (OSError, UnicodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    if faults:
        more = [f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        text = "\n  ".join([*faults[:SHOWN], *more])
        raise DataError(
            f"{path}: {len(faults)} faulty lines, nothing is imported:\n  {text}",
            f"a cell is a finite number, nothing, or one of {', '.join(FAILURE_KINDS)}.",
        )
    if not found:
        raise DataError(f"{path}: a header and no line", "one line per clip is expected.")
    return list(found.values())


def _rows(file: Iterator[str]) -> Iterator[tuple[int, dict[str, str | None]]]:
    reader = csv.DictReader(file, strict=True)
    for row in reader:
        if None in row:
            row = {name: None for name in row if name is not None}  # more cells than columns: nothing is in its place
        yield reader.line_num, row


def _refuse(line: Line, before: Mapping[str, Line], known: frozenset[str], suggest: bool) -> None:
    if line.clip_id in before:
        raise _Fault(f"clip {line.clip_id!r} is on line {before[line.clip_id].number} too")
    if known and line.clip_id not in known:
        # near names take a while among thousands, and only the first faults are printed
        raise _Fault(f"unknown clip {line.clip_id!r}" + (f": {did_you_mean(line.clip_id, known)}" if suggest else ""))


def _line(number: int, row: Mapping[str, str | None], columns: Columns) -> Line:
    if None in row.values():
        raise _Fault("not as many cells as the header has")
    clip_id = (row[columns.clip] or "").strip()
    if not clip_id:
        raise _Fault(f"no clip id in column {columns.clip!r}")
    results = {}
    for pid, targets in columns.by_protocol().items():
        cells = {target: (row[target.column] or "").strip() for target in targets}
        result = _result(targets[0].protocol, cells)
        if result is not None:
            results[pid] = result
    return Line(number, clip_id, results)


def _result(protocol: Protocol, cells: Mapping[Target, str]) -> Result | None:
    """``None`` where all cells are empty."""
    kinds = {text for text in cells.values() if text in FAILURE_KINDS}
    if kinds:
        if len(set(cells.values())) > 1:
            raise _Fault(f"{protocol.id}: a failure ({', '.join(sorted(kinds))}) beside other cells")
        return Result({}, {}, kinds.pop())
    empty = [target.column for target, text in cells.items() if not text]
    if len(empty) == len(cells):
        return None
    if empty:
        raise _Fault(f"{protocol.id}: {', '.join(map(repr, empty))} empty, others not")
    numbers = {target: _number(target, text) for target, text in cells.items()}
    values = {target.name: number for target, number in numbers.items() if not target.is_part}
    parts = {target.name.removeprefix(PART): number for target, number in numbers.items() if target.is_part}
    return Result({**values, **_ratios(protocol, values, parts)}, parts)


def _number(target: Target, text: str) -> float:
    try:
        number = float(text) * target.factor
    except ValueError as error:
        raise _Fault(f"{target.column!r}: {text!r} is neither a number nor a kind of failure") from error
    if not math.isfinite(number):
        raise _Fault(f"{target.column!r}: {text} is not finite; leave the cell empty, or write the kind of the failure")
    if not target.low <= number <= target.high:
        raise _Fault(f"{target.column!r}: {text} is outside the protocol's range [{target.low:g}, {target.high:g}]")
    return number


def _ratios(protocol: Protocol, values: Mapping[str, float], parts: Mapping[str, float]) -> dict[str, float]:
    """Each ratio of a clip from its parts; one that is given must be the same."""
    found: dict[str, float] = {}
    for value in protocol.values:
        above, below = value.aggregation.numerator, value.aggregation.denominator
        if value.aggregation.kind != "ratio" or above not in parts:
            continue
        if parts[below] <= 0:
            raise _Fault(f"{protocol.id}: parts.{below} is {parts[below]:g}, and must be above 0")
        ratio = parts[above] / parts[below]
        given = values.get(value.name, ratio)
        if abs(given - ratio) > CLOSE * max(1.0, abs(ratio)):
            raise _Fault(f"{protocol.id}: {value.name} is {given:g}, but its parts give {ratio:g}")
        if not value.low <= ratio <= value.high:
            raise _Fault(f"{protocol.id}: {value.name} = {ratio:g} is outside [{value.low:g}, {value.high:g}]")
        found[value.name] = ratio
    return found
