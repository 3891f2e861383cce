"""Reading the plainest WAV without libav, which takes twenty times as long over three seconds of it.

Plain is what :func:`bench.media.write_audio` writes: a header of 44 bytes, then 16-bit mono PCM up
to the end of the file. The samples are those of libav, bit for bit. Every other file, and every
broken one, is libav's, and so are the failures. One thing is not done here: libav also looks for
coded sound (MP3, DTS) behind a header that says PCM; in a plain WAV the header is believed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from bench.records import Audio

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records import Samples

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_SAMPLE = struct.Struct("<h").size
_MAX_RATE = 1_000_000  # Hz; what lies above is for libav to judge
_FULL_SCALE = np.float32(32768)


def read_plain_wav(path: Path, end: float | None = None) -> Audio | None:
    """All samples, or at least those before the time ``end`` (seconds); ``None`` where libav must read the file."""
    try:
        size = path.stat().st_size
        if size < _HEADER.size + _SAMPLE:  # pipes too: they must not be opened twice
            return None
        with path.open("rb") as file:
            rate = _plain_rate(file.read(_HEADER.size), size)
            if rate is None:
                return None
            n = (size - _HEADER.size) // _SAMPLE
            if end is not None:
                n = min(n, max(1, round(end * rate)))
            data = file.read(n * _SAMPLE)
    except OSError:
        return None
    return Audio(_floats(data), rate) if len(data) == n * _SAMPLE else None


def _plain_rate(header: bytes, size: int) -> int | None:
    """The sample rate in the header of a plain WAV of ``size`` bytes, ``None`` for any other file."""
    if len(header) < _HEADER.size:
        return None
    fields = _HEADER.unpack(header)
    rate = int(fields[7])
    data_size = size - _HEADER.size
    plain = (
        *(b"RIFF", size - 8, b"WAVE"),
        *(b"fmt ", 16, 1, 1, rate, rate * _SAMPLE, _SAMPLE, 8 * _SAMPLE),
        *(b"data", data_size),
    )
    return rate if fields == plain and data_size % _SAMPLE == 0 and 0 < rate <= _MAX_RATE else None


def _floats(data: bytes) -> Samples:
    samples = np.frombuffer(data, "<i2").astype(np.float32)
    samples /= _FULL_SCALE  # a power of two: exact
    return samples
