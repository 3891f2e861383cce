"""A protocol's settings applied to the lengths and embeddings of two streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.api import Unscorable
from bench.metrics.lse.offsets import Sync, is_short, search, shifted_distances, usable_frames, window_count

if TYPE_CHECKING:
    from bench.records import Array


class Common(NamedTuple):
    """What two streams have in common: video frames, and windows of them that count."""

    n_frames: int
    n_windows: int
    short_for_offsets: bool
    differs: bool  # the streams' own lengths, in whole video frames

    def parts(self) -> dict[str, float]:
        """As parts of a score."""
        return {
            "n_frames": float(self.n_frames),
            "n_windows": float(self.n_windows),
            "short_for_offsets": float(self.short_for_offsets),
            "length_differs": float(self.differs),
        }


def common(n_frames: int, n_samples: int, settings: Mapping[str, Any]) -> Common:
    """The common part of ``n_frames`` of video and ``n_samples`` of audio; no window is too short to score."""
    samples_per_frame, rest = divmod(settings["sample_rate"], settings["fps"])
    if rest:
        raise ValueError("sample_rate must be a multiple of fps")
    usable = usable_frames(n_frames, n_samples, samples_per_frame)
    windows = window_count(usable, settings["frames_per_window"])
    short = is_short(windows, settings["vshift"])
    return Common(usable, windows, short, n_frames != n_samples // samples_per_frame)


def compare(lips: Array, speech: Array, windows: int, settings: Mapping[str, Any]) -> Sync:
    """The search over the first ``windows`` embeddings of both streams; raises ``Unscorable("nan")``."""
    distances = shifted_distances(lips[:windows], speech[:windows], settings["vshift"], settings["pairwise_eps"])
    if not np.isfinite(distances).all():
        raise Unscorable("nan", "SyncNet's embeddings are not finite")
    return search(distances)
