"""Ends the workers' process groups when their driver is gone: a script of the standard library alone.

Workers end themselves then, but what they have started (an official repository's own programs)
would go on. The guard reads ``+PID`` and ``-PID`` lines from its standard input; when that ends it
kills every group that is left, and removes the folder of logs that it was given, if any. It is a
process of its own since the driver may die of SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Follow the lines until the driver's end closes, then kill what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(pid)
    for pid in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    for folder in sys.argv[1:]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
