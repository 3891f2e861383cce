"""The 25 frames-per-second grid: which decoded frame is on show at each grid time.

Grid frame k (k = 0, 1, …) exists while ``k/25 < duration - 1e-9`` and shows the last frame whose
presentation time is below ``(k + 0.5)/25 - 1e-9``; a frame exactly on the half step is left to
the next grid frame. A source of constant 25 fps passes through untouched. All times are seconds
from the first frame. Source: the project's metric specification, media front end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.records import FPS

SLACK_S = 1e-9  # keeps times that are equal but for rounding on the same side


def fps_grid(pts: Sequence[float], duration: float) -> NDArray[np.int64]:
    """The index of the source frame that each grid frame shows.

    ``pts``: non-decreasing presentation times in seconds, first frame at 0. ``duration``: last
    presentation time plus the last frame's duration. Returns int64 ``(n,)``; empty without frames.
    """
    times = np.asarray(pts, dtype=np.float64)
    if times.size == 0:
        return np.zeros(0, dtype=np.int64)
    k = np.arange(max(0, int(np.ceil(duration * FPS))) + 1, dtype=np.float64)
    k = k[k / FPS < duration - SLACK_S]
    shown = np.searchsorted(times, (k + 0.5) / FPS - SLACK_S, side="left") - 1
    return np.maximum(shown, 0).astype(np.int64)


class GridClock:
    """:func:`fps_grid` for frames that arrive one by one, so that no list of times is needed.

    ``start`` and ``end`` cut the timeline: the grid begins at ``start`` and stops before ``end``.
    """

    def __init__(self, start: float = 0.0, end: float | None = None) -> None:
        self.start = start
        self.end = end
        self.count = 0  # grid frames given out so far

    @property
    def finished(self) -> bool:
        """Whether the grid has reached ``end``."""
        return self.end is not None and not self._exists(self.end)

    def before(self, pts: float) -> int:
        """How many grid frames the frame in hand fills, now that the next one is due at ``pts``."""
        given = 0
        while (self.count + 0.5) / FPS - SLACK_S <= pts - self.start and not self.finished:
            self.count += 1
            given += 1
        return given

    def at_end(self, duration: float) -> int:
        """How many grid frames the last frame fills up to ``duration``."""
        limit = duration if self.end is None else min(duration, self.end)
        given = 0
        while self._exists(limit):
            self.count += 1
            given += 1
        return given

    def _exists(self, limit: float) -> bool:
        return self.count / FPS < limit - self.start - SLACK_S
