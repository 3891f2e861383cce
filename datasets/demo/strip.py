"""A picture of a demo clip: some of its frames in a row, its sound below them, and the words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import DataError
from bench.records import FPS, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Frames, Samples

_WAVE_HEIGHT = 72  # px
_TEXT_HEIGHT = 26  # px
_INK, _PAPER = (60, 84, 140), (255, 255, 255)
_TEXT_INK = (40, 40, 40)


def frames_strip(clip_mp4: Path, out_png: Path, count: int = 8, width: int = 160) -> None:
    """Write ``count`` frames of the clip, evenly spread over its words, as a PNG of ``count·width`` px.

    Sound and words are read from the ``.wav`` and ``.npz`` beside the mp4.

    Raises:
        DataError: one of the files is missing. Unscorable: the mp4 cannot be decoded.
    """
    from bench.media import decode_audio, decode_video, write_png

    sidecar, wav = clip_mp4.with_suffix(".npz"), clip_mp4.with_suffix(".wav")
    for path in (clip_mp4, wav, sidecar):
        if not path.is_file():
            raise DataError(f"{path} is missing", "give the mp4 of a demo clip; `bench data make demo` makes them.")
    with np.load(sidecar, allow_pickle=False) as arrays:
        words, times = [str(word) for word in arrays["words"]], arrays["word_times"]
    start, end = max(0.0, float(times[0, 0]) - 0.1), float(times[-1, 1]) + 0.1
    frames = decode_video(Source(clip_mp4)).frames
    audio = decode_audio(Source(wav))
    first, last = round(start * audio.rate), round(end * audio.rate)
    picture = np.concatenate(
        [
            _row(frames, start, end, count, width),
            _wave(audio.samples[first:last], count * width),
            _captions(words, (times - start) / (end - start), count * width),
        ]
    )
    out_png.parent.mkdir(parents=True, exist_ok=True)
    write_png(out_png, picture)


def _row(frames: Frames, start: float, end: float, count: int, width: int) -> NDArray[np.uint8]:
    """The frames at the middles of ``count`` equal parts of the span, side by side."""
    import cv2

    centres = start + (np.arange(count) + 0.5) * (end - start) / count
    indices = np.clip(np.rint(centres * FPS - 0.5).astype(int), 0, len(frames) - 1)
    size = (width, round(width * frames.shape[1] / frames.shape[2]))
    small = [cv2.resize(frames[i], size, interpolation=cv2.INTER_AREA) for i in indices]
    return np.concatenate([np.asarray(s, dtype=np.uint8) for s in small], axis=1)


def _wave(samples: Samples, width: int) -> NDArray[np.uint8]:
    """The waveform's extent per column."""
    parts = np.array_split(np.abs(samples), width)
    height = np.array([float(part.max()) if part.size else 0.0 for part in parts])
    height *= 0.48 * _WAVE_HEIGHT / max(float(height.max()), 1e-6)
    y = np.abs(np.arange(_WAVE_HEIGHT) - _WAVE_HEIGHT / 2)[:, None]
    return np.where((y <= np.maximum(height, 0.5))[..., None], _INK, _PAPER).astype(np.uint8)


def _captions(words: list[str], spans: NDArray[np.float64], width: int) -> NDArray[np.uint8]:
    """The words under their sound."""
    import cv2

    canvas = np.full((_TEXT_HEIGHT, width, 3), _PAPER, np.uint8)
    for word, (begin, finish) in zip(words, spans, strict=True):
        (wide, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        x = round((begin + finish) / 2 * width - wide / 2)
        cv2.putText(canvas, word, (x, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _TEXT_INK, 1, cv2.LINE_AA)
    return canvas
