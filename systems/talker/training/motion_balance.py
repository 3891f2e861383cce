"""Frames by the viseme that the mouth is nearest to, so that rare mouths are drawn as often as usual ones.

A third of the demo corpus' frames are silent, and in one of fifty the lip is tucked in: drawn as they come, f and v are
not learned within a thousand steps.
"""

from __future__ import annotations

import numpy as np

from bench.datasets.demo.visemes import STATE_FIELDS, VISEMES
from bench.systems.talker.motion_model import MOUTH_STATES
from bench.systems.talker.training.motion_data import MotionClips, Shot

_LEAST = 1e-3  # added to the deviations of the states
_OFTEN = {"FV": 3.0}  # times as often as another viseme: a tucked lip is a matter of a pixel or two
_ORDER = [STATE_FIELDS.index(name) for name in MOUTH_STATES]


class Visemes:
    """The kept frames of ``clips``. Distances are in deviations of the states over these frames."""

    def __init__(self, clips: MotionClips) -> None:
        self._clips = clips
        mouths = [clips.mouths(index) for index in range(len(clips))]
        shots = np.array([(clip, place) for clip, found in enumerate(mouths) for place in range(len(found))])
        every = np.concatenate(mouths)
        states = np.array([viseme.state() for viseme in VISEMES.values()], np.float32)[:, _ORDER]
        apart = (every[:, None] - states) / (every.std(0) + _LEAST)  # (N, V, 6)
        nearest = np.square(apart).sum(2).argmin(1)
        names = [name for number, name in enumerate(VISEMES) if bool((nearest == number).any())]
        self.shots = {name: shots[nearest == list(VISEMES).index(name)] for name in names}
        chances = np.array([_OFTEN.get(name, 1.0) for name in names])
        self._chances = chances / chances.sum()

    def draw(self, random: np.random.Generator) -> Shot:
        """A frame of a usable clip."""
        self._clips.draw(random)  # says so where no clip is usable
        names = list(self.shots)
        while True:
            found = self.shots[names[int(random.choice(len(names), p=self._chances))]]
            clip, place = (int(number) for number in found[int(random.integers(len(found)))])
            if self._clips.usable(clip):
                return Shot(clip, place)
