"""What a piece of work cost: wall seconds and peak memory of this process.

The cost of a run is what it would have been without any other run. What a system finds ready because a run
before has made it (on disk, say) took its time then; it has to :func:`charge` those seconds.
"""

from __future__ import annotations

import math
import resource
import sys
import threading
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")

_charged = 0.0  # seconds since this process began
_charging = threading.Lock()


def charge(seconds: float) -> None:
    """Add to the measured time of the requests in hand what was saved by work that is kept beyond the run.

    Raises:
        ValueError: ``seconds`` is negative or not finite.
    """
    global _charged
    if not 0.0 <= seconds < math.inf:
        raise ValueError(f"{seconds} seconds cannot be charged")
    with _charging:
        _charged += seconds


class Meter:
    """Measures from construction to :meth:`read`.

    Peak memory is the resident high-water mark in MiB, reset at the start where the kernel allows
    it (Linux); on CUDA the allocator's own peak. Seconds include what is charged meanwhile.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        if self._cuda:
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        else:
            _reset_high_water()
        self._charged = _charged
        self._start = time.perf_counter()

    def read(self) -> tuple[float, float]:
        """Seconds since the start with those charged, and peak memory in MiB."""
        if self._cuda:
            import torch

            torch.cuda.synchronize()
            return self._seconds(), torch.cuda.max_memory_allocated() / 2**20
        return self._seconds(), _high_water_mib()

    def _seconds(self) -> float:
        return time.perf_counter() - self._start + _charged - self._charged


def _reset_high_water() -> None:
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the mark is then the process's own


def _high_water_mib() -> float:
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
