"""Decoding video to RGB frames on the 25 fps grid, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import Unscorable
from bench.media.container import Wholeness, opened, reading, video_stream
from bench.media.grid import GridClock
from bench.media.picture import Renderer
from bench.records import FPS

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from numpy.typing import NDArray

    from bench.records import Frames, Source

CHUNK_BYTES = 128 * 2**20  # of decoded RGB held at a time
_FRAME = Fraction(1, FPS)
_SEEK_FROM_S = 1.0  # a cut that begins earlier than this is reached by decoding from the front
_LONGEST_GAP_S = 3600.0  # between two frames; more is a broken time stamp, not a still picture


@dataclass(frozen=True, slots=True)
class Video:
    """``frames`` uint8 RGB (T, H, W, 3) on the 25 fps grid.

    ``fps_converted``: the source was not of constant 25 fps, so frames were dropped or repeated.
    ``source_fps``: the source's average rate.
    """

    frames: Frames
    fps_converted: bool
    source_fps: float


class GridReader:
    """One pass over a video on the 25 fps grid.

    :meth:`pictures` gives each picture on show with the number of grid frames that it fills. The
    attributes are complete once the pass has ended: ``n_frames``, ``fps_converted``, ``source_fps``.
    ``expected_frames`` is known with the first picture: a guess from the header, 0 without one.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._clock = GridClock(source.start or 0.0, source.end)
        self._constant = True
        self.source_fps = float(FPS)
        self.expected_frames = 0
        self._metadata: dict[str, str] = {}
        self._duration = 0.0

    @property
    def n_frames(self) -> int:
        """Grid frames so far."""
        return self._clock.count

    @property
    def fps_converted(self) -> bool:
        """Whether the frames seen so far are not exactly 1/25 s apart."""
        return not self._constant

    def pictures(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Yield (uint8 RGB (H, W, 3), repeats). Raises as :meth:`runs`."""
        renderer: Renderer | None = None
        for frame, repeats in self.runs():
            renderer = renderer or Renderer(self._source, self._metadata)
            yield renderer(frame), repeats

    def runs(self) -> Iterator[tuple[Any, int]]:
        """Yield (decoded frame, repeats): enough to count, without making pictures.

        Raises :class:`Unscorable`: ``no_video_stream``, or ``decode_error`` when the file is
        broken or ends before its header says.
        """
        path = self._source.path
        with opened(path) as container, reading(path):
            stream = _require_video(container, path)
            self._metadata = dict(container.metadata)
            self.expected_frames = _expected_frames(stream, self._source)
            held: Any = None
            for frame, time in self._timed(container, stream):
                repeats = 0 if held is None else self._clock.before(float(time))
                if repeats:
                    yield held, repeats
                held = frame
                if self._clock.finished:
                    return
            repeats = self._clock.at_end(self._duration)
            if repeats:
                yield held, repeats

    def _timed(self, container: InputContainer, stream: Any) -> Iterator[tuple[Any, Fraction]]:
        """Frames with their times from the first frame; notes the rate and the end on the way."""
        rate = Fraction(stream.average_rate or stream.guessed_rate or FPS)
        self.source_fps = float(rate)
        last: Fraction | None = None
        step = 1 / rate
        own_step: Fraction | None = None
        for frame, time in _from_start(container, stream, self._source, rate):
            if last is not None:
                step = time - last
                self._check_gap(float(step))
                self._constant &= step == _FRAME
            last = time
            own_step = frame.duration * frame.time_base if frame.duration else None
            yield frame, time
        if last is None:
            raise Unscorable("decode_error", f"{self._source.path.name}: no frame could be decoded")
        if not last and own_step != _FRAME:  # a single frame has no distance to another one
            self._constant = rate == FPS
        self._duration = float(last + (_FRAME if self._constant else own_step or step))

    def _check_gap(self, step: float) -> None:
        if abs(step) > _LONGEST_GAP_S:
            raise Unscorable(
                "decode_error", f"{self._source.path.name}: {step:.0f} s between two frames: broken time stamps"
            )


def decode_video(source: Source) -> Video:
    """The whole of ``source`` in memory. Raises :class:`Unscorable` as :meth:`GridReader.runs`."""
    return _collected(source, math.inf)


def decode_within(source: Source, limit_bytes: float) -> Video | None:
    """:func:`decode_video` if the frames take at most ``limit_bytes``, else ``None``, as early as is known."""
    try:
        return _collected(source, limit_bytes)
    except _TooLargeError:
        return None


class _TooLargeError(Exception):
    """The frames take more memory than was allowed."""


def _collected(source: Source, limit_bytes: float) -> Video:
    reader = GridReader(source)
    pieces: list[NDArray[np.uint8]] = []
    for picture, repeats in reader.pictures():
        if picture.nbytes * max(reader.n_frames, reader.expected_frames) > limit_bytes:
            raise _TooLargeError
        pieces.extend([picture] * repeats)
    if not pieces:
        raise Unscorable("too_short", f"{source.path.name}: the part asked for has no frame")
    return Video(_stacked(pieces), reader.fps_converted, reader.source_fps)


def _stacked(pieces: list[Any]) -> Frames:
    """``np.stack`` that lets go of each piece once it is copied, so that memory holds the clip once."""
    stack = np.empty((len(pieces), *pieces[0].shape), np.uint8)
    for index, piece in enumerate(pieces):
        stack[index] = piece
        pieces[index] = None
    return stack


def iter_video(source: Source, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Frames]:
    """The frames of ``source`` in pieces (n, H, W, 3) of at most ``chunk_bytes`` (at least a frame)."""
    return _chunks(GridReader(source), chunk_bytes)


def count_frames(source: Source) -> int:
    """How many frames ``source`` has on the 25 fps grid; decodes, but makes no pictures."""
    reader = GridReader(source)
    for _ in reader.runs():
        pass
    return reader.n_frames


def first_frame_time(path: Path) -> Fraction | None:
    """Presentation time of the first video frame in seconds; ``None`` when there is none."""
    with opened(path) as container, reading(path):
        stream = video_stream(container)
        if stream is None:
            return None
        rate = Fraction(stream.average_rate or FPS)
        with closing(_decoded(container, stream, rate, None)) as frames:
            for _, time in frames:
                return time
    return None


def _expected_frames(stream: Any, source: Source) -> int:
    length = float((stream.duration or 0) * stream.time_base)
    end = length if source.end is None else min(source.end, length)
    return max(0, round((end - (source.start or 0.0)) * FPS))


def _require_video(container: InputContainer, path: Path) -> Any:
    stream = video_stream(container)
    if stream is None:
        raise Unscorable("no_video_stream", f"{path.name}: no video stream")
    return stream


def _chunks(reader: GridReader, chunk_bytes: int) -> Iterator[Frames]:
    buffer: Frames | None = None
    filled = 0
    for picture, repeats in reader.pictures():
        if buffer is None:
            buffer = np.empty((max(1, chunk_bytes // picture.nbytes), *picture.shape), np.uint8)
        for _ in range(repeats):
            buffer[filled] = picture
            filled += 1
            if filled == len(buffer):
                yield buffer
                buffer, filled = np.empty_like(buffer), 0
    if buffer is not None and filled:
        yield buffer[:filled]


def _from_start(
    container: InputContainer, stream: Any, source: Source, rate: Fraction
) -> Iterator[tuple[Any, Fraction]]:
    """Decoded frames with times from the first one; begins near ``source.start`` when that is late."""
    front = source.start is None or source.start <= _SEEK_FROM_S
    wholeness = Wholeness(stream, from_front=front)
    if front:
        origin: Fraction | None = None
        frames = _decoded(container, stream, rate, wholeness)
    else:
        origin = _first_time(container, stream, rate, source.path)
        frames = _after_seek(container, stream, rate, wholeness, origin + Fraction(source.start or 0), origin)
    for frame, time in frames:
        origin = time if origin is None else origin
        yield frame, time - origin
    if wholeness.problem:  # only reached where frames were asked for up to the end
        raise Unscorable("decode_error", f"{source.path.name}: {wholeness.problem}")


def _first_time(container: InputContainer, stream: Any, rate: Fraction, path: Path) -> Fraction:
    with closing(_decoded(container, stream, rate, None)) as frames:
        for _, time in frames:
            return time
    raise Unscorable("decode_error", f"{path.name}: no frame could be decoded")


def _after_seek(
    container: InputContainer, stream: Any, rate: Fraction, wholeness: Wholeness, start: Fraction, origin: Fraction
) -> Generator[tuple[Any, Fraction], None, None]:
    """Frames from a key frame on that is on show no later than ``start``; ``origin`` is the first frame's time.

    Containers seek by decoding time, so the key frame found can be on show too late: then the
    seek is repeated from further ahead, at last from the very front.
    """
    margin = Fraction(1)
    while True:
        target = max(origin, start - margin)
        container.seek(int(target / stream.time_base), stream=stream, backward=True)
        frames = _decoded(container, stream, rate, wholeness)
        first = next(frames, None)
        if (first is not None and first[1] <= start) or target == origin:
            break
        frames.close()
        margin *= 4
    if first is not None:
        yield first
        yield from frames


def _decoded(
    container: InputContainer, stream: Any, rate: Fraction, wholeness: Wholeness | None
) -> Generator[tuple[Any, Fraction], None, None]:
    """Decoded frames with presentation times that never decrease; frames without one get the next step."""
    last: Fraction | None = None
    for packet in container.demux(stream):
        if wholeness is not None:
            wholeness.saw(packet)
        for frame in packet.decode():
            if frame.pts is not None:
                time = frame.pts * Fraction(frame.time_base)
            else:
                time = Fraction(0) if last is None else last + 1 / rate
            last = time if last is None else max(last, time)
            yield frame, last
