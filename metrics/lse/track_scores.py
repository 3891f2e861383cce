"""The score of a clip from its face tracks (metrics.md 4.2).

Each track is scored like a clip of its own. The clip's value is the mean over tracks; sums and count are kept,
so that a set's value is the mean over all tracks of all clips, as the reference script's lines are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Score, Unscorable
from bench.metrics.lse.compare import Common, common, compare
from bench.metrics.lse.embed import embed_audio, embed_lips

if TYPE_CHECKING:
    from bench.metrics.lse.offsets import Sync
    from bench.metrics.lse.pipeline import TrackCrop
    from bench.metrics.lse.syncnet_net import Fast
    from bench.records import Array, Frames

_PIECE = 32  # frames turned from RGB to BGR at a time


@dataclass(frozen=True, slots=True)
class ScoredTrack:
    """A track's first frame, what its two streams have in common, and how they agree."""

    first: int
    length: Common
    sync: Sync

    def row(self) -> list[float]:
        """First frame, frames, windows, LSE-C, LSE-D, offset."""
        found, length = self.sync, self.length
        return [self.first, length.n_frames, length.n_windows, found.lse_c, found.lse_d, found.offset]


def track_lips(net: Fast, tracks: Sequence[TrackCrop], settings: Mapping[str, Any]) -> Mapping[str, Array]:
    """``lips`` (sum of n_i, E), the embeddings of all tracks one after the other, and ``counts`` n_i."""
    parts = [embed_lips(net, _bgr(track.frames), settings) for track in tracks]  # in order: one walk over the video
    return {"lips": np.concatenate(parts), "counts": np.array([len(part) for part in parts], np.int64)}


def _bgr(frames: Frames) -> Iterator[Frames]:
    for start in range(0, len(frames), _PIECE):
        yield frames[start : start + _PIECE, :, :, ::-1]


def score_tracks(
    net: Fast, tracks: Sequence[TrackCrop], lips: Mapping[str, Array], settings: Mapping[str, Any]
) -> Score:
    """The clip's score of ``lips`` as :func:`track_lips` returns them.

    A track with too little sound for a window is left out and counted; no other track: ``too_short``.
    ``arrays["tracks"]`` keeps a row (:meth:`ScoredTrack.row`) per scored track.
    """
    ends = np.cumsum(lips["counts"])
    scored = []
    for track, seen in zip(tracks, np.split(lips["lips"], ends[:-1]), strict=True):
        length = common(track.n_frames, track.audio.size, settings)
        if length.n_windows > 0:
            speech = embed_audio(net, track.audio, settings)
            scored.append(ScoredTrack(track.first, length, compare(seen, speech, length.n_windows, settings)))
    if not scored:
        raise Unscorable("too_short", f"{len(tracks)} tracks, none with sound of at least a window")
    return _summary(scored, tracks)


def _summary(scored: Sequence[ScoredTrack], tracks: Sequence[TrackCrop]) -> Score:
    """Means and sums over scored tracks; what the tracker noted adds up over all."""
    sums = {
        "lse_c": fsum(track.sync.lse_c for track in scored),
        "lse_d": fsum(track.sync.lse_d for track in scored),
    }
    parts = {
        **{f"{name}_sum": total for name, total in sums.items()},
        "n_tracks": float(len(scored)),
        "n_tracks_too_short": float(len(tracks) - len(scored)),
        "n_frames": float(sum(track.length.n_frames for track in scored)),
        "n_windows": float(sum(track.length.n_windows for track in scored)),
        "short_for_offsets": float(any(track.length.short_for_offsets for track in scored)),
    }
    for name in sorted({name for track in tracks for name in track.notes}):
        parts[name] = fsum(track.notes.get(name, 0.0) for track in tracks)
    values = {name: total / len(scored) for name, total in sums.items()}
    return Score(values, parts, arrays={"tracks": np.array([track.row() for track in scored], np.float64)})
