"""Speech of records: tokens as the system draws them, and the sound that the codec makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.systems.hicodit.conditions import Conditions
from bench.systems.hicodit.joined import Joined
from bench.systems.hicodit.sampling import Job, Sampler, clip_generator, sample
from bench.systems.hicodit.training.data import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.systems.hicodit.codec import Codec

#: What is heard during training: few steps, one branch.
QUICK = Sampler.preset("tiny")


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be said: by clip ``name``, which seeds the draws, after ``item``, whose tokens are not looked at."""

    name: str
    item: Item


@torch.inference_mode()
def spoken(joined: Joined, lines: Sequence[Line], sampler: Sampler = QUICK, seed: int = 0) -> list[Tensor]:
    """Tokens (levels, L) of each line on the CPU, the voice guessed from the face; ``joined`` in evaluation mode."""
    device = joined.dit.lip.null.device
    jobs = []
    for line in lines:
        own = line.item
        conditions = Conditions(
            lip=joined.lip(own.lip[None].to(device))[0].float().cpu(),
            identity=joined.dit.visual_identity(own.face[None].to(device))[0].cpu(),
            emotion=own.emotion,
        )
        jobs.append(Job(conditions, own.tokens.shape[1], clip_generator(seed, line.name)))
    return sample(joined.dit, jobs, sampler)


def sound(codec: Codec, tokens: Tensor, device: torch.device | str = "cpu") -> NDArray[np.float32]:
    """The waveform (hop L,) of tokens (levels, L), at the codec's rate."""
    return np.asarray(codec.decode(tokens.to(device)).cpu().numpy(), np.float32)
