"""Transactions and interned strings: what the parts of the store share."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

_CACHE = 100_000  # strings remembered per table, about 20 MB
_CHUNK = 500  # SQL parameters per statement


def now() -> str:
    """The present time, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Interner:
    """Numbers for the strings of one table (``contents`` or ``names``)."""

    def __init__(self, connection: sqlite3.Connection, table: Literal["contents", "names"]) -> None:
        column = {"contents": "sha256", "names": "name"}[table]
        self._connection = connection
        self._insert = f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)"
        self._select = f"SELECT {column}, n FROM {table} WHERE {column} IN "
        self._text = f"SELECT {column} FROM {table} WHERE n = ?"
        self._numbers: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    def forget(self) -> None:
        """Drop what is remembered; needed after a rollback."""
        self._numbers.clear()
        self._texts.clear()

    def find(self, text: str) -> int | None:
        """The number of ``text``, ``None`` if the table lacks it."""
        return self._look_up([text]).get(text)

    def number(self, text: str) -> int:
        """The number of ``text``, which is added where it is missing (inside a transaction)."""
        known = self._numbers.get(text)
        return self.numbers([text])[text] if known is None else known

    def numbers(self, texts: Collection[str]) -> dict[str, int]:
        """The numbers of many strings; missing ones are added (inside a transaction)."""
        found = self._look_up(texts)
        missing = [text for text in texts if text not in found]
        if missing:
            self._connection.executemany(self._insert, ((text,) for text in missing))
            found |= self._look_up(missing)
        return found

    def text(self, number: int) -> str:
        """The string of a number."""
        if number not in self._texts:
            self._texts[number] = str(self._connection.execute(self._text, (number,)).fetchone()[0])
        return self._texts[number]

    def _look_up(self, texts: Collection[str]) -> dict[str, int]:
        if len(self._numbers) > _CACHE:
            self._numbers.clear()
        unknown = list({text for text in texts if text not in self._numbers})
        for first in range(0, len(unknown), _CHUNK):
            part = unknown[first : first + _CHUNK]
            marks = ",".join("?" * len(part))
            self._numbers.update(self._connection.execute(f"{self._select} ({marks})", part).fetchall())
        return {text: self._numbers[text] for text in texts if text in self._numbers}


class Session:
    """A connection with its interned strings; ``write()`` brackets every change."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.contents = Interner(connection, "contents")
        self.names = Interner(connection, "names")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """All changes inside are committed together (synced to disk), or none is."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            self.contents.forget()
            self.names.forget()
            if self.connection.in_transaction:  # a full disk ends the transaction by itself
                self.connection.execute("ROLLBACK")
            raise

    def attempt(self, work: Callable[[], bool]) -> bool:
        """Inside a transaction: what ``work`` did stays only if it returns true."""
        self.connection.execute("SAVEPOINT attempt")
        kept = work()
        if not kept:
            self.connection.execute("ROLLBACK TO attempt")
        self.connection.execute("RELEASE attempt")
        return kept

    def rows(self, query: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, read as they are used."""
        return iter(self.connection.execute(query, parameters))
