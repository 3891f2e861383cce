"""The noise schedule and the training loss of hicodit: the recorded cases, and what must hold without any."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.conformance import Case, run_case
from bench.systems.hicodit.adapters_diffusion import OPS
from bench.systems.hicodit.schedule import (
    SCHEDULE,
    LogLinear,
    confidence_time,
    grid_time,
    revealed_count,
    step_span,
    time_features,
)
from bench.systems.hicodit.score_entropy import (
    Form,
    LossSettings,
    Times,
    corrupted,
    draw_drops,
    draw_times,
    dse,
    log_scores,
    masked_losses,
    score_loss,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "hicodit"
CODES = 4
FORMS: tuple[Form, ...] = ("free", "normalized")


@pytest.mark.parametrize("name", OPS)
def test_goldens(name: str) -> None:
    result = run_case(Case("hicodit", name, name, GOLDEN / f"{name}.safetensors"), OPS[name])
    assert result.passed, result.detail


# --- schedule ---


@pytest.mark.parametrize("eps", [1e-3, 0.1])
def test_rate_is_the_slope_of_the_noise_and_the_masked_share_is_a_line(eps: float) -> None:
    schedule = LogLinear(eps)
    time = torch.linspace(1e-4, 1, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(schedule.total(time).sum(), time)
    torch.testing.assert_close(slope, schedule.rate(time))
    torch.testing.assert_close(schedule.masked_share(time), (1 - eps) * time)
    torch.testing.assert_close(schedule.ratio(time), torch.expm1(schedule.total(time)))


def test_little_noise_loses_no_digits() -> None:
    time = torch.tensor([1e-7, 1e-5])
    exact = torch.tensor([math.expm1(-math.log1p(-0.999 * t)) for t in (1e-7, 1e-5)])
    torch.testing.assert_close(SCHEDULE.ratio(time), exact, rtol=1e-6, atol=0)


def test_a_float_is_a_time() -> None:
    assert float(SCHEDULE.total(1.0)) == pytest.approx(-math.log(1e-3))
    assert SCHEDULE.rate(0.5).shape == ()


@pytest.mark.parametrize("steps", [1, 7, 64])
def test_grid_runs_from_one_to_its_end_in_even_steps(steps: int) -> None:
    assert grid_time(0, steps) == 1
    assert grid_time(steps - 1, steps) - step_span(steps) == pytest.approx(1e-5)


@pytest.mark.parametrize("length", [1, 2, 50, 333])
@pytest.mark.parametrize("steps", [1, 2, 12, 64])
def test_confidence_schedule_ends_with_every_token(length: int, steps: int) -> None:
    counts = [revealed_count(length, step, steps) for step in range(steps)]
    assert counts == sorted(counts) and counts[-1] == length and counts[0] >= 0
    times = [confidence_time(step, steps) for step in range(steps)]
    assert times[0] == 1 and times == sorted(times, reverse=True) and times[-1] >= 1e-3


def test_features_of_no_noise_are_ones_then_zeros() -> None:
    features = time_features(torch.zeros(3), 10)
    assert torch.equal(features, torch.cat([torch.ones(3, 5), torch.zeros(3, 5)], dim=1))
    assert time_features(torch.ones(2), 7).shape == (2, 7)


# --- corruption ---


def test_corruption_masks_the_share_of_its_time_and_nothing_else() -> None:
    random = torch.Generator().manual_seed(1)
    x0 = torch.randint(CODES, (2, 1, 40_000), generator=random)
    time = torch.tensor([0.2, 0.9])[:, None, None]
    x_t = corrupted(x0, time, torch.rand(x0.shape, generator=random), CODES)
    masked = x_t == CODES
    assert torch.equal(x_t[~masked], x0[~masked])
    torch.testing.assert_close(masked.float().mean((1, 2)), 0.999 * time.flatten(), rtol=0, atol=0.01)


def test_corruption_is_strict() -> None:
    time = torch.tensor([0.5])
    share = SCHEDULE.masked_share(time)
    x0 = torch.zeros(1, dtype=torch.int64)
    assert corrupted(x0, time, share, CODES).item() == 0
    assert corrupted(x0, time, torch.nextafter(share, torch.zeros(1)), CODES).item() == CODES


# --- loss ---


def joint(length: int, codes: int) -> Tensor:
    """A distribution over sequences in which positions depend on each other ``(codes, ..., codes)``."""
    random = torch.Generator().manual_seed(3)
    table = torch.rand([codes] * length, generator=random, dtype=torch.float64) ** 3
    return table / table.sum()


def posterior(table: Tensor, seen: tuple[int, ...], mask: int) -> tuple[Tensor, list[tuple[int, ...]], Tensor]:
    """By position: probabilities of the codes ``(L, K)`` given what is visible; the sequences that agree."""
    every = itertools.product(range(mask), repeat=len(seen))
    agreeing = [s for s in every if all(a in (b, mask) for a, b in zip(seen, s, strict=True))]
    weights = torch.stack([table[s] for s in agreeing])
    weights = weights / weights.sum()
    one_hot = torch.nn.functional.one_hot(torch.tensor(agreeing), mask).double()
    return (weights[:, None, None] * one_hot).sum(0), agreeing, weights


@pytest.mark.parametrize("seen", [(3, 3, 3), (3, 1, 3), (0, 3, 2)])
@pytest.mark.parametrize("time", [0.05, 0.6, 1.0])
def test_loss_is_least_at_the_true_ratios(seen: tuple[int, ...], time: float) -> None:
    probs, sequences, weights = posterior(joint(3, 3), seen, 3)
    t = torch.tensor(time, dtype=torch.float64)
    true = probs.clamp(min=1e-30).log() - SCHEDULE.log_ratio(t)
    x_t = torch.tensor(seen)

    def expected(scores: Tensor) -> Tensor:
        each = torch.stack([dse(scores, x_t, torch.tensor(x0), t).sum() for x0 in sequences])
        return (weights * each).sum()

    scores = true.clone().requires_grad_(True)
    least = expected(scores)
    (slope,) = torch.autograd.grad(least, scores)
    assert slope.abs().max() < 1e-9 * SCHEDULE.ratio(t).reciprocal().clamp(min=1)
    random = torch.Generator().manual_seed(5)
    for size in (0.01, 0.3, 2.0):
        for _ in range(5):
            away = size * torch.randn(true.shape, generator=random, dtype=torch.float64)
            assert expected(true + away) > least


def test_entropy_is_never_below_zero_and_zero_at_visible_positions() -> None:
    random = torch.Generator().manual_seed(2)
    x0 = torch.randint(CODES, (6, 50), generator=random)
    x_t = corrupted(x0, torch.tensor(0.5), torch.rand(6, 50, generator=random), CODES)
    time = torch.rand(6, 1, generator=random)
    entropy = dse(3 * torch.randn(6, 50, CODES, generator=random), x_t, x0, time)
    assert (entropy >= -1e-3).all() and (entropy[x_t != CODES] == 0).all() and (entropy[x_t == CODES] > 0).any()


def test_true_score_costs_nothing_when_the_token_is_certain() -> None:
    time = torch.tensor([0.3])
    scores = torch.tensor([[-40.0, 0.0, -40.0]]) - SCHEDULE.log_ratio(time)[:, None]
    assert dse(scores, torch.tensor([3]), torch.tensor([1]), time).abs() < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_direct_loss_is_the_rate_times_the_entropy(form: Form) -> None:
    random = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(5, 7, CODES, generator=random, dtype=torch.float64)
    x0 = torch.randint(CODES, (5, 7), generator=random)
    time = torch.linspace(0.001, 1, 5, dtype=torch.float64)[:, None]
    losses, nats = masked_losses(logits, x0, time, LossSettings(form=form))
    entropy = dse(log_scores(logits, time, form), torch.full_like(x0, CODES), x0, time)
    torch.testing.assert_close(losses, SCHEDULE.rate(time) * entropy, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(nats, -logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0])


def test_unknown_form_is_an_error() -> None:
    with pytest.raises(ValueError, match="free or normalized"):
        log_scores(torch.zeros(2, 3), 0.5, "other")  # type: ignore[arg-type]


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Logits, corrupted and true tokens, times of two levels, lengths of three samples."""
    random = torch.Generator().manual_seed(seed)
    x0 = torch.randint(CODES, (3, 2, 8), generator=random)
    times = Times(torch.tensor([0.02, 0.4, 0.7]), torch.tensor([0.3, 0.4, 1.0])).by_level(2, 1)
    x_t = corrupted(x0, times[:, :, None], torch.rand(x0.shape, generator=random), CODES)
    x_t[0, :, 0] = CODES  # something to learn in each
    logits = torch.randn(*x0.shape, CODES, generator=random)
    return logits, x_t, x0, times, torch.tensor([8, 5, 6])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_reduction_by_hand(form: Form, floor: float) -> None:
    logits, x_t, x0, times, lengths = batch()
    weights = (2.0, 0.6)
    made = score_loss(logits, x_t, x0, times, lengths, LossSettings(form, floor, weights))
    total = 0.0
    for b, level in itertools.product(range(3), range(2)):
        time = times[b, level]
        scores = log_scores(logits[b, level], time, form)
        each = SCHEDULE.rate(time) * dse(scores, x_t[b, level], x0[b, level], time)
        held = float(time / max(float(time), floor))
        total += weights[level] * held * float(each[: lengths[b]].sum() / lengths[b]) / 3
    assert float(made.total) == pytest.approx(total, rel=1e-4)
    assert float((made.levels * torch.tensor(weights)).sum()) == pytest.approx(total, rel=1e-4)
    chosen = (x_t == CODES) & (torch.arange(8) < lengths[:, None, None])
    nats = -logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
    torch.testing.assert_close(made.cross_entropy, (nats * chosen).sum((0, 2)))
    assert torch.equal(made.masked, chosen.sum((0, 2)))


def test_only_masked_frames_of_the_clip_have_a_gradient() -> None:
    logits, x_t, x0, times, lengths = batch()
    logits.requires_grad_(True)
    (slope,) = torch.autograd.grad(score_loss(logits, x_t, x0, times, lengths).total, logits)
    learns = (x_t == CODES) & (torch.arange(8) < lengths[:, None, None])
    assert torch.equal(slope.abs().sum(-1) > 0, learns)


def test_padding_does_not_count() -> None:
    logits, x_t, x0, times, _ = batch()
    alone = score_loss(logits[:, :, :5], x_t[:, :, :5], x0[:, :, :5], times)
    padded = score_loss(logits, x_t, x0, times, torch.tensor([5, 5, 5]))
    torch.testing.assert_close(padded.total, alone.total)


def test_nothing_masked_is_no_loss() -> None:
    logits, _, x0, times, _ = batch()
    made = score_loss(logits.requires_grad_(True), x0, x0, times)
    (slope,) = torch.autograd.grad(made.total, logits)
    assert float(made.total.detach()) == 0 and int(made.masked.sum()) == 0 and not slope.any()


# --- what a step draws ---


def test_times_are_spread_evenly_and_sorted() -> None:
    random = torch.Generator().manual_seed(7)
    apart = 0
    for _ in range(200):
        times = draw_times(8, random)
        assert (times.low <= times.high).all() and times.low.min() >= 1e-3 and times.high.max() <= 1
        apart += int((times.low < times.high).sum())
    assert 0.4 < apart / 1600 < 0.55
    same = draw_times(8, random, separate=0)
    assert torch.equal(same.low, same.high)
    bins = ((same.low - 1e-3) / 0.999 * 8 - same.low.min() / 0.999 * 8 + 0.5).long()
    assert sorted(bins.tolist()) == list(range(8))


def test_times_of_levels() -> None:
    made = Times(torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4])).by_level(5, 2)
    assert torch.equal(made, torch.tensor([[0.1, 0.1, 0.3, 0.3, 0.3], [0.2, 0.2, 0.4, 0.4, 0.4]]))


def test_shares_of_dropped_conditions() -> None:
    drops = draw_drops(40_000, torch.Generator().manual_seed(8)).float()
    torch.testing.assert_close(drops.mean(0), torch.full((3,), 0.1 + 0.9 * 0.1), rtol=0, atol=0.01)
    assert float(drops.prod(1).mean()) == pytest.approx(0.1 + 0.9 * 0.001, abs=0.01)


def test_draws_repeat_with_their_generator() -> None:
    first, second = (draw_times(6, torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(first.low, second.low) and torch.equal(first.high, second.high)
