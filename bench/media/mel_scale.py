"""Mel filter banks on Slaney's scale, as librosa and the official networks have them; numpy alone.

The scale is linear below 1 kHz (200/3 Hz a mel) and logarithmic above (27 steps from 1 to 6.4 kHz).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


@lru_cache(maxsize=16)
def slaney_filters(rate: int, n_fft: int, n_mels: int, low: float = 0.0, high: float = 0.0) -> NDArray[np.float64]:
    """Triangles (1 + n_fft // 2, n_mels) between ``low`` and ``high`` Hz (0: half the rate), each of area 1.

    Treat as constant: the array is kept.
    """
    edges = _to_hz(np.linspace(_to_mel(low), _to_mel(high or rate / 2.0), n_mels + 2))
    bins = np.arange(1 + n_fft // 2) * (rate / n_fft)
    width = np.diff(edges)
    rising = (bins[:, None] - edges[None, :-2]) / width[None, :-1]
    falling = (edges[None, 2:] - bins[:, None]) / width[None, 1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2])))


def _to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return float(_BREAK_HZ / _LINEAR_HZ_PER_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = _BREAK_HZ / _LINEAR_HZ_PER_MEL
    return np.where(mel < break_mel, mel * _LINEAR_HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mel - break_mel)))
