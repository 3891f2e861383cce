"""The search for the shift between lips and sound (metrics.md 4), in float64.

With lip embeddings v_i, audio embeddings a_j (one per video frame) and a surrounded by zero vectors,

    d(i, k) = || v_i - a_(i + k - V) + eps ||,  k = 0 .. 2 V,    D(k) = mean over i of d(i, k)

**LSE-D** = min D (lower is better), **LSE-C** = median D - min D (higher is better), and the offset is
V - argmin D in video frames, of the first minimum; a positive one means that the sound that
belongs to the lips lies earlier in the audio. The zero vectors take part at both ends, as in the
reference: with V windows or fewer the extreme shifts meet nothing else, and tie.

Chung, Zisserman: "Out of time: automated lip sync in the wild", 2016;
``joonson/syncnet_python: SyncNetInstance.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]


class Sync(NamedTuple):
    """``offset`` in video frames; ``mean_distances`` is D (2 V + 1,)."""

    lse_c: float
    lse_d: float
    offset: int
    mean_distances: Reals


def usable_frames(n_frames: int, n_samples: int, samples_per_frame: int) -> int:
    """Video frames that both streams last for."""
    return min(n_frames, n_samples // samples_per_frame)


def window_count(usable: int, frames_per_window: int) -> int:
    """Windows that count: all of a clip but the last possible one, as in the reference."""
    return max(usable - frames_per_window, 0)


def is_short(windows: int, max_shift: int) -> bool:
    """Whether the extreme shifts compare with zero vectors alone."""
    return 0 < windows <= max_shift


def shifted_distances(lips: NDArray[Any], audio: NDArray[Any], max_shift: int, eps: float) -> Reals:
    """d(i, k), (n, 2 V + 1), of lip embeddings (n, D) and audio embeddings (m, D), m >= n."""
    n = len(lips)
    if n < 1 or len(audio) < n or lips.shape[1:] != audio.shape[1:]:
        raise ValueError(f"cannot compare lips {lips.shape} with audio {audio.shape}")
    shifts = 2 * max_shift + 1
    moved = lips.astype(np.float64) + eps
    padded = np.pad(audio.astype(np.float64), ((max_shift, max_shift), (0, 0)))
    distances = np.empty((n, shifts))
    for k in range(shifts):  # one shift at a time: memory stays that of the embeddings
        distances[:, k] = np.sqrt(np.sum(np.square(moved - padded[k : k + n]), axis=1))
    return distances


def search(distances: Reals) -> Sync:
    """Confidence, distance and offset of d (n, 2 V + 1)."""
    # Summed row by row: equal columns have equal means to the bit, so that ties stay ties
    mean_distances = np.asarray(distances.mean(axis=0))
    best = int(mean_distances.argmin())
    least = float(mean_distances[best])
    return Sync(
        lse_c=float(np.median(mean_distances)) - least,
        lse_d=least,
        offset=distances.shape[1] // 2 - best,
        mean_distances=mean_distances,
    )
