"""Joining the boxes of single frames to face tracks (metrics.md 4.5).

Source: ``joonson/syncnet_python: run_pipeline.py`` (``track_shot``). Pass after pass over the boxes of a
shot, each pass takes one track out of them. A box that is taken is removed from the list that is being
walked over, so the box behind it is passed over until the next pass; that is kept, because it decides which box
goes to which track.

**Detection on every k-th frame.** A shot is looked at on its first frame, every k-th one after it, and its
last (:func:`looked_at`). Boxes join by the same rule, overlap with the track's last box and a gap of
no more than ``num_failed_det`` frames, and all frames between two boxes get linearly interpolated
ones, as missed detections do. Where two joined boxes are at most k frames apart, every frame between
them counts as a detection; of a longer gap only the box at its end counts. With k = 1 this is the rule of the
source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.lse.s3fd_declare import number_in

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True, slots=True)
class TrackRules:
    """The settings of a protocol's ``track``, and ``step``: every how many-th frame was looked at.

    A track has more than ``min_track`` detections, its mean larger side is above ``min_face_size`` px,
    no gap is longer than ``num_failed_det`` frames, and boxes overlap by more than ``iou``.
    ``keep_duplicates``: see :class:`Track`; for comparison with the source alone.
    """

    iou: float
    min_track: float
    num_failed_det: int
    min_face_size: float
    step: int = 1
    keep_duplicates: bool = False

    @classmethod
    def of(cls, track: Mapping[str, Any], *, step: int = 1, keep_duplicates: bool = False) -> TrackRules:
        """Read from the ``track`` of a protocol's parameters, where two settings are written in words."""
        return cls(
            float(track["iou"]),
            number_in(track["min_track"]),
            int(track["num_failed_det"]),
            number_in(track["min_face_size"]),
            step,
            keep_duplicates,
        )


@dataclass(frozen=True, slots=True)
class Track:
    """A face over ``frames`` (T,), without gaps, in ``boxes`` (T, 4) x1, y1, x2, y2 in pixels.

    ``detections``: how many detections it counts. ``duplicates``: boxes of a frame that the track already had a
    box of. They are taken and dropped; the source keeps them (``keep_duplicates``), and
    interpolates with two boxes at one place.
    """

    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    detections: int
    duplicates: int

    @property
    def larger_side(self) -> float:
        """The greater of mean width and mean height, pixels."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return float(max(np.mean(sides[:, 0]), np.mean(sides[:, 1])))


@dataclass(slots=True)
class _Taken:
    """What one pass has taken so far."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    detections: int = 0
    duplicates: int = 0

    def take(self, frame: int, box: Box, rules: TrackRules) -> None:
        gap = frame - self.frames[-1] if self.frames else 1
        if gap == 0:
            self.duplicates += 1
            if not rules.keep_duplicates:
                return
        self.detections += gap if 1 < gap <= rules.step else 1
        self.frames.append(frame)
        self.boxes.append(box)


def looked_at(scene: tuple[int, int], step: int) -> list[int]:
    """The frames of a shot (first, frame after the last) that the detector sees."""
    first, end = scene
    frames = list(range(first, end, step))
    return frames if frames[-1] == end - 1 else [*frames, end - 1]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes in pixels; 0 where neither has an area."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def face_tracks(found: Sequence[tuple[int, NDArray[np.float64]]], rules: TrackRules) -> list[Track]:
    """The tracks of one shot, in the order in which the passes find them.

    ``found``: (frame, boxes (n, 4 or more)) in order of frames; frames without boxes may be left out.
    """
    lists = [(frame, [_box(row) for row in boxes]) for frame, boxes in found if len(boxes)]
    tracks: list[Track] = []
    while lists:
        taken = _one_pass(lists, rules)
        lists = [(frame, boxes) for frame, boxes in lists if boxes]
        if taken.detections > rules.min_track:
            track = _filled(taken)
            if track.larger_side > rules.min_face_size:
                tracks.append(track)
    return tracks


def _box(row: NDArray[np.float64]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in row[:4])
    return x1, y1, x2, y2


def _one_pass(lists: Sequence[tuple[int, list[Box]]], rules: TrackRules) -> _Taken:
    """Take one track out of the lists."""
    taken = _Taken()
    for frame, boxes in lists:
        if taken.frames and frame - taken.frames[-1] > rules.num_failed_det:
            return taken  # so are all frames after it
        place = 0
        while place < len(boxes):
            box = boxes[place]
            if not taken.frames or iou(box, taken.boxes[-1]) > rules.iou:
                taken.take(frame, box, rules)
                del boxes[place]  # the next box has moved to this place, and is passed over
            place += 1
    return taken


def _filled(taken: _Taken) -> Track:
    """The track over all frames from its first to its last, gaps filled linearly."""
    frames = np.arange(taken.frames[0], taken.frames[-1] + 1, dtype=np.int64)
    corners = np.array(taken.boxes, np.float64)
    boxes = np.stack([np.interp(frames, taken.frames, corners[:, k]) for k in range(4)], axis=1)
    return Track(frames, boxes, taken.detections, taken.duplicates)
