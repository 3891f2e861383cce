"""Decoded pictures as RGB arrays: colour conversion, display matrix, crop; and PNG files."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from bench.errors import Unscorable
from bench.media.container import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Source

# libswscale's flags. Its default shortcuts darken pictures by one grey level on the way to 4:2:0
# and back and depend on the processor's instruction set; these are exact and the same everywhere.
_SWS_BICUBIC, _SWS_FULL_CHROMA_OUT, _SWS_FULL_CHROMA_IN = 0x4, 0x2000, 0x4000
_SWS_ACCURATE, _SWS_BITEXACT = 0x40000, 0x80000
SWS_FLAGS = _SWS_BICUBIC | _SWS_FULL_CHROMA_OUT | _SWS_FULL_CHROMA_IN | _SWS_ACCURATE | _SWS_BITEXACT

#: In an mp4's comment: the true size of a picture that was padded to even numbers for 4:2:0.
SIZE_TAG = "picture-size="
_SIZE = re.compile(re.escape(SIZE_TAG) + r"(\d+)x(\d+)")


def tagged_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """``(width, height)`` from the comment that :func:`bench.media.write_video` leaves, if any."""
    found = _SIZE.search(metadata.get("comment", ""))
    return (int(found[1]), int(found[2])) if found else None


class Renderer:
    """Makes RGB arrays of decoded frames, upright, cut to the tagged size and to the source's crop."""

    def __init__(self, source: Source, metadata: Mapping[str, str]) -> None:
        self._name = source.path.name
        self._crop = source.crop
        self._size = tagged_size(metadata)
        self._shape: tuple[int, ...] | None = None
        self._turned: tuple[int, tuple[int, bool]] | None = None
        self._converter = VideoReformatter()  # keeps libswscale's tables from frame to frame

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        """uint8 (H, W, 3). Raises ``decode_error`` when the size changes or the crop lies outside."""
        picture = upright(rgb(frame, self._converter), self._turn(frame))
        if self._size is not None:
            picture = _without_padding(picture, self._size)
        if self._crop is not None:
            picture = self._cropped(picture, *self._crop)
        if self._shape is None:
            self._shape = picture.shape
        elif picture.shape != self._shape:
            raise Unscorable(
                "decode_error",
                f"{self._name}: the picture's size changes from {_size(self._shape)} to {_size(picture.shape)}",
            )
        return picture

    def _turn(self, frame: Any) -> tuple[int, bool]:
        """The frame's turn, read anew only when its angle changes.

        Looking at a frame's side data ties the frame into a reference cycle, and pictures would pile
        up until the garbage collector comes by: hundreds of MiB in 4K.
        """
        if self._turned is None or self._turned[0] != frame.rotation:
            self._turned = frame.rotation, quarter_turns_and_flip(frame)
        return self._turned[1]

    def _cropped(self, picture: NDArray[np.uint8], x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        inside = 0 <= x < x + width <= picture.shape[1] and 0 <= y < y + height <= picture.shape[0]
        if not inside:
            raise Unscorable(
                "decode_error",
                f"{self._name}: crop {width}x{height}+{x}+{y} lies outside the picture of {_size(picture.shape)}",
            )
        return picture[y : y + height, x : x + width]


def rgb(frame: Any, converter: VideoReformatter | None = None) -> NDArray[np.uint8]:
    """A decoded frame as uint8 (H, W, 3); the frame's own colour matrix and range are honoured."""
    converter = converter or VideoReformatter()
    picture = converter.reformat(frame, format="rgb24", interpolation=SWS_FLAGS, threads=1)
    return np.asarray(picture.to_ndarray())


def quarter_turns_and_flip(frame: Any) -> tuple[int, bool]:
    """What a frame's display matrix asks for: quarter turns anticlockwise after an optional mirroring.

    Players apply the matrix, so a telephone's upright video is upright here too. Angles between
    the quarters are rounded to the nearest one.
    """
    data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if data is None:
        return 0, False
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    mirrored = a * d - b * c < 0
    if mirrored:
        a = -a  # (x, y) -> (-x, y) first; what is left is a rotation
        b = -b
    angle = np.degrees(np.arctan2(b, a))  # clockwise, because y points down
    return round(-angle / 90) % 4, bool(mirrored)


def upright(picture: NDArray[np.uint8], turn: tuple[int, bool]) -> NDArray[np.uint8]:
    """Apply :func:`quarter_turns_and_flip`."""
    quarters, mirrored = turn
    if mirrored:
        picture = picture[:, ::-1]
    return np.rot90(picture, quarters) if quarters else picture


def _without_padding(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    width, height = size
    padded = (height + height % 2, width + width % 2)
    return picture[:height, :width] if picture.shape[:2] == padded else picture


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def read_png(path: Path) -> NDArray[np.uint8]:
    """A picture file as uint8 RGB (H, W, 3). Raises ``decode_error``."""
    with reading(path), av.open(str(path)) as container:
        for frame in container.decode(video=0):
            return rgb(frame)
    raise Unscorable("decode_error", f"{path.name}: holds no picture")


def write_png(path: Path, frame: NDArray[np.uint8]) -> None:
    """Write uint8 RGB (H, W, 3), lossless; equal pictures give equal bytes."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise Unscorable("model_error", f"a picture is uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = frame.shape[:2]
    encoder.pix_fmt = "rgb24"
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
