"""How good motion codes and faces are on held-out clips: the codes' reading, and right codes against other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from bench.systems.talker.motion_model import COORDINATES, MOUTH_STATES, MotionModel
from bench.systems.talker.training import motion_losses
from bench.systems.talker.training.motion_data import MotionClips, Shot

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRIALS = 4  # of a clip
_AT_ONCE = 16
_HALF = 0.5  # differences from -1…1 to 0…1


class Trials(NamedTuple):
    """Frames of equal count: of a clip its first and another one; and one of another clip of the speaker."""

    sources: list[Shot]
    driving: list[Shot]
    others: list[Shot]


def trials(clips: MotionClips, seed: int) -> Trials:
    """Fixed ones, some for each clip whose speaker has another clip."""
    random = np.random.default_rng(seed)
    usable = [index for index in range(len(clips)) if clips.usable(index)]
    made = Trials([], [], [])
    for index in usable:
        alike = [other for other in usable if other != index and clips.speaker(other) == clips.speaker(index)]
        for _ in range(_TRIALS if alike else 0):
            other = int(random.choice(alike))
            made.sources.append(Shot(index, 0))
            made.driving.append(Shot(index, int(random.integers(1, clips.count(index)))))
            made.others.append(Shot(other, int(random.integers(clips.count(other)))))
    return made


@torch.no_grad()
def redrawn(model: MotionModel, clips: MotionClips, which: Trials) -> dict[str, float]:
    """Mean absolute difference to the driving picture, black 0 and white 1, of the whole picture and the mouth's box:
    with its own codes, those of the other frame, and of the source as it is; in how many trials the own codes win; and
    :func:`agreement` of the driving pictures' codes."""
    rows: list[torch.Tensor] = []
    read: list[torch.Tensor] = []
    device = model.motion_stats.mean.device
    for first in range(0, len(which.sources), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        source, driving, other = (clips.seen(shots[part]).pictures.to(device) for shots in which)
        z, maps = model.generator.enc.enc_2r(source)
        codes = [model.generator.get_alpha(one) for one in (driving, other)]
        read.append(model.head(codes[0]))
        right, wrong = (model.generator.move(z, maps, code) for code in codes)
        rows.append(torch.stack([_apart(made.clamp(-1, 1), driving) for made in (right, wrong, source)], 1))
    found = torch.cat(rows)  # (N, 3, 2): how made; mouth and picture
    mouth, picture = _HALF * found.mean(0)[:, 0], _HALF * found.mean(0)[:, 1]
    told = {"mouth": mouth[0], "mouth_other": mouth[1], "mouth_copied": mouth[2], "picture": picture[0]}
    told |= {"picture_copied": picture[2], "wins": (found[:, 0, 0] < found[:, 1, 0]).float().mean()}
    agreed = agreement(torch.cat(read), clips.seen(which.driving).mouth)
    return {name: float(value) for name, value in told.items()} | agreed


def _apart(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """(B, 2): of the mouth's box, of the picture."""
    error = (made - true).abs()
    return torch.stack([motion_losses.mouth_box(error).mean((1, 2, 3)), error.mean((1, 2, 3))], 1)


def agreement(read: torch.Tensor, mouths: torch.Tensor) -> dict[str, float]:
    """Correlations of what the head reads (N, 142) with the true mouth states (N, 6)."""
    states: NDArray[np.float64] = read[:, COORDINATES:].double().cpu().numpy()
    truth: NDArray[np.float64] = mouths.double().cpu().numpy()
    found = {}
    for column, name in enumerate(MOUTH_STATES):
        one, other = states[:, column] - states[:, column].mean(), truth[:, column] - truth[:, column].mean()
        size = float(np.sqrt((one**2).sum() * (other**2).sum()))
        found[f"r_{name}"] = float((one * other).sum()) / size if size > 0 else 0.0
    return found
