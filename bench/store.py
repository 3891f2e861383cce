"""The run store: SQLite for what is known, a folder for media, one writer, any number of readers.

``store.sqlite`` (WAL, every commit synced), ``store.lock`` (names the writer), ``media/`` (finished
outputs), ``tmp/`` (unfinished ones), ``features/`` (arrays per medium). A result is in the store
once its row is committed; its files are in place before that. So a process that is killed at any
point leaves at worst files without a row, which nothing counts and :meth:`Store.sweep` removes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import network_fs
from bench.errors import DataError, UsageError
from bench.store_costs import ScoreCost, score_costs
from bench.store_features import FeatureFolder
from bench.store_lock import WriterLock
from bench.store_media import MediaFolder
from bench.store_records import (
    Added,
    Conflict,
    OutputRecord,
    RunClip,
    RunRecord,
    ScoreColumn,
    ScoreKey,
    ScoreRecord,
    State,
    SweepReport,
)
from bench.store_runs import OutputTable, RunTable
from bench.store_schema import DATABASE, VERSION, guarded, open_reader, open_writer, reader_version
from bench.store_scores import ScoreTable
from bench.store_sql import Session, now

if TYPE_CHECKING:
    from bench.records import Array
    from bench.store_columns import ColumnReader


class Store:
    """An open store. Use :meth:`open`; a context manager.

    Raises, from every method:
        DataError: the disk is full, the folder is read-only, the database is damaged, …; what was
            stored before stays.
    """

    def __init__(
        self, root: Path, connection: sqlite3.Connection, lock: WriterLock | None, media_root: Path | None = None
    ) -> None:
        self.root = root
        self.writable = lock is not None
        self._lock = lock
        self._session = Session(connection)
        self._runs = RunTable(self._session)
        self._outputs = OutputTable(self._session, self._runs)
        self._scores = ScoreTable(self._session)
        self._media = MediaFolder(root, media_root)
        self.shared = media_root.absolute() if media_root else root  # where workers look for features
        self._features = FeatureFolder(self.shared)

    @classmethod
    def open(cls, root: Path, write: bool = True, media_root: Path | None = None) -> Store:
        """Open the store in the folder ``root``; ``write`` makes it where it is missing.

        ``media_root``: where new media are kept by their content, in place of the store's own folder.

        A store of an older schema is migrated (a copy of the database is kept) when it is opened
        for writing, or for reading while nobody writes it.

        Raises:
            UsageError: somebody else writes it; a newer schema; not a store.
            DataError: nothing there to read; damaged; the folder cannot be written.
        """
        root = Path(root)
        if root.exists() and not root.is_dir():
            raise UsageError(f"store {root} is a file", "give a folder as --out.")
        with guarded(root):
            return cls._open_writer(root, media_root) if write else cls._open_reader(root, media_root)

    @classmethod
    def _open_writer(cls, root: Path, media_root: Path | None = None) -> Store:
        root.mkdir(parents=True, exist_ok=True)
        network_fs.warn(root)
        lock = WriterLock(root)
        try:
            connection = open_writer(root)
            store = cls(root, connection, lock, media_root)
            try:
                store._media.create()
                store._media.clear_stages()
            except OSError:
                connection.close()
                raise
        except BaseException:
            lock.release()
            raise
        return store

    @classmethod
    def _open_reader(cls, root: Path, media_root: Path | None) -> Store:
        if not (root / DATABASE).exists():
            raise DataError(f"no store at {root}", "`bench run` makes one; --out says where.")
        connection = open_reader(root)
        try:
            version = reader_version(connection, root)
        except BaseException:
            connection.close()
            raise
        if version < VERSION:
            connection.close()
            cls._open_writer(root).close()
            connection = open_reader(root)
        return cls(root, connection, None, media_root)

    def close(self) -> None:
        """Close the database and give the lock up; a second call does nothing."""
        try:
            with guarded(self.root):
                if self.writable:
                    self._media.close()
                self._session.connection.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _need_writer(self) -> None:
        if not self.writable:
            raise UsageError(f"store {self.root} is open for reading only", "open it with write=True.")

    # runs

    def add_run(self, run: RunRecord) -> bool:
        """Add a run; one that is there already is left as it is. Returns whether it is new."""
        self._need_writer()
        with guarded(self.root), self._session.write():
            return self._runs.add(run)

    def update_run(
        self,
        run_id: str,
        *,
        config: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        note: str | None = None,
    ) -> None:
        """Replace what does not identify the run; ``None`` leaves it."""
        self._need_writer()
        changes = {"config": config, "environment": environment, "note": note}
        with guarded(self.root), self._session.write():
            self._runs.update(run_id, {name: value for name, value in changes.items() if value is not None})

    def runs(self, **filters: Any) -> list[RunRecord]:
        """The runs whose attributes equal ``filters``, oldest first."""
        with guarded(self.root):
            return self._runs.all(filters)

    def run(self, id_or_prefix: str) -> RunRecord:
        """The run of that id, or the only one whose id begins so.

        Raises:
            UsageError: no such run, or several.
        """
        with guarded(self.root):
            return self._runs.one(id_or_prefix)

    def remove_run(self, run_id: str) -> int:
        """Remove a run, its outputs and their media; returns the freed bytes.

        Scores stay as long as a run has the same output; :meth:`sweep` removes the others.
        """
        self._need_writer()
        with guarded(self.root):
            folder = self._runs.folder(run_id)
            with self._session.write():
                self._runs.remove(run_id)
            return self._media.remove_run(folder)

    def add_run_clips(self, run_id: str, clips: Iterable[RunClip]) -> None:
        """Add requested clips; a clip that is there is updated."""
        self._need_writer()
        with guarded(self.root), self._session.write():
            self._runs.add_clips(run_id, list(clips))

    def run_clips(self, run_id: str) -> list[RunClip]:
        """The requested clips in order of their ids, bytewise."""
        with guarded(self.root):
            return self._runs.clips(run_id)

    def add_run_protocols(self, run_id: str, protocols: Iterable[str]) -> None:
        """Note that protocols were asked for, so that :meth:`protocols` has them even if no clip was scored."""
        self._need_writer()
        with guarded(self.root), self._session.write():
            self._runs.add_protocols(run_id, protocols)

    def protocols(self, run_id: str) -> list[str]:
        """The protocols that were asked for, or under which the run's outputs have scores; sorted."""
        with guarded(self.root):
            run = self._runs.number(run_id)
            asked = self._runs.protocols(run)
            others = {
                name: self._reference(name, run_id, None) for name in self._runs.scored_protocols() if name not in asked
            }
            return sorted(asked | self._columns().protocols(run, others))

    # media and outputs

    def media_dir(self, run_id: str) -> Path:
        """Where the media of a run lie."""
        with guarded(self.root):
            return self._media.folder(self._runs.folder(run_id))

    def stage_dir(self) -> Path:
        """A folder for unfinished files, on the store's file system; it is gone when the store is closed."""
        self._need_writer()
        with guarded(self.root):
            return self._media.stage()

    def add_output(
        self, record: OutputRecord, files: Mapping[str, Path] | None = None, *, replace: bool = False
    ) -> Added:
        """Add what generating a clip gave: files are moved into place, then its row is committed.

        ``files`` maps ``video`` and ``audio`` to finished files (in :meth:`stage_dir`, best); the
        paths in ``record`` are set by the store. A failure that is not final gives way to any
        later result; a late loss never replaces a final result. An equal result is a
        ``duplicate``; an unequal one is kept aside with its files as a ``conflict``, unless
        ``replace`` says that it shall stand.
        """
        self._need_writer()
        with guarded(self.root):
            return self._add_output(record, files or {}, replace)

    def _add_output(self, record: OutputRecord, files: Mapping[str, Path], replace: bool) -> Added:
        verdict = "new" if replace else self._outputs.compare(record)
        folder = self._runs.folder(record.run_id)
        if verdict == "duplicate":
            for file in files.values():
                file.unlink(missing_ok=True)
            return verdict
        if verdict == "new":
            # The old row goes before its files change: a kill in between leaves a clip to redo, not a wrong hash.
            with self._session.write():
                self._outputs.forget(record.run_id, record.clip_id)
        mark = f"conflict-{(record.sha256 or 'none')[:12]}" if verdict == "conflict" else ""
        placed = {
            stream: self._media.place(path, folder, record.clip_id, mark) for stream, path in sorted(files.items())
        }
        if placed:
            self._media.settle(folder)
        with self._session.write():
            return self._outputs.add(record, placed, verdict)

    def outputs(self, run_id: str) -> dict[str, OutputRecord]:
        """What was generated so far, by clip id."""
        with guarded(self.root):
            return self._outputs.of_run(run_id)

    # scores

    def add_scores(
        self, records: Sequence[ScoreRecord], *, tolerance: Mapping[str, float] | None = None, replace: bool = False
    ) -> list[Added]:
        """Add scores in one commit; what became of each, in order.

        ``tolerance``: by protocol, how far two results of one key may lie apart (relative, absolute
        below 1; default 0). A failure that is not final gives way to a later result. ``replace``:
        the new result stands, whatever was there.
        """
        self._need_writer()
        if not records:
            return []
        with guarded(self.root), self._session.write():
            return self._scores.add(records, tolerance or {}, replace)

    def have_scores(self, keys: Iterable[ScoreKey]) -> dict[ScoreKey, State]:
        """Those of ``keys`` that the store has: ``ok``, ``failed`` (final) or ``retry``."""
        with guarded(self.root):
            return dict(self._scores.states(keys))

    def score_states(
        self, run_id: str, protocol: str, weights_sha256: str, *, reference_is_run: bool | None = None
    ) -> dict[str, State]:
        """Clip id to ``ok``, ``failed`` or ``retry`` for the clips that have a row; quick for whole runs."""
        with guarded(self.root):
            run, reference = self._runs.number(run_id), self._reference(protocol, run_id, reference_is_run)
            return self._columns().states(run, protocol, weights_sha256, reference)

    def scores(
        self, run_id: str, protocol: str, *, weights_sha256: str | None = None, reference_is_run: bool | None = None
    ) -> ScoreColumn:
        """One protocol over all requested clips of a run.

        ``weights_sha256``: which weights; ``None``: the newest under which the run has a score.
        ``reference_is_run``: the score's reference is ``cost_reference(run_id, clip_id)``, as it
        is for costs (``None``: for protocols ``cost/…``).
        """
        with guarded(self.root):
            run, reference = self._runs.number(run_id), self._reference(protocol, run_id, reference_is_run)
            return self._columns().column(run, run_id, protocol, weights_sha256, reference)

    def score_rows(
        self, run_id: str, protocol: str, *, weights_sha256: str | None = None, reference_is_run: bool | None = None
    ) -> Iterator[tuple[str, ScoreRecord]]:
        """Clip id and whole score, with texts and details, in order of clip ids; read one by one."""
        with guarded(self.root):
            run, reference = self._runs.number(run_id), self._reference(protocol, run_id, reference_is_run)
            yield from self._columns().rows(run, protocol, weights_sha256, reference)

    def score_costs(self, run_id: str, protocol: str, device: str) -> list[ScoreCost]:
        """What scoring (a sample of) a run's clips on a kind of device took."""
        with guarded(self.root):
            return score_costs(self._session, self._runs.number(run_id), protocol, device)

    def conflicts(self, run_id: str | None = None) -> list[Conflict]:
        """Unequal second results: of a run's outputs and of their scores; ``None``: all."""
        with guarded(self.root):
            return self._runs.conflicts(None if run_id is None else self._runs.number(run_id))

    def _columns(self) -> ColumnReader:
        from bench.store_columns import ColumnReader  # needs NumPy

        return ColumnReader(self._session, self._scores)

    @staticmethod
    def _reference(protocol: str, run_id: str, reference_is_run: bool | None) -> str | None:
        """The run's id where references are ``cost_reference(run_id, clip_id)``; ``None``: the clips' own."""
        if reference_is_run is None:
            reference_is_run = protocol.startswith("cost/")
        return run_id if reference_is_run else None

    # features of media, cache of aggregates

    def get_features(self, media_sha256: str, keys: Iterable[str]) -> dict[str, dict[str, Array]]:
        """Those of the features ``keys`` that are kept for a medium, each as named arrays."""
        with guarded(self.root):
            return self._features.get(media_sha256, keys)

    def put_features(self, media_sha256: str, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays that are a function of the medium's content and of ``key`` alone."""
        self._need_writer()
        with guarded(self.root):
            self._features.put(media_sha256, key, arrays)

    def get_cached(self, key: str) -> Any:
        """What :meth:`put_cached` kept under ``key``; ``None``: nothing."""
        with guarded(self.root):
            row = self._session.connection.execute("SELECT value FROM cached WHERE key = ?", (key,)).fetchone()
            return None if row is None else json.loads(row[0])

    def put_cached(self, key: str, value: Any) -> bool:
        """Keep a JSON value; false where the store is open for reading, which keeps nothing."""
        if not self.writable:
            return False
        row = (key, json.dumps(value), now())
        with guarded(self.root), self._session.write() as connection:
            connection.execute("INSERT OR REPLACE INTO cached (key, value, created) VALUES (?, ?, ?)", row)
        return True

    # keeping

    def sweep(self, dry_run: bool = False) -> SweepReport:
        """Remove media that no row names and scores whose output is of no run any more."""
        self._need_writer()
        with guarded(self.root):
            orphans = self._media.orphans(self._outputs.known_media())
            if dry_run:
                n_scores = self._outputs.count_unused_scores()
            else:
                with self._session.write():
                    n_scores = self._outputs.remove_unused_scores()
                self._session.contents.forget()
                self._media.remove([name for name, _ in orphans])
            return SweepReport(tuple(name for name, _ in orphans), sum(size for _, size in orphans), n_scores)

    def digest(self, run_ids: Iterable[str] | None = None) -> str:
        """SHA-256 of the results of runs (``None``: all), whatever machine, order or time they came in.

        Times, versions, devices and details of failures do not count, nor do the values of ``cost/…``.
        """
        from bench.store_columns import digest

        with guarded(self.root):
            ids = [run.id for run in self._runs.all({})] if run_ids is None else list(run_ids)
            costs = [
                self._session.names.number(name) for name in self._runs.scored_protocols() if name.startswith("cost/")
            ]
            return digest(self._session, [self._runs.number(run_id) for run_id in ids], costs)
