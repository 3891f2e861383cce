"""What a piece of work cost: wall seconds and peak memory of this process."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


class Meter:
    """Measures from construction to :meth:`read`.

    Peak memory is the resident high-water mark in MiB, reset at the start where the kernel allows
    it (Linux); on CUDA the allocator's own peak.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        if self._cuda:
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        else:
            _reset_high_water()
        self._start = time.perf_counter()

    def read(self) -> tuple[float, float]:
        """Seconds since the start, and peak memory in MiB."""
        if self._cuda:
            import torch

            torch.cuda.synchronize()
            return time.perf_counter() - self._start, torch.cuda.max_memory_allocated() / 2**20
        return time.perf_counter() - self._start, _high_water_mib()


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
