"""Sampling: conditions of clips to tokens of every level, from numbers drawn by one generator per clip.

What a clip becomes depends on its conditions, its generator and the settings alone: not on the batch, its order or the
padding (but for rounding inside the network). Levers that leave the numbers equal are always on: branches and clips in
one batch, conditions and times computed once, heads and last blocks at wanted frames only, the low stack frozen while
the high levels are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from bench.errors import UsageError, did_you_mean
from bench.systems.hicodit.batch import Batch
from bench.systems.hicodit.cache import Prepared
from bench.systems.hicodit.guidance import PLAIN, Guidance, paper_guidance
from bench.systems.hicodit.schedule import FIRST_TIME, LAST_TIME, confidence_time, grid_time
from bench.systems.hicodit.stages import Stage, StageRun

if TYPE_CHECKING:
    from bench.systems.hicodit.conditions import Conditions
    from bench.systems.hicodit.model import HiCoDiT

Method = Literal["euler", "analytic", "tau", "confidence"]
METHODS: tuple[Method, ...] = ("euler", "analytic", "tau", "confidence")
#: Presets: the paper's sampler, the same distribution in half the steps, and two of few steps.
PRESETS: tuple[str, ...] = ("paper", "default", "fast", "tiny")


@dataclass(frozen=True)
class Sampler:
    """How tokens are drawn.

    Attributes:
        method: what one step does (`steps`).
        steps: steps; of the low levels where ``high_steps`` is given.
        high_steps: given: the low levels are finished first, then the high ones in so many steps. None: all together.
        kappa: noise of the confidence scores.
        temperature: divides the codes' log probabilities before a draw.
        top_p: smallest share of the probability that a draw chooses from.
        guidance: scales of the conditions.
        frames_per_batch: codec frames times branches that run together.
    """

    method: Method = "tau"
    steps: int = 32
    high_steps: int | None = None
    kappa: float = 4.5
    temperature: float = 1.0
    top_p: float = 1.0
    guidance: Guidance = PLAIN
    frames_per_batch: int = 8192

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"no sampling method {self.method!r}{did_you_mean(self.method, METHODS)}")
        if self.steps < 1 or (self.high_steps is not None and self.high_steps < 1):
            raise UsageError("a sampler needs at least one step for each group of levels")
        if self.temperature <= 0 or not 0 < self.top_p <= 1 or self.kappa < 0:
            raise UsageError("temperature must be above 0, top_p in (0, 1], kappa at least 0")

    @classmethod
    def preset(cls, name: str, dataset: str | None = None) -> Sampler:
        """The settings called ``name``.

        Args:
            name: one of ``PRESETS``.
            dataset: whose scales of the paper to take, where the preset has them.
        """
        match name:
            case "paper":
                return cls("euler", 64, guidance=paper_guidance(dataset))
            case "default":
                return cls("tau", 32, guidance=paper_guidance(dataset))
            case "fast":
                return cls("confidence", 12, 6, guidance=Guidance(w_all=2.0))
            case "tiny":
                return cls("confidence", 12, 6)
        raise UsageError(f"no sampler preset {name!r}{did_you_mean(name, PRESETS)}")

    def times(self, steps: int) -> tuple[float, ...]:
        """Times of the network's passes in a stage of so many steps; the last is the final draw, if there is one."""
        if self.method == "confidence":
            return tuple(confidence_time(step, steps) for step in range(steps))
        return (*(grid_time(step, steps) for step in range(steps)), LAST_TIME)

    def stages(self, levels: int, low_levels: int) -> tuple[Stage, ...]:
        """The stages for a codec of so many levels."""
        times = self.times(self.steps)
        if self.high_steps is None:
            return (Stage(range(levels), self.steps, times, times),)
        late = self.times(self.high_steps)
        return (
            Stage(range(low_levels), self.steps, times, (1.0,) * len(times)),
            Stage(range(low_levels, levels), self.high_steps, (FIRST_TIME,) * len(late), late),
        )


@dataclass(frozen=True)
class Job:
    """One clip to sample.

    Attributes:
        conditions: of the clip.
        length: codec frames L.
        generator: CPU generator of the clip (`clip_generator`); it is advanced.
        fixed: tokens that are given, ``(levels, L)`` int64 with the mask where tokens are wanted; None: none.
    """

    conditions: Conditions
    length: int
    generator: torch.Generator
    fixed: Tensor | None = None


def clip_generator(seed: int, clip_id: str) -> torch.Generator:
    """The generator of a clip: its seed is ``seed`` mixed with the first 8 bytes of the id's SHA-256."""
    mixed = seed ^ int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "little")
    return torch.Generator().manual_seed(mixed % 2**63)


@torch.inference_mode()
def sample(model: HiCoDiT, jobs: Sequence[Job], sampler: Sampler) -> list[Tensor]:
    """Tokens ``(levels, L)`` int64 of each job, in order, on the CPU.

    Args:
        model: in evaluation mode, on any device.
        jobs: clips of any lengths.
        sampler: settings.

    Raises:
        ValueError: a clip without frames, or with fewer emotion steps than its length has.
    """
    found: dict[int, Tensor] = {}
    for places in _groups(jobs, sampler):
        for place, tokens in zip(places, _sample_batch(model, [jobs[i] for i in places], sampler), strict=True):
            found[place] = tokens
    return [found[place] for place in range(len(jobs))]


def _groups(jobs: Sequence[Job], sampler: Sampler) -> list[list[int]]:
    """Places of jobs that run together: of similar length, within the budget of frames."""
    branches = len(sampler.guidance.branches())
    groups: list[list[int]] = []
    for place in sorted(range(len(jobs)), key=lambda i: -jobs[i].length):
        if groups and (len(groups[-1]) + 1) * jobs[groups[-1][0]].length * branches <= sampler.frames_per_batch:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _sample_batch(model: HiCoDiT, jobs: Sequence[Job], sampler: Sampler) -> list[Tensor]:
    """Tokens of jobs that run together."""
    sizes = model.sizes
    device = model.lip.null.device
    batch = Batch.of([job.conditions for job in jobs], [job.length for job in jobs], sizes, device)
    tokens = torch.zeros(len(jobs), sizes.levels, max(job.length for job in jobs), dtype=torch.int64)
    for row, job in zip(tokens, jobs, strict=True):
        row[:, : job.length] = sizes.mask if job.fixed is None else job.fixed
    generators = [job.generator for job in jobs]
    for stage in sampler.stages(sizes.levels, sizes.low_levels):
        prepared = Prepared(model, batch, sampler.guidance, stage.levels, stage.low_times, stage.high_times)
        StageRun(prepared, tokens, generators, stage, sampler).run()
    return [row[:, : job.length].clone() for row, job in zip(tokens, jobs, strict=True)]
