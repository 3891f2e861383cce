"""One step of each sampler, on given log scores and given uniform numbers: nothing is drawn here (hicodit.md C.7).

Tokens ``x`` have any shape ``(...)``; K, the number of codes, is the mask. Log scores and log probabilities are
``(..., K)``; what they hold at visible positions is never used, and a visible token never changes. All but the
confidence sampler work on each position by itself, so masked positions may be gathered before
(``x[masked] = tau_step(x[masked], ...)``). A time is a float or has the shape of ``x`` (sizes of 1 are spread).

Euler, the analytic step and the draw follow ``louaaron/Score-Entropy-Discrete-Diffusion: graph_lib.py, sampling.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.systems.hicodit.schedule import SCHEDULE, LogLinear, as_time, over_codes

_TINY = 1e-10  # keeps the logarithm and the quotient of the draw finite


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """A category ``(...)`` for weights ``(..., S)``, which need no norm: the largest weight over exponential noise.

    Args:
        weights: in proportion to the probabilities; one below zero never wins.
        uniforms: ``(..., S)`` in [0, 1).
    """
    return (weights / (_TINY - torch.log(uniforms + _TINY))).argmax(-1)


def gumbel(uniforms: Tensor) -> Tensor:
    """Gumbel noise ``-log(-log u)``; minus infinity for u = 0."""
    return -torch.log(-torch.log(uniforms))


def sharpened(log_scores: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Log probabilities of the codes ``(..., K)``: scores of sum 1, then temperature, then the nucleus.

    Args:
        log_scores: log scores, or anything that differs from them by a constant for each position.
        temperature: divides the log probabilities; above 0.
        top_p: smallest share of the probability that is kept, from the likeliest code down; in (0, 1].
    """
    log_probs = (log_scores if temperature == 1 else log_scores / temperature).log_softmax(-1)
    if top_p >= 1:
        return log_probs
    ranked, order = log_probs.sort(dim=-1, descending=True, stable=True)
    before = ranked.exp().cumsum(-1) - ranked.exp()
    beyond = torch.zeros_like(ranked, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return log_probs.masked_fill(beyond, -torch.inf).log_softmax(-1)


def euler_weights(log_scores: Tensor, time: Tensor | float, span: float, schedule: LogLinear = SCHEDULE) -> Tensor:
    """Euler's transition ``(..., K + 1)`` of a masked position: to each code, and last to stay masked.

    The last entry may be below zero with a long step.
    """
    return _leaving(log_scores.exp() * over_codes(span * schedule.rate(time)))


def analytic_weights(log_scores: Tensor, time: Tensor | float, span: float, schedule: LogLinear = SCHEDULE) -> Tensor:
    """SEDD's analytic transition ``(..., K + 1)`` of a masked position; the step ends at time 0 at the latest.

    SEDD applies a matrix to the scores of all K + 1 states; for a masked position that comes to score times
    ``e^d - 1`` for each code, d the noise of the step, and to the rest for the mask.
    """
    time = as_time(time)
    noise = schedule.total(time) - schedule.total((time - span).clamp(min=0))
    return _leaving(log_scores.exp() * over_codes(torch.expm1(noise)))


def reverse_rate(x: Tensor, log_scores: Tensor) -> Tensor:
    """Rates ``(..., K + 1)`` at which tokens change, without the schedule's rate: zero for visible tokens."""
    rates = log_scores.exp()
    rates = torch.cat([rates, -rates.sum(-1, keepdim=True)], dim=-1)
    return torch.where(is_masked(x, log_scores)[..., None], rates, torch.zeros_like(rates))


def transition(x: Tensor, weights: Tensor) -> Tensor:
    """Weights ``(..., K + 1)`` of masked positions, with certainty where a token is visible."""
    mask = weights.shape[-1] - 1
    stay = F.one_hot(x.long(), mask + 1).to(weights.dtype)
    return torch.where((x == mask)[..., None], weights, stay)


def euler_step(x: Tensor, log_scores: Tensor, uniforms: Tensor, time: Tensor | float, span: float) -> Tensor:
    """Tokens after one Euler step of length ``span`` from ``time``. ``uniforms``: ``(..., K + 1)``."""
    return _filled(x, log_scores, draw(euler_weights(log_scores, time, span), uniforms))


def analytic_step(x: Tensor, log_scores: Tensor, uniforms: Tensor, time: Tensor | float, span: float) -> Tensor:
    """Tokens after one analytic step of length ``span`` from ``time``. ``uniforms``: ``(..., K + 1)``."""
    return _filled(x, log_scores, draw(analytic_weights(log_scores, time, span), uniforms))


def tau_step(
    x: Tensor, log_probs: Tensor, u_code: Tensor, u_reveal: Tensor, time: Tensor | float, span: float
) -> Tensor:
    """Tokens after one step that reveals each masked token with probability ``span / time``.

    Args:
        x: tokens ``(...)``.
        log_probs: log probabilities of the codes ``(..., K)``, or log scores: their sum plays no part.
        u_code: uniforms of the code ``(..., K)``.
        u_reveal: uniforms of the choice to reveal ``(...)``.
        time: time at the start.
        span: length of the step.
    """
    codes = draw(log_probs.softmax(-1), u_code)
    return torch.where(u_reveal < span / as_time(time), _filled(x, log_probs, codes), x)


def final_step(x: Tensor, log_scores: Tensor, uniforms: Tensor) -> Tensor:
    """Every token that is still masked, drawn from the codes' scores. ``uniforms``: ``(..., K)``."""
    return _filled(x, log_scores, draw(log_scores.softmax(-1), uniforms))


def confident_codes(log_probs: Tensor, u_code: Tensor, u_score: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """First half of a confidence step, by position: a code for each, and its score.

    Args:
        log_probs: log probabilities ``(..., K)``, sharpened if at all.
        u_code: uniforms of the code ``(..., K)``.
        u_score: uniforms of the score ``(...)``.
        noise: factor of the score's Gumbel noise, ``kappa * (1 - (step + 1) / steps)``.

    Returns:
        Codes ``(...)`` and scores ``(...)``: log probability of the code plus noise.
    """
    codes = (log_probs + gumbel(u_code)).argmax(-1)
    scores = log_probs.gather(-1, codes[..., None])[..., 0]
    return codes, scores + noise * gumbel(u_score) if noise else scores


def reveal_best(
    x: Tensor, mask: int, codes: Tensor, scores: Tensor, counts: Tensor | int, valid: Tensor | None = None
) -> Tensor:
    """Second half: of each row, the masked positions of the best scores, until ``counts`` tokens are visible.

    A row that has more visible tokens already stays as it is. Equal scores: the earlier position is first.

    Args:
        x: tokens ``(..., L)``; a row is one level of one clip.
        mask: the masked token, K.
        codes: of each position ``(..., L)``.
        scores: ``(..., L)``; anything at visible positions.
        counts: visible tokens of a row afterwards, ``(...)`` or one number (`schedule.revealed_count`).
        valid: ``(..., L)``, false for padding, which is neither counted nor changed; sizes of 1 are spread.
    """
    masked = x == mask
    ranking = scores.clamp(min=torch.finfo(scores.dtype).min).masked_fill(~masked, torch.inf)
    if valid is not None:
        masked, ranking = masked & valid, ranking.masked_fill(~valid, -torch.inf)
    order = ranking.argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(x.shape[-1], device=x.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(-1, order, places)
    limit = counts[..., None] if isinstance(counts, Tensor) else counts
    return torch.where(masked & (rank < limit), codes.to(x.dtype), x)


def is_masked(x: Tensor, log_scores: Tensor) -> Tensor:
    """Where a token is the mask, whose index is the number of codes in ``log_scores``."""
    return x == log_scores.shape[-1]


def _leaving(moves: Tensor) -> Tensor:
    return torch.cat([moves, 1 - moves.sum(-1, keepdim=True)], dim=-1)


def _filled(x: Tensor, log_scores: Tensor, drawn: Tensor) -> Tensor:
    return torch.where(is_masked(x, log_scores), drawn.to(x.dtype), x)
