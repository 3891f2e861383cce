"""Pictures for SyncNet without a detector: the whole frame squeezed to 224x224 (metrics.md 4.1).

``Rudrabha/Wav2Lip: evaluation/scores_LSE/calculate_scores_LRS.py``: all frames as JPEG by ffmpeg's
``image2`` at its default quality, read by OpenCV as BGR, resized by OpenCV (bilinear, uint8).

The JPEG step is made in memory by the encoder that ffmpeg uses, libavcodec's ``mjpeg`` with its defaults
(200 kbit/s, one pass, quantiser 2..31): one encoder for the whole clip, since the rate control looks
back. Not promised: equality with a given ffmpeg build. ffmpeg takes the decoder's YUV, we convert it
from RGB; the colour conversion and the rate control differ between versions; and where the
clip was not of 25 fps, we encode the frames of the 25 fps grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np

from bench.api import Unscorable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.media import Media
    from bench.records import Frames

    Picture = NDArray[np.uint8]  # (H, W, 3)

PIECE = 32  # frames resized at a time


def whole_frames(media: Media, parameters: Mapping[str, Any]) -> Iterator[Frames]:
    """The clip's frames, uint8 BGR (m, 224, 224, 3) in order, as the protocol prepares them."""
    height, width = parameters["frames"]["size"]
    to_bgr: Callable[[Picture], Picture] = _reversed
    if parameters["jpeg_roundtrip"] is not None:
        to_bgr = JpegRoundTrip(parameters["fps"])
    for _, frames in media.frame_chunks():
        for start in range(0, len(frames), PIECE):
            piece = [squeezed(to_bgr(frame), height, width) for frame in frames[start : start + PIECE]]
            yield np.stack(piece)


def squeezed(picture: Picture, height: int, width: int) -> Picture:
    """The whole picture in another size: bilinear with half-pixel centres, rounded to uint8."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _reversed(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[:, :, ::-1])


class JpegRoundTrip:
    """RGB pictures of one clip in order, each to JPEG and back as BGR."""

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self._encoder: Any = None
        self._count = 0

    def __call__(self, picture: Picture) -> Picture:
        """``picture`` (H, W, 3) after the loss. Raises ``Unscorable("decode_error")`` where there is no JPEG of it."""
        encoder = self._encoder_for(picture)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format=encoder.pix_fmt, interpolation="BICUBIC", threads=1)  # as FFmpeg's command does
        frame.pts = self._count
        self._count += 1
        data = b"".join(bytes(packet) for packet in encoder.encode(frame))
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if decoded is None:
            raise Unscorable("decode_error", f"frame {self._count - 1} cannot be written as JPEG")
        return np.asarray(decoded, np.uint8)

    def _encoder_for(self, picture: Picture) -> Any:
        if self._encoder is None:
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width = picture.shape[:2]
            encoder.pix_fmt = "yuvj420p"
            encoder.time_base, encoder.framerate = Fraction(1, self._fps), Fraction(self._fps)
            encoder.thread_count = 1
            self._encoder = encoder
        return self._encoder
