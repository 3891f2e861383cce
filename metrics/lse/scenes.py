"""Where a video cuts to another shot (metrics.md 4.2, step 3).

The content detector of PySceneDetect 0.5.1 as ``joonson/syncnet_python: run_pipeline.py`` calls it: pictures
are thinned out by their width, turned into OpenCV's HSV, and compared with the one before. Frames are
taken in as they come; nothing but one thinned picture is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SceneRules:
    """The settings of a protocol's ``scenes``. ``steps``: (least width, every how many-th pixel), by width."""

    threshold: float
    min_scene_len: int
    steps: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, scenes: Mapping[str, Any]) -> SceneRules:
        """Read from the ``scenes`` of a protocol's parameters."""
        steps = sorted((int(width), int(step)) for width, step in scenes["decimate_by_width"].items())
        return cls(float(scenes["threshold"]), int(scenes["min_scene_len"]), tuple(steps))

    def step(self, width: int) -> int:
        """Every how many-th row and column of a picture of ``width`` is looked at."""
        return max((step for least, step in self.steps if width >= least), default=1)


class SceneCuts:
    """Feed it the frames in order; ``values`` and ``cuts`` grow.

    ``values``: per frame the mean over hue, saturation and value of the mean absolute difference to
    the frame before; 0 for the first. ``cuts``: frames that begin a new shot.
    """

    def __init__(self, rules: SceneRules) -> None:
        self._rules = rules
        self._before: NDArray[np.uint8] | None = None
        self.values: list[float] = []
        self.cuts: list[int] = []

    def feed(self, frames: NDArray[np.uint8]) -> None:
        """Take in further frames, uint8 RGB (T, H, W, 3)."""
        step = self._rules.step(frames.shape[2])
        for frame in frames:
            thinned = np.ascontiguousarray(frame[::step, ::step])
            picture: NDArray[np.uint8] = np.asarray(cv2.cvtColor(thinned, cv2.COLOR_RGB2HSV), dtype=np.uint8)
            value = 0.0 if self._before is None else _difference(self._before, picture)
            self._before = picture
            self._judge(value)

    def _judge(self, value: float) -> None:
        index = len(self.values)
        self.values.append(value)
        far = not self.cuts or index - self.cuts[-1] >= self._rules.min_scene_len
        if value >= self._rules.threshold and far:
            self.cuts.append(index)

    def scenes(self, least: int) -> list[tuple[int, int]]:
        """The shots so far as (first frame, frame after the last) that have at least ``least`` frames."""
        edges = [0, *self.cuts, len(self.values)]
        return [(a, b) for a, b in pairwise(edges) if b - a >= max(least, 1)]


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean of the three channels' mean absolute differences; sums are of whole numbers, so exact."""
    sums = cv2.absdiff(a, b).reshape(-1, 3).sum(axis=0, dtype=np.int64)
    pixels = float(a.shape[0] * a.shape[1])
    return float((sums / pixels).sum() / 3.0)
