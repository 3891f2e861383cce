"""The folder ``media/`` of a report: files under hashes of what they were made from, within a limit of bytes.

A file that is there already is not made again, so that a second report after one more system costs what is new.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.api import UsageError

FOLDER = "media"
_DIGITS = 16  # of the hash in a file's name


class Shelf:
    """``linked``: media are hard links to the store's files; ``limit``: bytes of the whole folder (``None``: any).

    ``full`` is set when a file did not fit: from then on nothing is taken, whatever its size, so that clips are
    complete in their order. ``names``: what was taken or made, relative to the report.
    """

    def __init__(self, report: Path, linked: bool = False, limit: int | None = None) -> None:
        self._report = report
        self._linked = linked
        self._limit = limit
        self._used = 0
        self.full = False
        self.names: set[str] = set()
        (report / FOLDER).mkdir(parents=True, exist_ok=True)

    def take(self, source: Path, *key: str) -> str | None:
        """A copy of (or link to) ``source``, named by ``key``; ``None``: the limit is reached."""
        return self._keep(self._name(source.suffix, key), lambda target: self._place(source, target))

    def make(self, suffix: str, write: Callable[[Path], None], *key: str) -> str | None:
        """A file that ``write`` writes, named by ``key``; ``None``: the limit is reached. Errors of ``write`` pass."""
        return self._keep(self._name(suffix, key), write)

    @staticmethod
    def _name(suffix: str, key: tuple[str, ...]) -> str:
        digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:_DIGITS]
        return f"{FOLDER}/{digest}{suffix.lower()}"

    def _keep(self, name: str, write: Callable[[Path], None]) -> str | None:
        if name in self.names:
            return name
        if self.full:
            return None
        target = self._report / name
        if not target.is_file():
            partial = target.with_name(f"part-{target.name}")
            try:
                write(partial)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        size = target.stat().st_size
        if self._limit is not None and self._used + size > self._limit:
            self.full = True
            target.unlink()
            return None
        self._used += size
        self.names.add(name)
        return name

    def _place(self, source: Path, target: Path) -> None:
        if not self._linked:
            shutil.copyfile(source, target)
            return
        try:
            os.link(source.resolve(), target)  # a store's file may be a symbolic link to a common folder
        except OSError as error:
            raise UsageError(
                f"--media link: {source.name} cannot be linked into {self._report}: {error.strerror or error}",
                "put the report on the store's file system, or take --media copy.",
            ) from error
