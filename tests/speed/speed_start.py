"""How quickly the command line answers, in processor time of a new process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from speed_kit import Line, Options, race

PART = "start"
LIMIT_S = 0.5


def run(options: Options) -> list[Line]:
    """A line for ``--help`` and one for ``list``."""
    commands = {name: _command(name) for name in ("--help", "list")}
    times = race(commands, options.rounds)
    lines = []
    for name in commands:
        wall, cpu = times.wall(name), times.cpu(name)
        lines.append(Line(PART, f"bench {name}", wall, "s", f"< {LIMIT_S} s", wall < LIMIT_S, wall, cpu))
    return lines


def _command(name: str) -> Callable[[], object]:
    command = [sys.executable, "-m", "bench", name]
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
