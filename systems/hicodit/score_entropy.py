"""Training of the scores: corruption, denoising score entropy, and what a training step draws (hicodit.md C.3-C.5).

Score entropy after arXiv 2310.16834 and ``louaaron/Score-Entropy-Discrete-Diffusion: graph_lib.py, losses.py``; the
normalised form after arXiv 2406.03736. Tokens are ``(B, levels, L)``; K, the number of codes, is the mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.systems.hicodit.schedule import FIRST_TIME, SCHEDULE, LogLinear, over_codes

#: How logits become log scores: "free" as the paper, "normalized" with the known time factor outside the network.
Form = Literal["free", "normalized"]


@dataclass(frozen=True)
class LossSettings:
    """How losses of positions become one number.

    Attributes:
        form: parameterisation of the scores.
        floor: the loss, which grows as 1 / t, is held back below this time by the factor ``t / max(t, floor)``.
        level_weights: factor of each level's loss; () for 1 everywhere.
    """

    form: Form = "normalized"
    floor: float = 0.0
    level_weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class ScoreLoss:
    """The loss of a batch, and what one wants to see of it.

    Attributes:
        total: weighted sum over levels, mean over the batch ``()``; the only part with a gradient.
        levels: loss of each level without its weight, mean over the batch ``(levels,)``.
        cross_entropy: of the masked tokens in nats, summed, without factors of time ``(levels,)``.
        masked: number of these tokens ``(levels,)``.
    """

    total: Tensor
    levels: Tensor
    cross_entropy: Tensor
    masked: Tensor


@dataclass(frozen=True)
class Times:
    """Times ``(B,)`` of the low and the high levels, low <= high."""

    low: Tensor
    high: Tensor

    def by_level(self, levels: int, low_levels: int) -> Tensor:
        """The time of each level ``(B, levels)``."""
        groups = [self.low[:, None].expand(-1, low_levels), self.high[:, None].expand(-1, levels - low_levels)]
        return torch.cat(groups, dim=1)


def corrupted(x0: Tensor, time: Tensor, uniforms: Tensor, mask: int, schedule: LogLinear = SCHEDULE) -> Tensor:
    """Tokens at a time: each is masked by itself where its uniform number is below the masked share.

    Args:
        x0: true tokens ``(...)``.
        time: of the same shape (sizes of 1 are spread).
        uniforms: ``(...)`` in [0, 1).
        mask: the masked token, K.
        schedule: the noise schedule.
    """
    return torch.where(uniforms < schedule.masked_share(time), torch.full_like(x0, mask), x0)


def log_scores(
    logits: Tensor, time: Tensor | float, form: Form = "normalized", schedule: LogLinear = SCHEDULE
) -> Tensor:
    """Log scores of masked positions from the network's logits ``(..., K)`` at times ``(...)``.

    Raises:
        ValueError: for an unknown form.
    """
    log_ratio = over_codes(schedule.log_ratio(time))
    if form == "normalized":
        return logits.log_softmax(-1) - log_ratio
    if form == "free":
        return logits - log_ratio - math.log(logits.shape[-1])
    raise ValueError(f"unknown form of the scores {form!r}: free or normalized")


def dse(scores: Tensor, x_t: Tensor, x0: Tensor, time: Tensor, schedule: LogLinear = SCHEDULE) -> Tensor:
    """Denoising score entropy of each position, without the schedule's rate; zero at visible ones.

    Args:
        scores: log scores of the codes ``(..., K)``.
        x_t: corrupted tokens ``(...)``.
        x0: true tokens ``(...)``.
        time: of the same shape (sizes of 1 are spread).
        schedule: the noise schedule.

    Returns:
        ``(...)``, not below zero.
    """
    true = 1 / schedule.ratio(time)
    of_truth = scores.gather(-1, x0.long()[..., None])[..., 0]
    entropy = scores.exp().sum(-1) - true * of_truth + true * (true.log() - 1)
    return torch.where(x_t == scores.shape[-1], entropy, torch.zeros_like(entropy))


def masked_losses(
    logits: Tensor,
    x0: Tensor,
    time: Tensor,
    settings: LossSettings = LossSettings(),
    schedule: LogLinear = SCHEDULE,
) -> tuple[Tensor, Tensor]:
    """Loss of masked positions, the schedule's rate included, and their cross entropy in nats; both ``(...)``.

    In the normalised form the rate times the score entropy is ``cross entropy / t``. It is taken directly, because
    the large terms of the score entropy cancel.

    Args:
        logits: the network's output at masked positions ``(..., K)``.
        x0: true tokens ``(...)``.
        time: of the same shape (sizes of 1 are spread).
        settings: parameterisation and floor of time.
        schedule: the noise schedule.
    """
    nats, floored = cross_entropy(logits, x0), time.clamp(min=settings.floor)
    if settings.form == "normalized":
        return nats / floored, nats.detach()
    masks = torch.full_like(x0, logits.shape[-1])
    entropy = dse(log_scores(logits, time, settings.form, schedule), masks, x0, time, schedule)
    return schedule.rate(time) * entropy * (time / floored), nats.detach()


def cross_entropy(logits: Tensor, x0: Tensor) -> Tensor:
    """Cross entropy ``(...)`` in nats of logits ``(..., K)`` against true tokens ``(...)``."""
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), x0.reshape(-1).long(), reduction="none")
    return flat.reshape(x0.shape)


def score_loss(
    logits: Tensor,
    x_t: Tensor,
    x0: Tensor,
    times: Tensor,
    lengths: Tensor | None = None,
    settings: LossSettings = LossSettings(),
) -> ScoreLoss:
    """The loss of a batch (hicodit.md C.4): by sample and level, the sum over its valid frames by their number.

    Args:
        logits: the network's output ``(B, levels, L, K)``; taken to float32.
        x_t: corrupted tokens ``(B, levels, L)``.
        x0: true tokens ``(B, levels, L)``; anything below K in padding.
        times: the time of each level ``(B, levels)``.
        lengths: valid frames of each sample ``(B,)``; all of them by default.
        settings: parameterisation, floor of time, weights of the levels.
    """
    frames = x0.shape[-1]
    if lengths is None:
        lengths = torch.full((x0.shape[0],), frames, device=x0.device)
    valid = torch.arange(frames, device=x0.device) < lengths[:, None, None]
    chosen = (x_t == logits.shape[-1]) & valid
    seen, truth, time = logits[chosen].float(), x0[chosen], times[:, :, None].expand_as(chosen)[chosen]
    losses, nats = masked_losses(seen, truth, time, settings)
    by_level = _spread(losses, chosen).sum(-1) / lengths[:, None]  # (B, levels)
    weights = by_level.new_tensor(settings.level_weights or [1.0] * x0.shape[1])
    return ScoreLoss(
        total=(by_level * weights).sum(1).mean(),
        levels=by_level.detach().mean(0),
        cross_entropy=_spread(nats, chosen).sum((0, 2)),
        masked=chosen.sum((0, 2)),
    )


def draw_times(batch: int, generator: torch.Generator, separate: float = 0.5) -> Times:
    """Training times of a batch, spread evenly over [0.001, 1] from a common offset.

    Args:
        batch: number of samples.
        generator: source of the numbers (CPU).
        separate: share of the samples whose high levels get a time of their own: two draws, sorted.
    """
    first = _even_times(batch, generator)
    second = _even_times(batch, generator)[torch.randperm(batch, generator=generator)]
    apart = torch.rand(batch, generator=generator) < separate
    second = torch.where(apart, second, first)
    return Times(torch.minimum(first, second), torch.maximum(first, second))


def draw_drops(batch: int, generator: torch.Generator, together: float = 0.1, each: float = 0.1) -> Tensor:
    """Which conditions a training step drops ``(B, 3)``, in the order lip, identity, emotion; true is dropped.

    Args:
        batch: number of samples.
        generator: source of the numbers (CPU).
        together: probability that a sample loses all three.
        each: else, the probability of each by itself.
    """
    everything = torch.rand(batch, 1, generator=generator) < together
    return everything | (torch.rand(batch, 3, generator=generator) < each)


def _even_times(batch: int, generator: torch.Generator) -> Tensor:
    offset = torch.rand((), generator=generator)
    return FIRST_TIME + (1 - FIRST_TIME) * ((offset + torch.arange(batch) / batch) % 1)


def _spread(values: Tensor, chosen: Tensor) -> Tensor:
    """Values ``(M,)`` back at the M chosen places of ``(B, levels, L)``, zero elsewhere."""
    return values.new_zeros(chosen.shape).masked_scatter(chosen, values)
