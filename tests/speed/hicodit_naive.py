"""The plain sampling loop that ``bench.systems.hicodit.sampling`` is held against: equal tokens, more work.

One clip after another; at each step one whole forward pass for each setting of the conditions, one after another;
conditions again at each step; logits of every position.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.systems.hicodit.conditions import Conditions
from bench.systems.hicodit.guidance import BRANCHES
from bench.systems.hicodit.model import HiCoDiT
from bench.systems.hicodit.sampling import Job, Sampler
from bench.systems.hicodit.schedule import revealed_count, step_span
from bench.systems.hicodit.score_entropy import log_scores
from bench.systems.hicodit.sizes import Sizes
from bench.systems.hicodit.stages import Stage
from bench.systems.hicodit.steps import (
    analytic_step,
    confident_codes,
    euler_step,
    final_step,
    reveal_best,
    sharpened,
    tau_step,
)


@torch.inference_mode()
def naive_sample(model: HiCoDiT, jobs: Sequence[Job], sampler: Sampler) -> list[Tensor]:
    """Tokens ``(levels, L)`` of each job."""
    return [clip_tokens(model, job, sampler) for job in jobs]


def clip_tokens(model: HiCoDiT, job: Job, sampler: Sampler) -> Tensor:
    """Tokens of one clip."""
    sizes = model.sizes
    tokens = torch.full((sizes.levels, job.length), sizes.mask) if job.fixed is None else job.fixed.clone()
    for stage in sampler.stages(sizes.levels, sizes.low_levels):
        for turn in range(len(stage.times)):
            scores = guided(model, job, sampler, stage, turn, tokens)
            part = stage.part
            tokens[part] = stepped(tokens[part], scores[part], job, sampler, stage, turn)
    return tokens


def guided(model: HiCoDiT, job: Job, sampler: Sampler, stage: Stage, turn: int, tokens: Tensor) -> Tensor:
    """Guided log scores ``(levels, L, K)`` of all positions."""
    sizes, scores = model.sizes, {}
    times = (stage.low_times[turn], stage.high_times[turn])
    steps = sizes.emotion_steps(job.length)
    for name in sampler.guidance.branches():
        scores[name] = model(
            tokens[None],
            *(torch.tensor([time]) for time in times),
            job.conditions.lip[None],
            job.conditions.identity[None],
            job.conditions.emotion[None, :steps],
            torch.tensor([BRANCHES[name]]),
        )[0]
    return torch.cat([_level(model, scores, sampler, times, level) for level in range(sizes.levels)])


def _level(
    model: HiCoDiT, scores: dict[str, Tensor], sampler: Sampler, times: tuple[float, float], level: int
) -> Tensor:
    sizes = model.sizes
    time = times[0] if level < sizes.low_levels else times[1]
    low = level in model.low_range
    of_level = {name: log_scores(z[level : level + 1], time, sizes.parameterisation) for name, z in scores.items()}
    if low and "emotion" in of_level:  # the low levels do not see it
        del of_level["emotion"]
    if low and "none" not in of_level:
        of_level["none"] = torch.zeros_like(of_level["all"])
    return sampler.guidance.combine(of_level, time, low=low)


def stepped(x: Tensor, scores: Tensor, job: Job, sampler: Sampler, stage: Stage, turn: int) -> Tensor:
    """Tokens ``(n, L)`` of a stage's levels after one step."""
    (levels, length), codes = x.shape, scores.shape[-1]
    whole, final = sampler.method in ("euler", "analytic"), turn == stage.steps
    u_code = torch.rand(levels, length, codes + (1 if whole and not final else 0), generator=job.generator)
    sharp = sharpened(scores, sampler.temperature, sampler.top_p)
    time, span = stage.times[turn], step_span(stage.steps)
    if final:
        return final_step(x, sharp, u_code)
    if whole:
        step = euler_step if sampler.method == "euler" else analytic_step
        return step(x, scores, u_code, time, span)
    u_choice = torch.rand(levels, length, generator=job.generator)
    if sampler.method == "tau":
        return tau_step(x, sharp, u_code, u_choice, time, span)
    noise = sampler.kappa * (1 - (turn + 1) / stage.steps)
    chosen, confidence = confident_codes(sharp, u_code, u_choice, noise)
    return reveal_best(x, codes, chosen, confidence, revealed_count(length, turn, stage.steps))


def example_jobs(sizes: Sizes, lengths: Sequence[int], seed: int = 0) -> list[Job]:
    """Clips of so many codec frames with random conditions, the same at each call."""
    return [_example(sizes, length, 1000 * seed + number) for number, length in enumerate(lengths)]


def _example(sizes: Sizes, length: int, seed: int) -> Job:
    dice = torch.Generator().manual_seed(seed)
    conditions = Conditions(
        torch.randn(-(-length // 2), sizes.lip, generator=dice),
        F.normalize(torch.randn(sizes.voice, generator=dice), dim=0),
        torch.randint(sizes.classes, (sizes.emotion_steps(length),), generator=dice),
    )
    return Job(conditions, length, torch.Generator().manual_seed(seed))
