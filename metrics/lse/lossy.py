"""The four lossy generations of the reference scripts, made in memory (``lse/syncnet-v2-pipeline@1``).

1. the clip becomes an AVI: MPEG-4 at quantiser 2, and the AVI's default sound, MP3 at libmp3lame's own bit rate;
2. each of its pictures becomes a JPEG at quantiser 2, which the detector and the crop see (cuts are looked for
   in the AVI);
3. the crop becomes MPEG-4 as OpenCV's ``XVID`` writer makes it;
4. each of its pictures becomes a JPEG at the encoder's default rate, which SyncNet sees.

The encoders are those that the scripts' ffmpeg and OpenCV call (libavcodec's ``mpeg4`` and ``mjpeg``, libmp3lame),
with their settings, one thread each, and bare packets in place of files. Step 3 gives OpenCV's own packets to
the byte, and the sound what an AVI gives back to the bit, with the 1105 samples of silence that LAME puts in front.

Not promised: the numbers of another build of ffmpeg, or of an mpeg4 encoder with several threads (it cuts
pictures into slices). The reference transcodes the source's own YUV and sound channels; here the media front end
gives RGB on the 25 fps grid and mono sound, so that colours are rounded once more and two channels
are mixed before MP3 rather than after it.

Sources: ``joonson/syncnet_python: run_pipeline.py``; ``Rudrabha/Wav2Lip: evaluation/scores_LSE``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bench.api import FPS, Unscorable
from bench.media import resample

if TYPE_CHECKING:
    from bench.records import Samples

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

#: Quantiser 2 and no other. (ffmpeg's ``-qscale 2`` sets it per picture, which the binding cannot.)
_Q2 = {"qmin": "2", "qmax": "2"}
#: OpenCV's writer: at least quantiser 3, a bit per pixel, pictures handed over as BGR.
_XVID = {"qmin": "3"}
_XVID_TAG = "XVID"
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MP3_BLOCK = 1152  # samples


class AviJpeg:
    """Generations 1 and 2 for pictures of one clip, in order.

    :meth:`feed` and :meth:`end` give what has come through: the picture of the AVI, and that of its JPEG.
    """

    def __init__(self) -> None:
        self._avi = _Mpeg4(_Q2)
        self._jpeg = Mjpeg(_Q2)

    def feed(self, picture: Picture) -> Iterator[tuple[Picture, Picture]]:
        """Put in one picture; none or several come out."""
        for frame in self._avi.feed(picture):
            yield _rgb(frame), self._jpeg(frame)

    def end(self) -> Iterator[tuple[Picture, Picture]]:
        """What is still inside."""
        for frame in self._avi.end():
            yield _rgb(frame), self._jpeg(frame)


def xvid_jpeg(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Generations 3 and 4 of a track's crops (T, H, W, 3) RGB; equal shape."""
    pixels = crops.shape[1] * crops.shape[2]
    xvid, jpeg = _Mpeg4(_XVID, bit_rate=pixels * FPS, tag=_XVID_TAG), Mjpeg({})
    passed = np.empty_like(crops)
    count = 0
    for frame in _through(xvid, crops):
        passed[count] = jpeg(frame)
        count += 1
    if count != len(crops):
        raise Unscorable("decode_error", f"{count} of {len(crops)} pictures came back from MPEG-4")
    return passed


def mp3(samples: Samples, rate: int) -> tuple[Samples, int]:
    """Mono sound (N,) through MP3, and its rate: the nearest one that MP3 has.

    1105 samples of silence come first, and the end is filled up to whole blocks.
    """
    nearest = min(_MP3_RATES, key=lambda known: (abs(known - rate), known))
    source = resample(samples, rate, nearest, "swr")
    encoder: Any = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format = nearest, "mono", "fltp"
    encoder.time_base = Fraction(1, nearest)
    decoder: Any = av.CodecContext.create("mp3float", "r")
    blocks: list[Samples] = []
    for packet in _mp3_packets(encoder, source, nearest):
        blocks += [block.to_ndarray()[0] for block in decoder.decode(packet)]
    blocks += [block.to_ndarray()[0] for block in decoder.decode(None)]
    return np.concatenate([np.zeros(0, np.float32), *blocks]).astype(np.float32, copy=False), nearest


def _mp3_packets(encoder: Any, samples: Samples, rate: int) -> Iterator[Any]:
    for start in range(0, samples.size, _MP3_BLOCK):
        block = np.ascontiguousarray(samples[None, start : start + _MP3_BLOCK], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for packet in encoder.encode(frame):
            yield _bare(packet)
    for packet in encoder.encode(None):
        yield _bare(packet)


def _bare(packet: Any) -> Any:
    """The packet's bytes alone: an AVI keeps nothing of what an encoder notes besides (LAME its padding).

    They are copied into a packet of libav's own making, which has the zeros behind its end that decoders
    read ahead into; a packet around a Python object has not, and pictures break at random.
    """
    copy = av.Packet(packet.size)
    copy.update(bytes(packet))
    return copy


class _Mpeg4:
    """MPEG-4 and back; decoded frames come out in order."""

    def __init__(self, options: Mapping[str, str], bit_rate: int = 0, tag: str = "") -> None:
        self._options, self._bit_rate, self._tag = options, bit_rate, tag
        self._encoder: Any = None
        self._decoder: Any = None
        self._count = 0

    def feed(self, picture: Picture) -> Iterator[Any]:
        if self._encoder is None:
            self._open(picture)
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        frame = av.VideoFrame.from_ndarray(bgr, format="bgr24")
        frame = frame.reformat(format="yuv420p", interpolation="BICUBIC", threads=1)
        frame.pts, frame.time_base = self._count, Fraction(1, FPS)
        self._count += 1
        for packet in self._encoder.encode(frame):
            yield from self._decoder.decode(_bare(packet))

    def end(self) -> Iterator[Any]:
        if self._encoder is None:
            return
        for packet in self._encoder.encode(None):
            yield from self._decoder.decode(_bare(packet))
        yield from self._decoder.decode(None)

    def _open(self, picture: Picture) -> None:
        self._encoder = _video_encoder("mpeg4", picture.shape[1], picture.shape[0], "yuv420p", self._options)
        if self._bit_rate:
            self._encoder.bit_rate = self._bit_rate
        if self._tag:
            self._encoder.codec_tag = self._tag
        self._decoder = av.CodecContext.create("mpeg4", "r")
        self._decoder.thread_count = 1


def _through(codec: _Mpeg4, pictures: NDArray[np.uint8]) -> Iterator[Any]:
    for picture in pictures:
        yield from codec.feed(picture)
    yield from codec.end()


class Mjpeg:
    """Decoded frames of one clip, in order, each to JPEG by libavcodec and back by OpenCV, as RGB (H, W, 3)."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._encoder: Any = None
        self._count = 0

    def __call__(self, frame: Any) -> Picture:
        """Raises ``Unscorable("decode_error")`` where no JPEG can be made."""
        if self._encoder is None:
            self._encoder = _video_encoder("mjpeg", frame.width, frame.height, "yuvj420p", self._options)
        full = frame.reformat(format="yuvj420p", interpolation="BICUBIC", threads=1)  # to the full range of levels
        full.pts, full.time_base = self._count, Fraction(1, FPS)
        self._count += 1
        data = b"".join(bytes(packet) for packet in self._encoder.encode(full))
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if picture is None:
            raise Unscorable("decode_error", f"picture {self._count - 1} cannot be written as JPEG")
        return np.ascontiguousarray(picture[:, :, ::-1])


def _video_encoder(codec: str, width: int, height: int, pix_fmt: str, options: Mapping[str, str]) -> Any:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pix_fmt
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.thread_count = 1
    encoder.options = dict(options)
    return encoder


def _rgb(frame: Any) -> Picture:
    picture = frame.reformat(format="rgb24", interpolation="BICUBIC", threads=1)
    return np.asarray(picture.to_ndarray(), dtype=np.uint8)
