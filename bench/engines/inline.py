"""Batches in the calling process: what the local engine does with ``workers=0``."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence

from bench.engines.answers import outcomes
from bench.engines.worker import THREAD_VARIABLES, Handler, attempt
from bench.records import Outcome, Unit


class Inline:
    """``workers=0``: each batch runs when it is polled for."""

    def __init__(self, handler: Handler, threads: int) -> None:
        self._handler = handler
        self._batches: deque[Sequence[Unit]] = deque()
        torch = sys.modules.get("torch")
        if torch is None:  # a handler may import it later: libraries read these when they are loaded
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        else:
            set_threads: Callable[[int], None] = torch.set_num_threads
            set_threads(threads)

    def free(self) -> int:
        return 0 if self._batches else 1

    def submit(self, batch: Sequence[Unit]) -> None:
        self._batches.append(batch)

    def poll(self) -> list[Outcome]:
        if not self._batches:
            return []
        batch = self._batches.popleft()
        kind, result, seconds = attempt(self._handler, [unit.payload for unit in batch])
        return outcomes(batch, kind, result, seconds)
