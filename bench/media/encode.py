"""Writing H.264 video with equal bytes for equal pictures, and silent copies of videos.

H.264 in 4:2:0 has no odd sizes (its crop counts in steps of two pixels): the last row or column
is repeated once, and the mp4's comment keeps the true size (``picture-size=33x27``), by which
:mod:`bench.media` cuts the padding off again on reading. Other players show the repeated pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from bench.errors import Unscorable
from bench.media.container import Wholeness, opened, reading, video_stream
from bench.media.picture import SIZE_TAG, SWS_FLAGS, quarter_turns_and_flip, tagged_size
from bench.media.video import iter_video
from bench.records import FPS

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from numpy.typing import NDArray

    from bench.records import Audio, Frames, Source

CRF = 10  # x264's quality of stored outputs
_MP4 = {"movflags": "+faststart", "fflags": "+bitexact"}  # bitexact: no dates, no library version
_AUDIO_BIT_RATE = 192_000  # of the AAC track of a mixed mp4 (for people, never scored)
_BT601, _LIMITED_RANGE = 6, 1  # the colour matrix and range in which pictures are stored


def write_video(path: Path, frames: Frames | Iterable[Frames], crf: int = CRF, audio: Audio | None = None) -> None:
    """Write frames (T, H, W, 3) uint8 RGB, or pieces of them, as mp4: H.264 yuv420p, 25 fps, one thread.

    ``audio`` adds an AAC track for people to hear. Raises :class:`Unscorable`: ``model_error``
    for another type or shape, ``too_short`` for no frame. The file is removed on failure.
    """
    pieces = [frames] if isinstance(frames, np.ndarray) else frames
    try:
        with av.open(str(path), "w", format="mp4", options=_MP4) as container:
            _write(container, pieces, crf, audio)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(container: OutputContainer, pieces: Iterable[Frames], crf: int, audio: Audio | None) -> None:
    stream: Any = None
    sound: Any = None
    shape: tuple[int, ...] = ()
    index = 0
    for piece in pieces:
        _check_frames(piece, shape)
        for picture in piece:
            if stream is None:
                shape = piece.shape[1:]
                stream = _h264_stream(container, shape, crf)
                sound = _aac_stream(container, audio.rate) if audio is not None else None
            container.mux(stream.encode(_yuv(picture, index)))
            index += 1
    if stream is None:
        raise Unscorable("too_short", "0 video frames")
    container.mux(stream.encode(None))
    if audio is not None:
        _mux_audio(container, sound, audio)


def _check_frames(piece: Any, shape: tuple[int, ...]) -> None:
    right = isinstance(piece, np.ndarray) and piece.dtype == np.uint8 and piece.ndim == 4 and piece.shape[3] == 3
    if not right or 0 in piece.shape[1:]:
        given = f"{piece.dtype} {piece.shape}" if isinstance(piece, np.ndarray) else type(piece).__name__
        raise Unscorable("model_error", f"video frames are uint8 RGB (T, H, W, 3), not {given}")
    if shape and piece.shape[1:] != shape:
        raise Unscorable("model_error", f"frames of one video differ in shape: {shape} and {piece.shape[1:]}")


def _h264_stream(container: OutputContainer, shape: tuple[int, ...], crf: int) -> Any:
    height, width = shape[:2]
    stream: Any = container.add_stream("libx264", rate=FPS)
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    # x264's macroblock tree makes equal frames into unequal bytes now and then, with one thread too
    stream.options = {"crf": str(crf), "threads": "1", "mbtree": "0"}
    stream.codec_context.thread_count = 1
    stream.codec_context.colorspace = _BT601
    stream.codec_context.color_range = _LIMITED_RANGE
    if (stream.width, stream.height) != (width, height):
        container.metadata["comment"] = f"{SIZE_TAG}{width}x{height}"
    return stream


def _yuv(picture: NDArray[np.uint8], index: int) -> av.VideoFrame:
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    yuv = frame.reformat(format="yuv420p", interpolation=SWS_FLAGS, dst_colorspace=_BT601, threads=1)
    yuv.pts, yuv.time_base = index, Fraction(1, FPS)
    return yuv


def _aac_stream(container: OutputContainer, rate: int) -> Any:
    stream: Any = container.add_stream("aac", rate=rate, layout="mono")
    stream.codec_context.bit_rate = _AUDIO_BIT_RATE
    stream.codec_context.thread_count = 1
    return stream


def _mux_audio(container: OutputContainer, stream: Any, audio: Audio) -> None:
    block = 1024  # samples of an AAC packet
    samples = np.ascontiguousarray(audio.samples, dtype=np.float32)
    for start in range(0, samples.size, block):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + block], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = audio.rate, start, Fraction(1, audio.rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def add_audio(video: Path, audio: Audio, target: Path) -> None:
    """Write the pictures of an H.264 file as mp4 with an AAC track for people to hear; the packets are copied.

    Raises :class:`Unscorable` as decoding does. ``target`` is removed on failure.
    """
    with opened(video) as container, reading(video):
        stream = video_stream(container)
        if stream is None:
            raise Unscorable("no_video_stream", f"{video.name}: no video stream")
        try:
            with av.open(str(target), "w", format="mp4", options=_MP4) as out:
                copy: Any = out.add_stream_from_template(stream)
                copy.metadata.clear()
                sound = _aac_stream(out, audio.rate)
                for packet in container.demux(stream):
                    if packet.size:
                        packet.stream = copy
                        out.mux(packet)
                _mux_audio(out, sound, audio)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def strip_audio(source: Source, target: Path) -> None:
    """Write the pictures of ``source`` alone: an mp4 without sound, title or any text of the source.

    Packets are copied, time stamps kept, where the source is a whole, uncropped, upright
    H.264 yuv420p mp4 of constant 25 fps; every other source is decoded to the 25 fps grid and encoded.
    Raises :class:`Unscorable` as decoding does.
    """
    if source.start is None and source.end is None and source.crop is None and _copied(source, target):
        return
    write_video(target, iter_video(source))


def _copied(source: Source, target: Path) -> bool:
    """Copy the packets of a source that needs no encoding; False: it needs it, and nothing was written."""
    with opened(source.path) as container, reading(source.path):
        stream = video_stream(container)
        if stream is None:
            raise Unscorable("no_video_stream", f"{source.path.name}: no video stream")
        coded = (container.format.name, stream.codec_context.name, stream.codec_context.pix_fmt)
        if "mp4" not in coded[0] or coded[1:] != ("h264", "yuv420p") or tagged_size(container.metadata):
            return False
        packets = _constant_25(container, stream, source.path.name)
        if not packets or not _is_upright(container, stream):
            return False
        try:
            _write_packets(packets, stream, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return True


def _constant_25(container: Any, stream: Any, name: str) -> list[Any]:
    """The packets, if every one is shown and they are exactly 1/25 s apart, else none; broken files raise."""
    wholeness = Wholeness(stream)
    packets: list[Any] = []
    for packet in container.demux(stream):
        wholeness.saw(packet)
        if packet.size == 0:
            continue
        if packet.pts is None or packet.dts is None or packet.is_discard:
            return []
        packets.append(packet)
    if wholeness.problem:
        raise Unscorable("decode_error", f"{name}: {wholeness.problem}")
    # in ticks of the stream: exact, and much quicker than fractions
    step = Fraction(1, FPS) / stream.time_base
    ticks = sorted(packet.pts for packet in packets)
    constant = all(after - before == step for before, after in pairwise(ticks))
    return packets if constant and (len(packets) > 1 or stream.average_rate == FPS) else []


def _is_upright(container: Any, stream: Any) -> bool:
    container.seek(0)
    for frame in container.decode(stream):
        return quarter_turns_and_flip(frame) == (0, False)
    return False


def _write_packets(packets: Sequence[Any], stream: Any, target: Path) -> None:
    with av.open(str(target), "w", format="mp4", options=_MP4) as out:
        copy: Any = out.add_stream_from_template(stream)
        copy.metadata.clear()  # language, handler and the like may name the source
        for packet in packets:
            packet.stream = copy
            out.mux(packet)
