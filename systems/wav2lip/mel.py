"""The audio that Wav2Lip hears: a normalised mel spectrogram and its window for each video frame.

Source: ``Rudrabha/Wav2Lip: audio.py, hparams.py, inference.py`` under librosa 0.7 (tfg.md 1.6, 1.7): reflected
edges, magnitudes (not powers), Slaney's mel scale and areas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.media.mel_scale import slaney_filters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Samples

RATE = 16_000  # Hz
COLUMNS_PER_SECOND = 80
WINDOW_COLUMNS = 16  # what a network sees of a frame: 0.2 s
N_MELS = 80
HOP = RATE // COLUMNS_PER_SECOND
#: Fewer samples give fewer columns than a window has.
LEAST_SAMPLES = HOP * (WINDOW_COLUMNS - 1)

_N_FFT = 800
_LOW_HZ, _HIGH_HZ = 55.0, 7600.0
_PRE_EMPHASIS = 0.97
_MIN_DB, _REFERENCE_DB = -100.0, 20.0
_PEAK = 4.0  # values lie in [-4, 4]
_CHUNK = 2048  # columns at a time: bounds the memory of long recordings


def mel_spectrogram(samples: Samples) -> NDArray[np.float32]:
    """Samples (N,) in [-1, 1] at 16 kHz to (80, 1 + N // 200) in [-4, 4]; digital silence is -4 everywhere."""
    x = np.asarray(samples, np.float64)
    x = np.concatenate([x[:1], x[1:] - _PRE_EMPHASIS * x[:-1]])
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, _N_FFT // 2, mode="reflect"), _N_FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_N_FFT) / _N_FFT)
    bank = slaney_filters(RATE, _N_FFT, N_MELS, _LOW_HZ, _HIGH_HZ)
    floor = 10.0 ** (_MIN_DB / 20.0)
    out = np.empty((N_MELS, len(frames)), np.float32)
    for start in range(0, len(frames), _CHUNK):
        magnitude = np.abs(np.fft.rfft(frames[start : start + _CHUNK] * window, axis=1))
        level = 20.0 * np.log10(np.maximum(floor, magnitude @ bank)) - _REFERENCE_DB  # (columns, 80) dB
        scaled = 2.0 * _PEAK * (level - _MIN_DB) / -_MIN_DB - _PEAK
        out[:, start : start + _CHUNK] = np.clip(scaled, -_PEAK, _PEAK).T
    return out


def driving_mel(samples: Samples) -> NDArray[np.float32]:
    """:func:`mel_spectrogram` with at least one window: shorter audio is filled up with silence."""
    return mel_spectrogram(np.pad(samples, (0, max(0, LEAST_SAMPLES - len(samples)))))


def window_starts(
    n_columns: int, fps: float, *, step: int = WINDOW_COLUMNS, rate: int = COLUMNS_PER_SECOND, tail: bool = True
) -> NDArray[np.int64]:
    """The first column of the window of each output frame; their number is the video's length.

    Frame i begins at the whole part of ``i * (rate / fps)``, as long as ``step`` columns are there; ``tail``
    adds the last ``step`` columns once more, which the list script of the benchmark leaves out.
    """
    last = n_columns - step
    per_frame = rate / fps
    guess = np.arange(max(0, int((last + 1) / per_frame) + 2))
    starts = (guess * per_frame).astype(np.int64)
    starts = starts[starts <= last]
    return np.append(starts, max(0, last)) if tail else starts


def windows(mel: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Windows (n, 1, 80, 16) of a spectrogram (80, columns)."""
    columns = starts[:, None] + np.arange(WINDOW_COLUMNS)  # (n, 16)
    return np.ascontiguousarray(mel[:, columns].transpose(1, 0, 2)[:, None])


def training_start(frame: int, fps: float = 25.0) -> int:
    """Where the window of frame ``frame`` (1 or more) begins in training: one frame earlier than at inference."""
    if frame < 1:
        raise ValueError(f"frame {frame} has no training window: the first is frame 1")
    return int(COLUMNS_PER_SECOND * ((frame - 1) / fps))
