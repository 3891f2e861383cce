"""Opening containers, choosing streams, and telling whole files from broken ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from bench.errors import Unscorable

#: A stream that ends this much before its header says has lost frames; smaller differences are
#: the rounding of edit lists, which count in milliseconds.
SHORTFALL_S = Fraction(5, 1000)
#: The same where the header does not count frames (Matroska) and durations are approximate.
LOOSE_SHORTFALL_S = Fraction(1, 10)
_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def what_libav_said(error: Exception) -> str:
    """The reason in one line, without paths and numbers of libav's own."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn libav's and the system's errors into ``decode_error`` that names the file."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise Unscorable("decode_error", f"{path.name}: {what_libav_said(error)}") from error


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container of ``path``, closed afterwards. Raises :class:`Unscorable` ``decode_error``."""
    with reading(path), av.open(str(path), metadata_errors="replace") as container:
        yield container


def video_stream(container: InputContainer) -> Any | None:
    """The moving picture, decoded by one thread (workers are processes); cover art does not count.

    Raises :class:`Unscorable` ``decode_error`` where nothing can decode it, as :func:`audio_stream`.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return _decodable(container, stream)
    return None


def audio_stream(container: InputContainer) -> Any | None:
    """The first sound track, or ``None``."""
    for stream in container.streams.audio:
        return _decodable(container, stream)
    return None


def _decodable(container: InputContainer, stream: Any) -> Any:
    if stream.codec_context is None:  # a damaged header, or a codec that FFmpeg does not know
        raise Unscorable("decode_error", f"{Path(container.name).name}: no decoder for the {stream.type} stream")
    stream.codec_context.thread_count = 1
    return stream


class Wholeness:
    """Compares what a stream's header claims with the packets that came.

    A file that was cut off (with the index in front) opens without complaint and claims all its
    frames. ``problem`` says in words what is missing, ``None`` for a whole stream.
    """

    def __init__(self, stream: Any, from_front: bool = True) -> None:
        self._stream = stream
        self._from_front = from_front  # else packets cannot be counted, only the end compared
        self._packets = 0
        self._end: int | None = None  # in ticks of the stream: exact, and much quicker than fractions
        self._corrupt = False

    def saw(self, packet: Packet[Any]) -> None:
        """Take note of a packet; the empty one that flushes a decoder is passed over."""
        if packet.size == 0:
            return
        self._packets += 1
        self._corrupt |= packet.is_corrupt
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            self._end = end if self._end is None else max(self._end, end)

    @property
    def problem(self) -> str | None:
        """What is wrong, once all packets have been seen."""
        claimed = self._stream.frames
        if self._corrupt:
            return "truncated or damaged: a packet is incomplete"
        shortfall = self._shortfall()
        counted = claimed and self._from_front
        if counted and self._packets < claimed and (shortfall is None or shortfall > SHORTFALL_S):
            return f"truncated: {self._packets} of {claimed} packets that the header claims"
        if not counted and shortfall is not None and shortfall > LOOSE_SHORTFALL_S:
            return f"truncated: ends {float(shortfall):.2f} s before the time that the header claims"
        return None

    def _shortfall(self) -> Fraction | None:
        end, base = _claimed_end(self._stream), self._stream.time_base
        return None if end is None or self._end is None or base is None else end - self._end * Fraction(base)


def _claimed_end(stream: Any) -> Fraction | None:
    """The presentation time at which the header says that ``stream`` ends."""
    if stream.duration is not None:
        return Fraction((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base)
    found = _CLOCK.match(stream.metadata.get("DURATION", ""))
    if found is None:
        return None
    hours, minutes, seconds = found.groups()
    return Fraction(int(hours) * 3600 + int(minutes) * 60) + Fraction(seconds)
