"""Rows of runs, their clips and outputs, and of conflicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from bench.errors import UsageError, did_you_mean
from bench.store_records import Added, Conflict, OutputRecord, RunClip, RunRecord
from bench.store_scores import add_conflict
from bench.store_sql import Session, now

_FOLDER_CHARS = 12  # of the run's id, in the name of its media folder
_COLUMNS = tuple(field.name for field in fields(OutputRecord) if field.name not in {"run_id", "status", "sha256"})
_SELECT = "SELECT " + ", ".join(f"o.{name}" for name in _COLUMNS) + ", o.ok, k.sha256 FROM outputs o"
_UNUSED = "output NOT IN (SELECT content FROM outputs WHERE content IS NOT NULL)"


def _json(run: RunRecord) -> str:
    return json.dumps(asdict(run), default=str)  # paths among the settings


class RunTable:
    """The tables ``runs``, ``run_clips``, ``run_protocols`` and ``conflicts``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._numbers: dict[str, int] = {}

    def number(self, run_id: str) -> int:
        """The number of a run.

        Raises:
            UsageError: the store has no such run.
        """
        if run_id not in self._numbers:
            row = self._session.connection.execute("SELECT n FROM runs WHERE id = ?", (run_id,)).fetchone()
            if row is None:
                raise self._unknown(run_id)
            self._numbers[run_id] = row[0]
        return self._numbers[run_id]

    def _unknown(self, run_id: str) -> UsageError:
        ids = [row[0] for row in self._session.rows("SELECT id FROM runs ORDER BY n DESC LIMIT 1000")]
        return UsageError(f"no run {run_id!r} in this store", did_you_mean(run_id, ids, "bench runs list"))

    def folder(self, run_id: str) -> str:
        """The name of the run's folder of media."""
        number = self.number(run_id)
        return str(next(self._session.rows("SELECT folder FROM runs WHERE n = ?", number))[0])

    def add(self, run: RunRecord) -> bool:
        connection = self._session.connection
        if connection.execute("SELECT 1 FROM runs WHERE id = ?", (run.id,)).fetchone():
            return False
        folder = run.id[:_FOLDER_CHARS]
        if connection.execute("SELECT 1 FROM runs WHERE folder = ?", (folder,)).fetchone():
            folder = run.id
        record = _json(run if run.created else replace(run, created=now()))
        connection.execute("INSERT INTO runs (id, folder, record) VALUES (?, ?, ?)", (run.id, folder, record))
        return True

    def update(self, run_id: str, changes: Mapping[str, Any]) -> None:
        number = self.number(run_id)
        record = _json(replace(self.one(run_id), **changes))
        self._session.connection.execute("UPDATE runs SET record = ? WHERE n = ?", (record, number))

    def all(self, filters: Mapping[str, Any]) -> list[RunRecord]:
        unknown = filters.keys() - {field.name for field in fields(RunRecord)}
        if unknown:
            raise TypeError(f"runs have no attribute {', '.join(sorted(unknown))}")
        records = (RunRecord(**json.loads(row[0])) for row in self._session.rows("SELECT record FROM runs ORDER BY n"))
        return [run for run in records if all(getattr(run, name) == value for name, value in filters.items())]

    def one(self, id_or_prefix: str) -> RunRecord:
        query = "SELECT id, record FROM runs WHERE substr(id, 1, ?) = ? ORDER BY id = ? DESC, n LIMIT 6"
        rows = list(self._session.rows(query, len(id_or_prefix), id_or_prefix, id_or_prefix))
        if not rows or not id_or_prefix:
            raise self._unknown(id_or_prefix)
        if len(rows) > 1 and rows[0][0] != id_or_prefix:
            several = ", ".join(row[0][:16] for row in rows)
            raise UsageError(f"several runs begin with {id_or_prefix!r}: {several}", "give more of the id.")
        return RunRecord(**json.loads(rows[0][1]))

    def remove(self, run_id: str) -> None:
        number = self.number(run_id)
        for table in ("run_clips", "run_protocols", "outputs", "conflicts"):
            self._session.connection.execute(f"DELETE FROM {table} WHERE run = ?", (number,))
        self._session.connection.execute("DELETE FROM runs WHERE n = ?", (number,))
        del self._numbers[run_id]

    def add_clips(self, run_id: str, clips: Sequence[RunClip]) -> None:
        number = self.number(run_id)
        references = self._session.contents.numbers({clip.reference_sha256 for clip in clips})
        self._session.connection.executemany(
            """INSERT OR REPLACE INTO run_clips (run, clip_id, speaker, reference, duration_s)
                VALUES (?, ?, ?, ?, ?)""",
            (
                (number, clip.clip_id, clip.speaker, references[clip.reference_sha256], clip.duration_s)
                for clip in clips
            ),
        )

    def clips(self, run_id: str) -> list[RunClip]:
        query = """SELECT c.clip_id, c.speaker, k.sha256, c.duration_s FROM run_clips c
            JOIN contents k ON k.n = c.reference WHERE c.run = ? ORDER BY c.clip_id"""
        return [RunClip(*row) for row in self._session.rows(query, self.number(run_id))]

    def add_protocols(self, run_id: str, protocols: Iterable[str]) -> None:
        run = self.number(run_id)
        self._session.connection.executemany(
            "INSERT OR IGNORE INTO run_protocols (run, protocol) VALUES (?, ?)",
            ((run, self._session.names.number(name)) for name in list(protocols)),
        )

    def protocols(self, run: int) -> set[str]:
        """The protocols that were asked for."""
        return {
            self._session.names.text(row[0])
            for row in self._session.rows("SELECT protocol FROM run_protocols WHERE run = ?", run)
        }

    def scored_protocols(self) -> list[str]:
        """Every protocol that has had a score in this store."""
        rows = self._session.rows("SELECT DISTINCT protocol FROM used_weights")
        return sorted(self._session.names.text(row[0]) for row in rows)

    def conflicts(self, run: int | None) -> list[Conflict]:
        """Of a run: its outputs' and those of scores of contents that it has; ``None``: all."""
        query = "SELECT subject, key, kept, other, times, created FROM conflicts"
        if run is None:
            rows = self._session.rows(query + " ORDER BY n")
        else:
            query += " WHERE run = ? OR content IN (SELECT content FROM outputs WHERE run = ?) ORDER BY n"
            rows = self._session.rows(query, run, run)
        return [
            Conflict(subject, tuple(json.loads(key)), json.loads(kept), json.loads(other), times, created)
            for subject, key, kept, other, times, created in rows
        ]


class OutputTable:
    """The table ``outputs``, and which media and scores it needs."""

    def __init__(self, session: Session, runs: RunTable) -> None:
        self._session = session
        self._runs = runs

    def _record(self, run_id: str, row: Sequence[Any]) -> OutputRecord:
        found = dict(zip(_COLUMNS, row[:-2], strict=True))
        found["final"] = bool(found["final"])
        return OutputRecord(run_id=run_id, status="ok" if row[-2] else "failed", sha256=row[-1], **found)

    def get(self, run_id: str, clip_id: str) -> OutputRecord | None:
        """The output of a clip."""
        query = f"{_SELECT} LEFT JOIN contents k ON k.n = o.content WHERE o.run = ? AND o.clip_id = ?"
        row = next(self._session.rows(query, self._runs.number(run_id), clip_id), None)
        return None if row is None else self._record(run_id, row)

    def of_run(self, run_id: str) -> dict[str, OutputRecord]:
        query = f"{_SELECT} LEFT JOIN contents k ON k.n = o.content WHERE o.run = ? ORDER BY o.clip_id"
        rows = self._session.rows(query, self._runs.number(run_id))
        return {record.clip_id: record for record in (self._record(run_id, row) for row in rows)}

    def compare(self, record: OutputRecord) -> Added:
        """What adding ``record`` would be."""
        there = self.get(record.run_id, record.clip_id)
        if there is None or not there.final:
            return "new"
        if not record.final:
            return "duplicate"  # a loss that arrives after the result says nothing
        same = (there.status, there.sha256, there.kind) == (record.status, record.sha256, record.kind)
        return "duplicate" if same else "conflict"

    def forget(self, run_id: str, clip_id: str) -> None:
        """Drop the row of a clip, if any, and its conflicts; inside a transaction."""
        connection = self._session.connection
        connection.execute("DELETE FROM conflicts WHERE key = ?", (json.dumps((run_id, clip_id)),))
        key = (self._runs.number(run_id), clip_id)
        connection.execute("DELETE FROM outputs WHERE run = ? AND clip_id = ?", key)

    def add(self, record: OutputRecord, media: Mapping[str, str], verdict: Added) -> Added:
        """Write the row (or the conflict) inside a transaction; ``media``: paths by stream."""
        run = self._runs.number(record.run_id)
        record = replace(record, video=media.get("video"), audio=media.get("audio"), created=record.created or now())
        key = (record.run_id, record.clip_id)
        if verdict == "conflict":
            kept = self.get(*key)
            add_conflict(self._session, "output", run, None, key, asdict(kept) if kept else {}, asdict(record))
            return verdict
        content = None if record.sha256 is None else self._session.contents.number(record.sha256)
        columns = ("run", "ok", "content", *_COLUMNS)
        row = (run, record.status == "ok", content, *(getattr(record, name) for name in _COLUMNS))
        self._session.connection.execute(
            f"INSERT OR REPLACE INTO outputs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", row
        )
        return verdict

    def known_media(self) -> set[str]:
        """Every path of a medium that a row or a conflict names."""
        rows = self._session.rows("SELECT video, audio FROM outputs")
        others = self._session.rows("SELECT other FROM conflicts WHERE subject = 'output'")
        known = {path for row in rows for path in row if path}
        for (other,) in others:
            content = json.loads(other)
            known |= {content[stream] for stream in ("video", "audio") if content.get(stream)}
        return known

    def count_unused_scores(self) -> int:
        """Scores whose output is of no run."""
        return int(next(self._session.rows(f"SELECT count(*) FROM scores WHERE {_UNUSED}"))[0])

    def remove_unused_scores(self) -> int:
        """Remove them, with their arrays and conflicts, and the strings that nothing names any more."""
        connection = self._session.connection
        removed = connection.execute(f"DELETE FROM scores WHERE {_UNUSED}").rowcount
        connection.execute(f"DELETE FROM score_arrays WHERE {_UNUSED}")
        connection.execute(
            """DELETE FROM conflicts WHERE content IS NOT NULL AND
                content NOT IN (SELECT content FROM outputs WHERE content IS NOT NULL)"""
        )
        connection.execute(
            """DELETE FROM contents WHERE n NOT IN (SELECT reference FROM run_clips UNION SELECT output FROM scores
                UNION SELECT reference FROM scores UNION SELECT content FROM outputs WHERE content IS NOT NULL)"""
        )
        return removed
