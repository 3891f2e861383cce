"""What the head of the motion encoder reads out of a code: where the landmarks are, and the state of the mouth."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.systems.talker.motion_model import COORDINATES, MOUTH_STATES, POINTS, READ
from bench.systems.talker.training.motion_data import MotionClips, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOUTH = slice(48, POINTS)  # of the landmarks
_LEAST = 0.003  # added to the deviations of coordinates, in units of half the face
_STATE_LEAST = 1e-3
_MOUTH_WEIGHT = 2.0
#: Of the states, beside 1 for a coordinate. With 6 for each, the lips' width is read with a correlation of 0.63 and
#: their tuck with 0.08: what f, v, w and the round vowels are known by.
_STATE_WEIGHTS = {"gap": 20.0, "width": 40.0, "jaw": 20.0, "tuck": 40.0, "thick": 20.0, "teeth": 20.0}


class Targets:
    """Standardised truth (B, 142): 136 coordinates less the speaker's mean, then the states of the mouth.

    Means and deviations are those of all frames of ``clips``.
    """

    def __init__(self, clips: MotionClips) -> None:
        points: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
        for index, truth in enumerate(clips.truths):
            points[clips.speaker(index)].append(truth.points.reshape(-1, COORDINATES))
        self._means = {name: _mean(np.concatenate(found)) for name, found in points.items()}
        moved = np.concatenate([one - self._means[name] for name, found in points.items() for one in found])
        mouths = np.concatenate([truth.mouth for truth in clips.truths])
        self._scale = torch.from_numpy(moved.std(0) + _LEAST).float()
        self._mouth_mean = torch.from_numpy(mouths.mean(0)).float()
        self._mouth_scale = torch.from_numpy(mouths.std(0) + _STATE_LEAST).float()

    def wanted(self, seen: Seen, clips: MotionClips, of: Sequence[int]) -> torch.Tensor:
        """The targets of frames of the clips ``of``; a speaker who was not among the training clips has the mean of
        that clip."""
        means = torch.stack([torch.from_numpy(self._usual(clips, index)) for index in of])
        coordinates = (seen.points.flatten(1) - means) / self._scale
        return torch.cat([coordinates, (seen.mouth - self._mouth_mean) / self._mouth_scale], 1)

    def _usual(self, clips: MotionClips, index: int) -> NDArray[np.float32]:
        known = self._means.get(clips.speaker(index))
        return known if known is not None else _mean(clips.truths[index].points.reshape(-1, COORDINATES))


def target_weights() -> torch.Tensor:
    """(142,), of mean 1: the mouth counts more."""
    weights = torch.ones(READ)
    weights[:COORDINATES].view(POINTS, 2)[MOUTH] = _MOUTH_WEIGHT
    weights[COORDINATES:] = torch.tensor([_STATE_WEIGHTS[name] for name in MOUTH_STATES])
    return weights / weights.mean()


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows.mean(0), np.float32)
