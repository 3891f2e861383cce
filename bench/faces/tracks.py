"""Which face of a video is meant: the most certain one of each frame, or one of the tracks, the largest first.

A track goes on in a frame with the detection that overlaps its last box most; how long it was away does not
matter. Detections are arrays (n, 5) of x1, y1, x2, y2 in pixels and score, by falling score (tfg.md 1.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.faces.boxes import Boxes, Pads, padded, smoothed, whole

Detections = Sequence[NDArray[Any]]

#: The least share of their union that a face's boxes have in common from one frame to the next.
LEAST_OVERLAP = 0.3
#: Gaps of at most so many frames are filled by straight lines between the boxes around them.
LONGEST_GAP = 5


@dataclass
class Track:
    """One face: the frames that it was seen in, and its boxes (x1, y1, x2, y2) there."""

    frames: list[int] = field(default_factory=list)
    boxes: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def area(self) -> float:
        """The sum of its boxes' areas, in pixels."""
        return float(sum((box[2] - box[0]) * (box[3] - box[1]) for box in self.boxes))


@dataclass(frozen=True)
class Placed:
    """Where the face is in each of n frames: ``boxes`` int64 (n, 4); rows not ``present`` (n,) mean nothing."""

    boxes: Boxes
    present: NDArray[np.bool_]


def place(found: Detections, size: tuple[int, int], pads: Pads, face: int | None = None, smooth: bool = True) -> Placed:
    """The boxes of a video's frames of ``size`` (height, width), padded and smoothed stretch by stretch.

    ``face``: number of a track, the largest is 0; ``None``: the most certain face of each frame.

    Raises:
        Unscorable: ``no_face``. With ``face`` given only where there is no such track at all.
    """
    rough, present = _best(found) if face is None else _of_track(found, face)
    boxes = np.zeros((len(found), 4), np.int64)
    for stretch in stretches(present):
        grown = padded(whole(rough[stretch]), pads, size)
        boxes[stretch] = smoothed(grown) if smooth else grown
    empty = present & ((boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1]))
    if empty.any() and face is None:
        raise Unscorable("no_face", f"frame {int(empty.argmax())}: the face lies outside the picture")
    return Placed(boxes, present & ~empty)


def tracks(found: Detections) -> list[Track]:
    """All tracks of a video, the largest first."""
    known: list[Track] = []
    for frame, faces in enumerate(found):
        boxes = np.asarray(faces, np.float64)[:, :4]
        free = _continued(known, frame, boxes)
        known += [Track([frame], [boxes[place]]) for place in free]
    return sorted(known, key=lambda track: -track.area)


def _continued(known: list[Track], frame: int, boxes: NDArray[np.float64]) -> list[int]:
    """Give each track its box, the greatest overlap first; returns the places of boxes that belong to none."""
    pairs = [(_overlap(track.boxes[-1], box), t, b) for t, track in enumerate(known) for b, box in enumerate(boxes)]
    taken_tracks: set[int] = set()
    taken: set[int] = set()
    for overlap, t, b in sorted(pairs, key=lambda pair: -pair[0]):
        if overlap >= LEAST_OVERLAP and t not in taken_tracks and b not in taken:
            known[t].frames.append(frame)
            known[t].boxes.append(boxes[b])
            taken_tracks.add(t)
            taken.add(b)
    return [b for b in range(len(boxes)) if b not in taken]


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union; 0 of boxes without area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / union) if union > 0 else 0.0


def _best(found: Detections) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    missing = [frame for frame, faces in enumerate(found) if len(faces) == 0]
    if missing:
        raise Unscorable("no_face", f"{len(missing)} of {len(found)} frames without a face, frame {missing[0]} first")
    return np.array([faces[0][:4] for faces in found], np.float64).reshape(-1, 4), np.ones(len(found), bool)


def _of_track(found: Detections, face: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Boxes (n, 4) of a track, short gaps filled, and where there are any."""
    known = tracks(found)
    if face >= len(known):
        raise Unscorable("no_face", f"no face {face}: the video has {len(known)} tracks")
    track = known[face]
    every = np.arange(len(found))
    boxes = np.stack([np.interp(every, track.frames, edge) for edge in np.array(track.boxes).T], axis=1)
    present = np.zeros(len(found), bool)
    present[track.frames] = True
    for before, after in zip(track.frames[:-1], track.frames[1:], strict=True):
        present[before:after] |= after - before - 1 <= LONGEST_GAP
    return boxes, present


def stretches(present: NDArray[np.bool_]) -> list[slice]:
    """The runs of frames with a face."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    return [slice(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]
