"""One writer per store: a lock on a file that the system drops when its holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import UsageError

LOCK = "store.lock"
_HELD = {errno.EAGAIN, errno.EACCES}


class WriterLock:
    """Held from construction to :meth:`release`. The file stays; what counts is the lock on it.

    Raises:
        UsageError: another process (or this one) holds it; says which, where and since when.
        OSError: the file cannot be made, or the file system has no locks.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / LOCK
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            os.close(self._fd)
            if error.errno not in _HELD:
                raise
            raise UsageError(
                f"store {root} is being written by {holder}", "wait until it has ended, or give another --out."
            ) from error
        self._write_holder()

    def _write_holder(self) -> None:
        info = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": " ".join(sys.argv)[:500],
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps(info).encode(), 0)
        except OSError:
            os.close(self._fd)
            raise

    def _holder(self) -> str:
        try:
            info = json.loads(os.pread(self._fd, 4096, 0))
            return f"process {info['pid']} on {info['host']} since {info['since']}: {info['command']}"
        except (ValueError, KeyError, TypeError):
            return "another process"  # it has only just taken the lock

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
