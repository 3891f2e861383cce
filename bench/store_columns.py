"""Reading a run's scores by column, whole rows for export, and the store's digest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from bench.store_records import ScoreColumn, ScoreKey, ScoreRecord, State
from bench.store_scores import RowKey, ScoreTable, layout_names, state
from bench.store_sql import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Array

_CHUNK = 10_000  # rows fetched at a time

# A score belongs to a clip of a run by content: equal outputs of two runs share their scores.
_JOIN = """FROM run_clips c
    LEFT JOIN outputs o ON o.run = c.run AND o.clip_id = c.clip_id
    LEFT JOIN scores s ON s.protocol = :protocol AND s.weights = :weights AND s.output = o.content
        AND s.reference = {reference}
    WHERE c.run = :run ORDER BY c.clip_id"""
_COLUMN = "SELECT c.clip_id, c.speaker, o.ok, s.ok, s.layout, s.numbers, s.kind, s.output, s.reference "

_KEYS = """SELECT c.clip_id, s.output, s.reference, (SELECT sha256 FROM contents WHERE n = s.output),
    (SELECT sha256 FROM contents WHERE n = s.reference)"""


#: A cost belongs to a clip of a run, not to the content: equal outputs may have cost unequal time.
_COST = "(SELECT n FROM contents WHERE sha256 = :reference || '/' || c.clip_id)"


def _join(run_id: str | None) -> str:
    return _JOIN.format(reference="c.reference" if run_id is None else _COST)


class LazyArrays(Sequence["Mapping[str, Array]"]):
    """The arrays of scored clips, in order; each access reads one row of the store."""

    def __init__(self, table: ScoreTable, rows: Sequence[RowKey]) -> None:
        self._table = table
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Array]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Array]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Array] | Sequence[Mapping[str, Array]]:
        from safetensors.numpy import load

        if isinstance(index, slice):
            return LazyArrays(self._table, self._rows[index])
        data = self._table.arrays(self._rows[index])
        return {} if data is None else load(data)


@dataclass
class _Builder:
    """Collects the rows of a column; numbers are unpacked per layout, all clips at once."""

    clip_ids: list[str] = field(default_factory=list)
    speakers: list[str | None] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    ok: list[int] = field(default_factory=list)  # positions
    pending: list[int] = field(default_factory=list)
    keys: list[tuple[int, int]] = field(default_factory=list)  # (output, reference) of scored clips
    packed: dict[int, tuple[list[int], list[bytes]]] = field(default_factory=dict)

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        position = len(self.clip_ids)
        for clip_id, speaker, made, ok, layout, numbers, kind, output, reference in rows:
            self.clip_ids.append(clip_id)
            self.speakers.append(speaker)
            if ok:
                self.ok.append(position)
                self.keys.append((output, reference))
                positions, blobs = self.packed.setdefault(layout, ([], []))
                positions.append(position)
                blobs.append(numbers)
                self.kinds.append("")
            elif made == 0:
                self.kinds.append("missing_output")
            else:
                if ok is None:
                    self.pending.append(position)
                self.kinds.append(kind or "")
            position += 1

    def mask(self, positions: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.clip_ids), dtype=np.bool_)
        mask[positions] = True
        return mask

    def numbers(self, session: Session) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
        """Values and parts by name, each (n,), NaN where a clip has none."""
        values: dict[str, NDArray[np.float64]] = {}
        parts: dict[str, NDArray[np.float64]] = {}
        for layout, (positions, blobs) in self.packed.items():
            value_names, part_names = layout_names(session.names.text(layout))
            table = np.frombuffer(b"".join(blobs), dtype="<f8").reshape(len(blobs), -1)
            targets = [(values, name) for name in value_names] + [(parts, name) for name in part_names]
            for (target, name), numbers in zip(targets, table.T, strict=True):
                column = target.setdefault(name, np.full(len(self.clip_ids), np.nan))
                column[positions] = numbers
        return values, parts


class ColumnReader:
    """Reads by run number and protocol; ``reference`` is the run's id for costs, else ``None``."""

    def __init__(self, session: Session, table: ScoreTable) -> None:
        self._session = session
        self._table = table

    def _weights(self, protocol: int) -> list[int]:
        query = "SELECT weights FROM used_weights WHERE protocol = ? ORDER BY newest DESC, weights DESC"
        return [row[0] for row in self._session.rows(query, protocol)]

    def _used(self, run: int, protocol: int, reference: str | None) -> int | None:
        """The newest weights under which the run has a score."""
        query = f"SELECT 1 {_join(reference)}".replace("LEFT", "CROSS").replace("ORDER BY c.clip_id", "LIMIT 1")
        for weights in self._weights(protocol):
            bound = {"run": run, "protocol": protocol, "weights": weights, "reference": reference}
            if self._session.connection.execute(query, bound).fetchone():
                return weights
        return None

    def _resolve(
        self, run: int, protocol: str, weights_sha256: str | None, reference: str | None
    ) -> tuple[int, int | None]:
        """Numbers of protocol and weights; -1 matches no row."""
        number = self._session.names.find(protocol)
        if number is None:
            return -1, None
        if weights_sha256 is not None:
            return number, self._session.names.find(weights_sha256)
        return number, self._used(run, number, reference)

    def column(
        self, run: int, run_id: str, protocol: str, weights_sha256: str | None, reference: str | None
    ) -> ScoreColumn:
        """See :meth:`bench.store.Store.scores`."""
        number, weights = self._resolve(run, protocol, weights_sha256, reference)
        bound = {
            "run": run,
            "protocol": number,
            "weights": -1 if weights is None else weights,
            "reference": reference,
        }
        cursor = self._session.connection.execute(_COLUMN + _join(reference), bound)
        builder = _Builder()
        while rows := cursor.fetchmany(_CHUNK):
            builder.add(rows)
        values, parts = builder.numbers(self._session)
        keys: list[RowKey] = [(number, weights or 0, *pair) for pair in builder.keys]
        return ScoreColumn(
            run_id=run_id,
            protocol=protocol,
            weights_sha256=None if weights is None else self._session.names.text(weights),
            clip_ids=builder.clip_ids,
            speakers=builder.speakers,
            values=values,
            parts=parts,
            ok=builder.mask(builder.ok),
            pending=builder.mask(builder.pending),
            kinds=builder.kinds,
            failures=Counter(kind for kind in builder.kinds if kind),
            arrays=LazyArrays(self._table, keys),
        )

    def rows(
        self, run: int, protocol: str, weights_sha256: str | None, reference: str | None
    ) -> Iterator[tuple[str, ScoreRecord]]:
        """See :meth:`bench.store.Store.score_rows`."""
        number, weights = self._resolve(run, protocol, weights_sha256, reference)
        if weights is None:
            return
        query = f"{_KEYS} {_join(reference)}".replace("LEFT", "CROSS")
        bound = {"run": run, "protocol": number, "weights": weights, "reference": reference}
        sha_of_weights = self._session.names.text(weights)
        for clip_id, output, against, output_sha, against_sha in self._session.connection.execute(query, bound):
            key = ScoreKey(output_sha, against_sha, protocol, sha_of_weights)
            record = self._table.read((number, weights, output, against), key)
            if record is not None:
                yield clip_id, record

    def states(self, run: int, protocol: str, weights_sha256: str, reference: str | None) -> dict[str, State]:
        """See :meth:`bench.store.Store.score_states`."""
        number, weights = self._resolve(run, protocol, weights_sha256, reference)
        if weights is None:
            return {}
        query = f"SELECT c.clip_id, s.ok, s.final {_join(reference)}".replace("LEFT", "CROSS")
        bound = {"run": run, "protocol": number, "weights": weights, "reference": reference}
        rows = self._session.connection.execute(query, bound)
        return {clip_id: state(ok, final) for clip_id, ok, final in rows}

    def protocols(self, run: int, reference_of: Mapping[str, str | None]) -> set[str]:
        """Those of the known protocols under which the run has a score."""
        return {
            name
            for name, reference in reference_of.items()
            if self._used(run, self._session.names.number(name), reference) is not None
        }


def digest(session: Session, runs: Sequence[int], costs: Sequence[int]) -> str:
    """SHA-256 over the results of ``runs`` in the order of their keys: no times, versions, devices or details.

    ``costs``: numbers of the protocols whose values are times and memory; their keys alone count.
    """
    total = hashlib.sha256()

    def add(rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            total.update(json.dumps(row).encode() + b"\n")

    session.connection.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (run INTEGER PRIMARY KEY)")
    session.connection.execute("DELETE FROM temp.chosen")
    session.connection.executemany("INSERT INTO temp.chosen VALUES (?)", ((run,) for run in runs))
    add(
        session.rows("""SELECT r.id, c.clip_id, c.speaker, k.sha256, c.duration_s FROM run_clips c
            JOIN chosen ON chosen.run = c.run JOIN runs r ON r.n = c.run JOIN contents k ON k.n = c.reference
            ORDER BY r.id, c.clip_id""")
    )
    add(
        session.rows("""SELECT r.id, o.clip_id, o.ok, k.sha256, o.n_frames, o.n_samples, o.sample_rate,
                o.media_seconds, o.kind, o.final
            FROM outputs o JOIN chosen ON chosen.run = o.run JOIN runs r ON r.n = o.run
            LEFT JOIN contents k ON k.n = o.content ORDER BY r.id, o.clip_id""")
    )
    skip = ",".join(str(number) for number in costs) or "-1"
    add(
        session.rows(f"""SELECT p.name, w.name, a.sha256, b.sha256, s.ok, l.name,
                CASE WHEN s.protocol IN ({skip}) THEN '' ELSE hex(s.numbers) END, s.text, s.kind, s.final
            FROM scores s JOIN names p ON p.n = s.protocol JOIN names w ON w.n = s.weights
            JOIN contents a ON a.n = s.output JOIN contents b ON b.n = s.reference JOIN names l ON l.n = s.layout
            WHERE s.output IN (SELECT o.content FROM outputs o JOIN chosen ON chosen.run = o.run)
            ORDER BY p.name, w.name, a.sha256, b.sha256""")
    )
    arrays = session.rows(f"""SELECT p.name, w.name, a.sha256, b.sha256, s.data FROM score_arrays s
        JOIN names p ON p.n = s.protocol JOIN names w ON w.n = s.weights
        JOIN contents a ON a.n = s.output JOIN contents b ON b.n = s.reference
        WHERE s.output IN (SELECT o.content FROM outputs o JOIN chosen ON chosen.run = o.run)
            AND s.protocol NOT IN ({skip})
        ORDER BY p.name, w.name, a.sha256, b.sha256""")
    add((*key, hashlib.sha256(data).hexdigest()) for *key, data in arrays)
    return total.hexdigest()
