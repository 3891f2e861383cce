"""Progress of long work: a Rich bar with ETA on a terminal, plain lines elsewhere, nothing with ``-q``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

PLAIN_EVERY_S = 10.0  # seconds between two plain lines


class Bar(Protocol):
    """One stage's bar."""

    def advance(self, ok: bool = True) -> None:
        """One more unit is finished, well or not."""


class _Counter:
    """Counts, and prints a plain line now and then."""

    def __init__(self, label: str, total: int, resumed: int, stream: TextIO | None) -> None:
        self.label, self.total, self.resumed, self.stream = label, total, resumed, stream
        self.done = self.failed = 0
        self.start = self.last = time.monotonic()

    def advance(self, ok: bool = True) -> None:
        self.done += 1
        self.failed += not ok
        now = time.monotonic()
        if self.stream is not None and now - self.last >= PLAIN_EVERY_S:
            self.last = now
            self.line()

    def text(self) -> str:
        parts = [f"{self.done}/{self.total}"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.resumed:
            parts.append(f"{self.resumed} already done")
        return ", ".join(parts)

    def line(self) -> None:
        if self.stream is None:
            return
        elapsed = time.monotonic() - self.start
        left = elapsed / self.done * (self.total - self.done) if self.done else 0.0
        known = self.done * 50 >= self.total  # the first units wait for models to load: no estimate from them
        tail = f"{elapsed:.0f} s" if self.done == self.total or not known else f"{left:.0f} s left"
        self.stream.write(f"{self.label}: {self.text()}, {tail}\n")
        self.stream.flush()


class _RichBar(_Counter):
    def __init__(self, label: str, total: int, resumed: int, bars: Any) -> None:
        super().__init__(label, total, resumed, None)
        self._bars = bars
        self._task = bars.add_task(label, total=total, counts=self.text())

    def advance(self, ok: bool = True) -> None:
        super().advance(ok)
        self._bars.update(self._task, advance=1, counts=self.text())


class Progress:
    """Where stages report. ``quiet``: nothing, ``verbose``: every failure; no ``colour``: plain lines."""

    def __init__(
        self, quiet: bool = False, colour: bool = True, stream: TextIO | None = None, verbose: bool = False
    ) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._verbose = verbose and not quiet
        self._rich = colour and not quiet and self._stream.isatty()

    @contextmanager
    def stage(self, label: str, total: int, resumed: int = 0) -> Iterator[Bar]:
        """A bar for ``total`` units; ``resumed`` were done before and are shown beside."""
        if self._rich:
            with self._bars() as bars:
                yield _RichBar(label, total, resumed, bars)
            return
        counter = _Counter(label, total, resumed, None if self._quiet else self._stream)
        yield counter
        counter.line()

    @contextmanager
    def callback(self, label: str) -> Iterator[Any]:
        """A ``bench.api.Progress`` callable (done, total, what) that drives one bar."""
        state: dict[str, Any] = {"total": 0, "done": 0, "bar": None, "context": None}

        def report(done: int, total: int, what: str) -> None:
            if state["bar"] is None:
                state["context"] = self.stage(what or label, total)
                state["bar"] = state["context"].__enter__()
            while state["done"] < done:
                state["done"] += 1
                state["bar"].advance()

        try:
            yield report
        finally:
            if state["context"] is not None:
                state["context"].__exit__(None, None, None)

    def say(self, text: str) -> None:
        """A line for people, outside any bar."""
        if not self._quiet:
            self._stream.write(text + "\n")
            self._stream.flush()

    def detail(self, text: str) -> None:
        """A line that only ``-v`` shows: a failure, with run, system, clip and protocol."""
        if self._verbose:
            self.say(text)

    def _bars(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        return Bars(*columns, console=Console(file=self._stream))
