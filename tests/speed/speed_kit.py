"""What the parts of the benchmark share: alternating timings, fresh processes, machine facts, the table.

Times are taken twice, as wall time and as processor time of this process and of the children that it
waited for: on a machine that others use too, the second is the one to trust.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Taken:
    """What one call took, in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Line:
    """One line of the table. ``met`` is ``None`` where there is no target."""

    part: str
    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    wall: float | None = None
    cpu: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Options:
    """``quick``: fewer clips and rounds; ``tiny``: as few as show that a part runs (its figures mean nothing)."""

    quick: bool = False
    tiny: bool = False

    def size(self, full: int, quick: int, tiny: int) -> int:
        """The number of this mode."""
        return tiny if self.tiny else quick if self.quick else full

    @property
    def rounds(self) -> int:
        """Alternating runs of each contender."""
        return self.size(5, 3, 1)


@dataclass
class Race:
    """Timings of contenders that ran in turn, by name."""

    taken: dict[str, list[Taken]] = field(default_factory=dict)

    def wall(self, name: str) -> float:
        """Median seconds of wall time."""
        return median(t.wall for t in self.taken[name])

    def cpu(self, name: str) -> float:
        """Median seconds of processor time."""
        return median(t.cpu for t in self.taken[name])

    def ratio(self, name: str, base: str, clock: str) -> float:
        """Median over the rounds of ``name`` over ``base``, by the clock ``wall`` or ``cpu``."""
        pairs = zip(self.taken[name], self.taken[base], strict=True)
        return median(getattr(one, clock) / getattr(other, clock) for one, other in pairs)


def processor_seconds() -> float:
    """User and system time of this process (to the microsecond) and of its children that have ended (in ticks)."""
    used = os.times()
    return time.process_time() + used.children_user + used.children_system


def timed(work: Callable[[], object]) -> Taken:
    """Run ``work`` once."""
    gc.collect()
    wall, cpu = time.perf_counter(), processor_seconds()
    work()
    return Taken(time.perf_counter() - wall, processor_seconds() - cpu)


def race(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> Race:
    """Each contender once per round, the order turned by one from round to round.

    ``before``: what is done, untimed, ahead of each run of a contender.
    """
    found = Race({name: [] for name in contenders})
    names = list(contenders)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if before and name in before:
                before[name]()
            found.taken[name].append(timed(contenders[name]))
    return found


def fresh(script: str, *arguments: object) -> dict[str, Any]:
    """Run ``tests/speed/<script> arguments`` in a new interpreter; its last line of output as JSON."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=one_thread())
    if done.returncode:
        raise RuntimeError(f"{script} {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one_thread() -> dict[str, str]:
    """The environment with one thread for every numeric library, as the harness gives to its workers."""
    return {**os.environ, **dict.fromkeys(THREADS, "1")}


def own_threads() -> dict[str, str]:
    """The environment with as many threads as every library likes, as a script that is just started has it."""
    return {name: value for name, value in os.environ.items() if name not in THREADS}


def side_by_side(
    script: str, arguments: Sequence[object], rounds: int, environment: Mapping[str, str]
) -> tuple[list[float], list[dict[str, Any]]]:
    """Run ``script`` once per argument, all at the same time, in new interpreters.

    In each round a process makes itself ready and waits in :func:`gate`; from the moment when all are until the last
    one is done, wall time is taken. Gives the rounds' seconds and each process's last line of output as JSON.
    """
    command = [sys.executable, str(HERE / script)]
    with tempfile.TemporaryFile("w+") as errors:
        started = [
            subprocess.Popen(
                [*command, str(one)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=dict(environment),
            )
            for one in arguments
        ]
        try:
            seconds = [_one_round(started) for _ in range(rounds)]
            # not communicate(), which does not see what has been read ahead
            answers = [process.stdout.read() for process in started if process.stdout is not None]
            if any(process.wait() for process in started):
                raise EOFError
        except (EOFError, BrokenPipeError):
            errors.seek(0)
            raise RuntimeError(f"{script}: a process ended early\n{errors.read()}") from None
        finally:
            for process in started:
                process.kill()
    return seconds, [json.loads(answer.splitlines()[-1]) for answer in answers]


def _one_round(started: Sequence[subprocess.Popen[str]]) -> float:
    for process in started:
        _heard(process, "ready")
    begin = time.perf_counter()
    for process in started:
        print("go", file=process.stdin, flush=True)
    for process in started:
        _heard(process, "done")
    return time.perf_counter() - begin


def _heard(process: subprocess.Popen[str], word: str) -> None:
    """Read on until ``word``. Raises ``EOFError`` where it does not come."""
    if process.stdout is None or word not in (line.strip() for line in process.stdout):
        raise EOFError


def gate(work: Callable[[], object]) -> Taken:
    """Within a process of :func:`side_by_side`: say that all is ready, wait for the others, run ``work`` once."""
    print("ready", flush=True)
    sys.stdin.readline()
    taken = timed(work)
    print("done", flush=True)
    return taken


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB of 2**20 bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM:")) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def machine() -> dict[str, str]:
    """Facts without which a figure says little."""
    from importlib.metadata import version

    packages = ("numpy", "torch", "av", "opencv-python-headless", "dlib-bin", "pyarrow")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": str(cores),
        "processor": _processor(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: version(name) for name in packages},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.open() if "model name" in line] if info.exists() else []
    return names[0] if names else platform.processor()


def render(lines: Sequence[Line]) -> str:
    """The table as text; times in seconds."""
    rows = [("part", "what", "result", "target", "", "wall s", "CPU s", "note")]
    for line in lines:
        met = {True: "ok", False: "MISSED", None: ""}[line.met]
        result = f"{line.value:,.3g} {line.unit}" if line.value < 1000 else f"{line.value:,.0f} {line.unit}"
        rows.append((line.part, line.what, result, line.target, met, _number(line.wall), _number(line.cpu), line.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _number(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"
