"""One loudness for all speech that is learnt from or compared with: -16 dB, gated, without frequency weighting.

Blocks and gates are those of ITU-R BS.1770; the rule is that of specs/codec.md, 1.5.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

TARGET_DB = -16.0
HIGHEST_PEAK = 0.99
_BLOCK_S, _HOP_S = 0.4, 0.1
_OFFSET_DB = -0.691
_SILENT_DB, _QUIET_DB = -70.0, -10.0  # below this; this much below the mean of what is left


def levelled(samples: Samples, rate: int = 16_000) -> Samples:
    """``samples`` ``(N,)`` at -16 dB, or as loud as a peak of 0.99 allows; silence stays as it is."""
    found = loudness(samples, rate)
    if found is None:
        return samples
    gain = 10 ** ((TARGET_DB - found) / 20)
    peak = float(np.abs(samples).max()) * gain
    return (samples * (gain * min(1.0, HIGHEST_PEAK / peak))).astype(np.float32)


def loudness(samples: Samples, rate: int = 16_000) -> float | None:
    """Loudness in dB of ``samples`` ``(N,)``; None where no block of 0.4 s is above -70 dB."""
    powers = _block_powers(samples, rate)
    heard = powers[powers > _power(_SILENT_DB)]
    if not len(heard):
        return None
    heard = heard[heard >= heard.mean() * 10 ** (_QUIET_DB / 10)]
    return _OFFSET_DB + 10 * math.log10(float(heard.mean()))


def _block_powers(samples: Samples, rate: int) -> NDArray[np.float64]:
    """The mean square of each whole block; of a clip that is shorter than one, its own."""
    size, hop = round(_BLOCK_S * rate), round(_HOP_S * rate)
    total = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    size = min(size, len(samples))
    if not size:
        return np.zeros(0)
    first = np.arange(0, len(samples) - size + 1, hop)
    return np.asarray((total[first + size] - total[first]) / size)


def _power(loud_db: float) -> float:
    return float(10 ** ((loud_db - _OFFSET_DB) / 10))
