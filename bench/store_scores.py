"""Score rows: how they are packed, added once, compared when they come again, and read back whole."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from bench.store_records import Added, ScoreKey, ScoreRecord, State
from bench.store_sql import Session, now

_INSERT = """INSERT OR IGNORE INTO scores (protocol, weights, output, reference, ok, layout, numbers, text, kind,
    detail, final, seconds, versions, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_KEY = "protocol = ? AND weights = ? AND output = ? AND reference = ?"
_COLUMNS = "ok, layout, numbers, text, kind, detail, final, seconds, versions, created"
_ARRAYS = "INSERT OR REPLACE INTO score_arrays (protocol, weights, output, reference, data) VALUES (?, ?, ?, ?, ?)"
_NEWEST = """INSERT INTO used_weights (protocol, weights, newest) VALUES (?, ?, ?)
    ON CONFLICT (protocol, weights) DO UPDATE SET newest = max(newest, excluded.newest)"""
_CONFLICT = """INSERT INTO conflicts (subject, run, content, key, kept, other, mark, times, created)
    VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (subject, key, mark) DO UPDATE SET times = times + 1"""

RowKey = tuple[int, int, int, int]  # protocol, weights, output, reference


@lru_cache(maxsize=4096)
def _layout(values: tuple[str, ...], parts: tuple[str, ...]) -> str:
    return json.dumps([values, parts])


@lru_cache(maxsize=4096)
def layout_names(layout: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of values and of parts, in the order of the packed numbers (float64, little endian)."""
    values, parts = json.loads(layout)
    return tuple(values), tuple(parts)


@lru_cache(maxsize=4096)
def _versions(items: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(sorted(items)))


def _pack(record: ScoreRecord) -> tuple[str, bytes]:
    values, parts = tuple(sorted(record.values)), tuple(sorted(record.parts))
    numbers = [record.values[name] for name in values]
    numbers += [record.parts[name] for name in parts]
    return _layout(values, parts), struct.pack(f"<{len(numbers)}d", *numbers)


def state(ok: int, final: int) -> State:
    """What the next run makes of a row: ``retry`` for a failure that is not final."""
    return "ok" if ok else "failed" if final else "retry"


def _close(first: float, second: float, tolerance: float) -> bool:
    if math.isnan(first) or math.isnan(second):
        return math.isnan(first) and math.isnan(second)
    if math.isinf(first) or math.isinf(second):
        return first == second
    return abs(first - second) <= tolerance * max(1.0, abs(first), abs(second))


def _same_numbers(first: Mapping[str, float], second: Mapping[str, float], tolerance: float) -> bool:
    return first.keys() == second.keys() and all(_close(first[name], second[name], tolerance) for name in first)


def _same_arrays(first: bytes | None, second: bytes | None, tolerance: float) -> bool:
    if first == second or first is None or second is None:
        return first == second
    if tolerance == 0.0:
        return False
    import numpy as np
    from safetensors.numpy import load

    one, two = load(first), load(second)
    return one.keys() == two.keys() and all(
        one[name].shape == two[name].shape and np.allclose(one[name], two[name], rtol=tolerance, atol=tolerance)
        for name in one
    )


def same_result(first: ScoreRecord, second: ScoreRecord, tolerance: float = 0.0) -> bool:
    """Whether two results of one key agree.

    Numbers may differ by ``tolerance`` × max(1, size). Texts count only where the tolerance is
    zero: rounding on a device may turn a word. Details of failures, times and versions never count.
    """
    if first.status != second.status:
        return False
    if first.status == "failed":
        return first.kind == second.kind
    return (
        _same_numbers(first.values, second.values, tolerance)
        and _same_numbers(first.parts, second.parts, tolerance)
        and (tolerance > 0.0 or dict(first.text) == dict(second.text))
        and _same_arrays(first.arrays, second.arrays, tolerance)
    )


def plain(record: ScoreRecord) -> dict[str, Any]:
    """A score as JSON: arrays by their hash."""
    content = asdict(record)
    content["arrays"] = None if record.arrays is None else hashlib.sha256(record.arrays).hexdigest()
    return content


class ScoreTable:
    """The rows of ``scores`` and ``score_arrays``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _rows(self, records: Sequence[ScoreRecord]) -> list[tuple[Any, ...]]:
        stamp = now()
        shas = {record.output_sha256 for record in records} | {record.reference_sha256 for record in records}
        contents = self._session.contents.numbers(shas)
        number = self._session.names.number
        rows = []
        for record in records:
            layout, numbers = _pack(record)
            rows.append(
                (
                    number(record.protocol),
                    number(record.weights_sha256),
                    contents[record.output_sha256],
                    contents[record.reference_sha256],
                    record.status == "ok",
                    number(layout),
                    numbers,
                    json.dumps(dict(record.text), sort_keys=True) if record.text else "",
                    record.kind,
                    record.detail,
                    record.final,
                    record.seconds,
                    number(_versions(tuple(record.versions.items()))),
                    record.created or stamp,
                )
            )
        return rows

    def add(self, records: Sequence[ScoreRecord], tolerance: Mapping[str, float], replace: bool) -> list[Added]:
        """Add rows inside a transaction; see :meth:`bench.store.Store.add_scores`."""
        rows = self._rows(records)
        if replace or not self._session.attempt(lambda: self._add_all(records, rows)):
            added = [
                self._add_one(record, row, tolerance.get(record.protocol, 0.0), replace)
                for record, row in zip(records, rows, strict=True)
            ]
        else:
            added = ["new"] * len(rows)
        newest: dict[tuple[int, int], str] = {}
        for row in rows:
            newest[row[:2]] = max(row[-1], newest.get(row[:2], ""))
        self._session.connection.executemany(_NEWEST, [(*key, created) for key, created in newest.items()])
        return added

    def _add_all(self, records: Sequence[ScoreRecord], rows: Sequence[tuple[Any, ...]]) -> bool:
        """Insert many rows at once; false if one of the keys was there."""
        connection = self._session.connection
        before = connection.total_changes
        connection.executemany(_INSERT, rows)
        if connection.total_changes - before != len(rows):
            return False
        arrays = [(*row[:4], r.arrays) for r, row in zip(records, rows, strict=True) if r.arrays is not None]
        connection.executemany(_ARRAYS, arrays)
        return True

    def _add_one(self, record: ScoreRecord, row: tuple[Any, ...], tolerance: float, replace: bool) -> Added:
        connection = self._session.connection
        key: RowKey = row[:4]
        there = self.read(key, record.key)
        if there is not None:
            if replace:
                connection.execute("DELETE FROM conflicts WHERE key = ?", (json.dumps(record.key),))
            elif there.final:
                return self._again(there, record, key[2], tolerance)
            connection.execute(f"DELETE FROM scores WHERE {_KEY}", key)
            connection.execute(f"DELETE FROM score_arrays WHERE {_KEY}", key)
        connection.execute(_INSERT, row)
        if record.arrays is not None:
            connection.execute(_ARRAYS, (*key, record.arrays))
        return "new"

    def _again(self, there: ScoreRecord, record: ScoreRecord, output: int, tolerance: float) -> Added:
        """A second result where the first is final: a late loss says nothing; an unequal result is kept aside."""
        if not record.final or same_result(there, record, tolerance):
            return "duplicate"
        add_conflict(self._session, "score", None, output, record.key, plain(there), plain(record))
        return "conflict"

    def read(self, row: RowKey, key: ScoreKey) -> ScoreRecord | None:
        """The whole record of a key, ``None`` where there is none."""
        found = self._session.connection.execute(f"SELECT {_COLUMNS} FROM scores WHERE {_KEY}", row).fetchone()
        return None if found is None else self._record(row, key, found)

    def _record(self, row: RowKey, key: ScoreKey, found: tuple[Any, ...]) -> ScoreRecord:
        ok, layout, packed, text, kind, detail, final, seconds, versions, created = found
        values, parts = layout_names(self._session.names.text(layout))
        numbers = struct.unpack(f"<{len(values) + len(parts)}d", packed)
        return ScoreRecord(
            *key,
            status="ok" if ok else "failed",
            values=dict(zip(values, numbers, strict=False)),
            parts=dict(zip(parts, numbers[len(values) :], strict=True)),
            text=json.loads(text) if text else {},
            arrays=self.arrays(row),
            kind=kind,
            detail=detail,
            final=bool(final),
            seconds=seconds,
            versions=json.loads(self._session.names.text(versions)),
            created=created,
        )

    def arrays(self, row: RowKey) -> bytes | None:
        """The arrays of a row as safetensors bytes."""
        found = self._session.connection.execute(f"SELECT data FROM score_arrays WHERE {_KEY}", row).fetchone()
        return None if found is None else bytes(found[0])

    def row_key(self, key: ScoreKey) -> RowKey | None:
        """The numbers of a key; ``None`` where one of its strings is new to the store."""
        session = self._session
        numbers = (
            session.names.find(key.protocol),
            session.names.find(key.weights_sha256),
            session.contents.find(key.output_sha256),
            session.contents.find(key.reference_sha256),
        )
        protocol, weights, output, reference = numbers
        if protocol is None or weights is None or output is None or reference is None:
            return None
        return protocol, weights, output, reference

    def states(self, keys: Iterable[ScoreKey]) -> Iterator[tuple[ScoreKey, State]]:
        """Those of ``keys`` that have a row, with its state."""
        query = f"SELECT ok, final FROM scores WHERE {_KEY}"
        for key in keys:
            row = self.row_key(key)
            found = None if row is None else self._session.connection.execute(query, row).fetchone()
            if found is not None:
                yield key, state(*found)


def add_conflict(
    session: Session,
    subject: str,
    run: int | None,
    content: int | None,
    key: Sequence[str],
    kept: Mapping[str, Any],
    other: Mapping[str, Any],
) -> None:
    """Keep an unequal second result aside; the same one again only counts up."""
    told = {name: value for name, value in other.items() if name not in {"created", "seconds", "versions", "peak_mib"}}
    mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    row = (subject, run, content, json.dumps(key), json.dumps(dict(kept)), json.dumps(dict(other)), mark, now())
    session.connection.execute(_CONFLICT, row)
