"""Decoded facts, kept by content so that no file is decoded twice and an interrupted build goes on."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from functools import cached_property
from pathlib import Path

from bench.datasets.facts import VERSION, Facts
from bench.datasets.files import open_cache
from bench.datasets.manifest import tool_versions


class FactsCache:
    """Decoded facts by content, in ``<cache>/hash.sqlite``; without a writable cache nothing is kept."""

    def __init__(self, cache: Path) -> None:
        self._file = cache / "hash.sqlite"
        self._new: dict[str, str] = {}
        self._versions = json.dumps([VERSION, tool_versions()], sort_keys=True)

    @cached_property
    def _known(self) -> dict[str, str]:
        """What is on disk: read when it is first needed, which is never while no file has changed."""
        try:
            with contextlib.closing(open_cache(self._file)) as base:
                rows = base.execute("SELECT key, facts FROM facts WHERE made_by = ?", (self._versions,))
                return dict(rows.fetchall())
        except (sqlite3.Error, OSError):
            return {}

    def get(self, key: object) -> Facts | None:
        """The facts of that content, if known."""
        stored = self._new.get(json.dumps(key)) or self._known.get(json.dumps(key))
        return Facts(**json.loads(stored)) if stored else None

    def put(self, key: object, facts: Facts) -> None:
        """Keep facts; they are on disk after :meth:`save`."""
        self._new[json.dumps(key)] = json.dumps(facts.as_dict())

    def save(self) -> None:
        """Write what is new."""
        new, self._new = self._new, {}
        self._known.update(new)
        if not new:
            return
        rows = [(key, self._versions, facts) for key, facts in new.items()]
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(open_cache(self._file)) as base, base:
            base.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)
