"""Long clips in pieces: windows of video frames that overlap; each goes on from the tokens of the one before."""

from __future__ import annotations

from bench.api import FPS
from bench.systems.hicodit.options import Manner

Span = tuple[int, int]


def spans(frames: int, manner: Manner) -> list[Span]:
    """First frame of each window and the one after its last.

    A clip of up to ``manner.longest`` seconds is one window. All windows of a longer one have the same length: the last
    ends with the clip, and shares so much more with the one before it.
    """
    if frames <= round(manner.longest * FPS):
        return [(0, frames)]
    window = round(manner.window * FPS)
    step = max(1, window - round(manner.overlap * FPS))
    starts = [*range(0, frames - window, step), frames - window]
    return [(start, start + window) for start in starts]
