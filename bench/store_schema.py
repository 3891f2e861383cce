"""The store's SQLite file: its tables, how it is opened, checked, migrated, and what its errors say.

Content hashes and repeated strings (protocols, weights hashes, layouts of values, versions) are
kept once, in ``contents`` and ``names``; the other tables hold their numbers. A score row of two
values then takes about 100 bytes.

Versions
    1  all tables but ``cached``.
    2  ``cached``: aggregates of a leaderboard, by a key that names all they depend on.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import DataError, UsageError

log = logging.getLogger(__name__)

DATABASE = "store.sqlite"
APPLICATION_ID = 0x62454E43  # "bENC", in the header of the SQLite file
VERSION = 2
BUSY_MS = 30_000  # wait for a reader's checkpoint; there is never a second writer

#: What takes the schema from version n - 1 to n; a new store runs all of them.
STEPS: dict[int, tuple[str, ...]] = {
    1: (
        "CREATE TABLE contents (n INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE)",
        "CREATE TABLE names (n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        """CREATE TABLE runs (
            n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, folder TEXT NOT NULL UNIQUE, record TEXT NOT NULL)""",
        """CREATE TABLE run_protocols (
            run INTEGER NOT NULL, protocol INTEGER NOT NULL, PRIMARY KEY (run, protocol)) WITHOUT ROWID""",
        """CREATE TABLE run_clips (
            run INTEGER NOT NULL, clip_id TEXT NOT NULL, speaker TEXT, reference INTEGER NOT NULL,
            duration_s REAL NOT NULL, PRIMARY KEY (run, clip_id)) WITHOUT ROWID""",
        """CREATE TABLE outputs (
            run INTEGER NOT NULL, clip_id TEXT NOT NULL, ok INTEGER NOT NULL, content INTEGER,
            video TEXT, audio TEXT, n_frames INTEGER, n_samples INTEGER, sample_rate INTEGER,
            seconds REAL NOT NULL, peak_mib REAL NOT NULL, media_seconds REAL NOT NULL, device TEXT NOT NULL,
            kind TEXT NOT NULL, detail TEXT NOT NULL, final INTEGER NOT NULL, attempts INTEGER NOT NULL,
            created TEXT NOT NULL, PRIMARY KEY (run, clip_id)) WITHOUT ROWID""",
        "CREATE INDEX outputs_content ON outputs (content)",
        """CREATE TABLE scores (
            protocol INTEGER NOT NULL, weights INTEGER NOT NULL, output INTEGER NOT NULL, reference INTEGER NOT NULL,
            ok INTEGER NOT NULL, layout INTEGER NOT NULL, numbers BLOB NOT NULL, text TEXT NOT NULL,
            kind TEXT NOT NULL, detail TEXT NOT NULL, final INTEGER NOT NULL, seconds REAL NOT NULL,
            versions INTEGER NOT NULL, created TEXT NOT NULL,
            PRIMARY KEY (protocol, weights, output, reference)) WITHOUT ROWID""",
        """CREATE TABLE score_arrays (
            protocol INTEGER NOT NULL, weights INTEGER NOT NULL, output INTEGER NOT NULL, reference INTEGER NOT NULL,
            data BLOB NOT NULL, PRIMARY KEY (protocol, weights, output, reference))""",
        """CREATE TABLE used_weights (
            protocol INTEGER NOT NULL, weights INTEGER NOT NULL, newest TEXT NOT NULL,
            PRIMARY KEY (protocol, weights)) WITHOUT ROWID""",
        """CREATE TABLE conflicts (
            n INTEGER PRIMARY KEY, subject TEXT NOT NULL, run INTEGER, content INTEGER, key TEXT NOT NULL,
            kept TEXT NOT NULL, other TEXT NOT NULL, mark TEXT NOT NULL, times INTEGER NOT NULL, created TEXT NOT NULL,
            UNIQUE (subject, key, mark))""",
    ),
    2: ("CREATE TABLE cached (key TEXT PRIMARY KEY, value TEXT NOT NULL, created TEXT NOT NULL) WITHOUT ROWID",),
}

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_REMOTE = {errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.ENOLCK}


def explain(error: sqlite3.Error | OSError, root: Path) -> DataError:
    """The error that people see, for what SQLite or the file system reported about the store at ``root``."""
    kept = "What was stored before stays; the same command goes on."
    text = str(error)
    code = error.errno if isinstance(error, OSError) else None
    if code in _FULL or "disk is full" in text:
        return DataError(f"store {root}: no space left on the device ({text})", f"free some space. {kept}")
    if code in _READ_ONLY or "readonly database" in text:
        return DataError(
            f"store {root}: cannot be written ({text})", "give another --out, or the right to write there."
        )
    if code in _REMOTE or "disk I/O error" in text:
        return DataError(
            f"store {root}: the file system reports an error ({text})", f"see that the disk or mount is well. {kept}"
        )
    if "malformed" in text or "not a database" in text:
        return DataError(
            f"store {root}: {DATABASE} is damaged ({text})",
            "media and other files are untouched: put a backup of it in place, or move it away to begin anew.",
        )
    if "locked" in text:
        return DataError(
            f"store {root}: {DATABASE} is held by another program ({text})", "end that program, or try again later."
        )
    return DataError(f"store {root}: {text}", kept)


@contextmanager
def guarded(root: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into :class:`DataError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise explain(error, root) from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"store {root}: {error.object!r} has characters that no text file can hold", "rename that clip or file."
        ) from error


def _connect(path: Path, query: str) -> sqlite3.Connection:
    uri = path.resolve().as_uri() + query
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=256)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return connection


def _identity(connection: sqlite3.Connection, root: Path) -> int:
    """The schema version, 0 for an empty file.

    Raises:
        UsageError: the file is of a newer version, or is another program's.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if version == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise UsageError(f"{root / DATABASE} is no store of bench", "give another --out.")
    if version > VERSION:
        raise UsageError(
            f"store {root} has schema version {version}; this bench knows versions up to {VERSION}",
            "use the bench that wrote it, or a newer one.",
        )
    return version


def _apply(connection: sqlite3.Connection, first: int) -> None:
    """Run the steps from ``first`` on, all or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(first, VERSION + 1):
            for statement in STEPS[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def back_up(connection: sqlite3.Connection, root: Path, version: int) -> Path:
    """Copy the database beside itself, whole or not at all; returns the copy's path."""
    number = 0
    while (target := root / f"store.v{version}{f'-{number}' if number else ''}.backup.sqlite").exists():
        number += 1
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    copy = sqlite3.connect(part)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.rename(target)
    return target


def open_writer(root: Path) -> sqlite3.Connection:
    """The writer's connection: WAL, each commit synced, schema made or migrated (with a backup)."""
    connection = _connect(root / DATABASE, "?mode=rwc")
    try:
        version = _identity(connection, root)
        mode = str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        if mode != "wal":
            log.warning("store %s: this file system allows no WAL; using journal mode %s", root, mode)
        connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            _apply(connection, 1)
        elif version < VERSION:
            copy = back_up(connection, root, version)
            log.warning("store %s: schema %d -> %d; the old one is kept as %s", root, version, VERSION, copy.name)
            _apply(connection, version + 1)
    except BaseException:
        connection.close()
        raise
    return connection


def make_temporary() -> sqlite3.Connection:
    """An empty store's tables in a nameless database, which spills to disk where it grows and is gone when closed."""
    connection = sqlite3.connect("", isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA synchronous = OFF")
    _apply(connection, 1)
    return connection


def open_reader(root: Path) -> sqlite3.Connection:
    """A connection that cannot write; works beside a writer and in a folder that is read-only."""
    path = root / DATABASE
    try:
        connection = _connect(path, "?mode=ro")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return connection
    except sqlite3.OperationalError:
        # WAL needs its two side files, which cannot be made in a read-only folder. With nothing
        # in the log the main file is whole, and nobody can change it there.
        wal = path.with_name(path.name + "-wal")
        if os.access(root, os.W_OK) or (wal.exists() and wal.stat().st_size > 0):
            raise
    return _connect(path, "?mode=ro&immutable=1")


def reader_version(connection: sqlite3.Connection, root: Path) -> int:
    """The schema version of a store opened for reading; refuses newer ones and other programs' files."""
    return _identity(connection, root)
