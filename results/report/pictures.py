"""What stands beside the players: spectrograms, waveforms and posters as WebP, and loudness as numbers.

All systems' pictures of one clip have the same scales, so that eyes can compare them: 16 kHz, 80 mel channels, 80 dB
below the loudest moment. The functions return the bytes of a file; equal media give equal bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Audio, Source

RECIPE = "pictures-1"  # part of the names of pictures: another recipe makes other files
RATE = 16_000
N_FFT, N_MELS, HOP = 1024, 80, 160
WIDTH = 800  # pixels at most, of spectrograms and waveforms
WAVE_HEIGHT = 64
POSTER_WIDTH = 320
LEVEL_STEP = 0.04  # seconds: a frame at 25 fps
LEVEL_POINTS = 250  # at most
_SILENCE = 1e-8  # -80 dB
_RANGE_DB = 80.0
_WAVE_GREY = 128  # seen on white and on black


def spectrogram(audio: Audio) -> bytes:
    """The mel spectrogram of a recording, low tones at the bottom, (80, at most 800) pixels."""
    import cv2

    from bench.media import resample
    from bench.metrics.mel import mel_power, power_to_db

    samples = resample(audio.samples, audio.rate, RATE)
    hop = max(HOP, -(-len(samples) // (WIDTH - 1)))
    decibels = power_to_db(mel_power(samples, RATE, N_FFT, hop, N_MELS), _RANGE_DB)
    grey = np.round(255 * (1 + decibels / _RANGE_DB)).clip(0, 255).astype(np.uint8)
    return _webp(cv2.applyColorMap(np.ascontiguousarray(grey.T[::-1]), cv2.COLORMAP_VIRIDIS), quality=80)


def waveform(audio: Audio) -> bytes:
    """The least and greatest sample of each column of pixels, grey on nothing, (64, at most 800) pixels."""
    columns = min(WIDTH, max(1, len(audio.samples)))
    pieces = np.array_split(np.clip(audio.samples, -1.0, 1.0), columns)
    middle = (WAVE_HEIGHT - 1) / 2
    tops = np.array([round(middle - middle * float(piece.max())) for piece in pieces])
    ends = np.array([round(middle - middle * float(piece.min())) for piece in pieces])
    lines = np.arange(WAVE_HEIGHT)[:, None]
    drawn = (lines >= tops) & (lines <= ends)
    picture = np.full((WAVE_HEIGHT, columns, 4), _WAVE_GREY, np.uint8)
    picture[..., 3] = np.where(drawn, 255, 0)
    return _webp(picture, quality=101)


def loudness(audio: Audio) -> dict[str, Any]:
    """The level over time in decibels of full scale, each 40 ms (longer where there are more than 250 of them).

    Returns ``seconds`` (the middles of the pieces), ``values`` and ``unit``.
    """
    step = max(1, round(audio.rate * LEVEL_STEP), -(-len(audio.samples) // LEVEL_POINTS))
    starts = range(0, len(audio.samples), step)
    powers = [float(np.mean(np.square(audio.samples[start : start + step], dtype=np.float64))) for start in starts]
    return {
        "seconds": [round((start + step / 2) / audio.rate, 2) for start in starts],
        "values": [round(10 * np.log10(max(power, _SILENCE)), 1) for power in powers],
        "unit": "dB of full scale",
    }


def poster(video: Source) -> bytes:
    """The first picture of a video, at most 320 pixels wide."""
    import cv2

    from bench.media import iter_video

    frame = next(iter_video(video, chunk_bytes=1))[0]
    height, width = frame.shape[:2]
    if width > POSTER_WIDTH:
        size = (POSTER_WIDTH, max(1, round(height * POSTER_WIDTH / width)))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return _webp(np.ascontiguousarray(frame[..., ::-1]), quality=80)


def _webp(picture: NDArray[Any], quality: int) -> bytes:
    """BGR or BGRA uint8 (H, W, channels) as WebP; a quality above 100 is lossless."""
    import cv2

    written, data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not written:
        raise ValueError(f"no WebP of a picture of shape {picture.shape}")
    return bytes(data)
