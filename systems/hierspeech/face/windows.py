"""Which speech vectors belong to which video frame.

There are 50 vectors and 25 frames a second, so that frame f owns the vectors 2f and 2f + 1. Its window has further
ones on both sides, by default those of five frames: 0.2 s, as long as Wav2Lip's mel window (tfg.md 2.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VECTORS_PER_FRAME = 2
WINDOW = 10  # vectors: five frames


def frame_count(vectors: int) -> int:
    """Frames that a number of speech vectors makes; an odd last vector makes none."""
    return vectors // VECTORS_PER_FRAME


def window_indices(vectors: int, window: int = WINDOW) -> NDArray[np.int64]:
    """Indices (N, window) into ``vectors`` speech vectors, the window's centre between those of the frame.

    Beyond the ends the first and the last vector are repeated.

    Raises:
        ValueError: an odd ``window`` has no such centre.
    """
    if window < VECTORS_PER_FRAME or window % VECTORS_PER_FRAME:
        raise ValueError(f"a window has an even number of vectors, not {window}")
    first = VECTORS_PER_FRAME * np.arange(frame_count(vectors)) - (window // VECTORS_PER_FRAME - 1)  # (N,)
    found: NDArray[np.int64] = np.clip(first[:, None] + np.arange(window), 0, max(0, vectors - 1))
    return found
