"""Sampler steps and guidance of hicodit: a toy distribution comes out of them, and what is revealed stays."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.systems.hicodit.guidance import BRANCHES, PAPER, PLAIN, Guidance, exact_rate, paper_guidance, pulled
from bench.systems.hicodit.schedule import LAST_TIME, SCHEDULE, grid_time, revealed_count, step_span
from bench.systems.hicodit.steps import (
    analytic_step,
    analytic_weights,
    confident_codes,
    draw,
    euler_step,
    euler_weights,
    final_step,
    reveal_best,
    reverse_rate,
    sharpened,
    tau_step,
    transition,
)

CODES = 3
#: The distribution that is known: sequences of so many tokens of so many codes, and how many of them are sampled.
LENGTH, KINDS, RUNS = 3, 2, 20_000
Step = Callable[[Tensor, Tensor, float, float, torch.Generator], Tensor]


def rand(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=random)


def euler(x: Tensor, scores: Tensor, time: float, span: float, random: torch.Generator) -> Tensor:
    return euler_step(x, scores, rand((*x.shape, scores.shape[-1] + 1), random), time, span)


def analytic(x: Tensor, scores: Tensor, time: float, span: float, random: torch.Generator) -> Tensor:
    return analytic_step(x, scores, rand((*x.shape, scores.shape[-1] + 1), random), time, span)


def tau(x: Tensor, scores: Tensor, time: float, span: float, random: torch.Generator) -> Tensor:
    return tau_step(
        x, sharpened(scores), rand((*x.shape, scores.shape[-1]), random), rand(tuple(x.shape), random), time, span
    )


STEPS: dict[str, Step] = {"euler": euler, "analytic": analytic, "tau": tau}


# --- a distribution that is known ---


def toy() -> Tensor:
    """Probabilities of all sequences ``(K, K, K)``, whose positions depend on each other."""
    return torch.tensor([[[0.26, 0.02], [0.03, 0.15]], [[0.05, 0.20], [0.24, 0.05]]])


def toy_model(table: Tensor) -> Tensor:
    """The true log probabilities ``(states, L, K)`` of each position, for every state of visible and masked tokens."""
    grown = table
    for axis in range(LENGTH):  # index K of an axis: summed over it
        grown = torch.cat([grown, grown.sum(axis, keepdim=True)], dim=axis)
    by_position = []
    for axis in range(LENGTH):
        known = grown.movedim(axis, -1)[..., :KINDS]  # a token at this position is masked, whatever the state says
        probs = known / known.sum(-1, keepdim=True)
        by_position.append(probs[..., None, :].expand(*known.shape[:-1], KINDS + 1, KINDS).movedim(-2, axis))
    return torch.stack(by_position, dim=-2).reshape(-1, LENGTH, KINDS).log()


def state(x: Tensor, base: int) -> Tensor:
    return (x * base ** torch.arange(LENGTH - 1, -1, -1)).sum(-1)


def distance(x: Tensor, table: Tensor) -> float:
    """Total variation between the tokens ``(RUNS, L)`` and the toy distribution."""
    seen = torch.bincount(state(x, KINDS), minlength=KINDS**LENGTH) / len(x)
    return float((seen - table.flatten()).abs().sum() / 2)


def all_masked() -> Tensor:
    return torch.full((RUNS, LENGTH), KINDS)


@pytest.mark.parametrize("name", STEPS)
def test_sampler_converges_to_the_distribution(name: str) -> None:
    table, random, count = toy(), torch.Generator().manual_seed(1), 100
    log_probs, x = toy_model(table), all_masked()
    for n in range(count):
        time = grid_time(n, count)
        scores = log_probs[state(x, KINDS + 1)] - SCHEDULE.log_ratio(time)
        x = STEPS[name](x, scores, time, step_span(count), random)
    x = final_step(x, log_probs[state(x, KINDS + 1)], rand((RUNS, LENGTH, KINDS), random))
    assert distance(x, table) < 0.02


def test_few_steps_leave_a_distance() -> None:
    """The measure can fail: tokens that are revealed together do not know of each other."""
    table, random = toy(), torch.Generator().manual_seed(1)
    x = final_step(all_masked(), toy_model(table)[state(all_masked(), KINDS + 1)], rand((RUNS, LENGTH, KINDS), random))
    assert distance(x, table) > 0.1


def test_confidence_with_much_noise_is_a_random_order_and_exact() -> None:
    table, random, count = toy(), torch.Generator().manual_seed(2), 16
    log_probs, x = toy_model(table), all_masked()
    for n in range(count):  # of three tokens the schedule never reveals two at once
        u_code, u_score = rand((RUNS, LENGTH, KINDS), random), rand((RUNS, LENGTH), random)
        codes, scores = confident_codes(log_probs[state(x, KINDS + 1)], u_code, u_score, 1e4)
        x = reveal_best(x, KINDS, codes, scores, revealed_count(LENGTH, n, count))
    assert distance(x, table) < 0.02


def test_normalised_scores_make_the_three_transitions_one() -> None:
    log_probs = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(-1)
    for time, span in ((1.0, 0.3), (0.5, 0.5), (0.02, 0.001)):
        scores = log_probs - SCHEDULE.log_ratio(time)
        tau_weights = torch.cat([span / time * log_probs.exp(), torch.full((5, 1), 1 - span / time)], dim=1)
        torch.testing.assert_close(euler_weights(scores, time, span), tau_weights)
        torch.testing.assert_close(analytic_weights(scores, time, span), tau_weights)


def test_a_float_time_follows_the_type_and_the_place_of_the_scores() -> None:
    scores = torch.zeros(2, 5, 4, device="meta")
    x, uniforms = torch.zeros(2, 5, dtype=torch.int64, device="meta"), torch.zeros(2, 5, 4, device="meta")
    made = [exact_rate(scores, 0.5), euler_weights(scores, 0.5, 0.1), analytic_weights(scores, 0.5, 0.1)]
    assert {(value.dtype, value.device.type) for value in made} == {(torch.float32, "meta")}
    assert tau_step(x, scores, uniforms, uniforms[..., 0], 0.5, 0.1).device.type == "meta"


def test_analytic_step_by_its_matrices() -> None:
    """SEDD's form: staggered scores of all states, times the transition of the step."""
    random = torch.Generator().manual_seed(4)
    scores = torch.rand(6, 4, generator=random, dtype=torch.float64)
    time, span = 0.7, 0.9  # ends at 0
    noise = float(SCHEDULE.total(time))
    states = torch.cat([scores, torch.ones(6, 1)], dim=1)
    staggered = states * math.exp(noise)
    staggered[:, -1] += (1 - math.exp(noise)) * states.sum(1)
    factor = torch.full((5,), 1 - math.exp(-noise), dtype=torch.float64)
    factor[-1] += math.exp(-noise)
    torch.testing.assert_close(analytic_weights(scores.log(), time, span), staggered * factor)


# --- what holds in every step ---


def scene(seed: int) -> tuple[Tensor, Tensor, torch.Generator]:
    """Tokens ``(2, 3, 11)``, a share of them masked, and scores that are not numbers wherever a token is visible."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(CODES + 1, (2, 3, 11), generator=random)
    scores = torch.randn(*x.shape, CODES, generator=random)
    return x, scores.masked_fill((x != CODES)[..., None], torch.nan), random


@pytest.mark.parametrize("seed", range(5))
def test_no_step_changes_a_revealed_token(seed: int) -> None:
    x, scores, random = scene(seed)
    made = {name: step(x, scores, 0.4, 0.39, random) for name, step in STEPS.items()}
    made["final"] = final_step(x, scores, rand((*x.shape, CODES), random))
    codes, quality = confident_codes(
        sharpened(scores), rand((*x.shape, CODES), random), rand(tuple(x.shape), random), 4.5
    )
    made["confidence"] = reveal_best(x, CODES, codes, quality, 10)
    visible = x != CODES
    for name, after in made.items():
        assert torch.equal(after[visible], x[visible]), name
        assert (after[~visible] != CODES).any(), name
        assert after.dtype == x.dtype and after.min() >= 0 and after.max() <= CODES, name
    assert (made["final"] != CODES).all()


def test_rates_and_transitions_of_revealed_tokens() -> None:
    x, scores, _ = scene(1)
    rates, visible = reverse_rate(x, scores), x != CODES
    assert (rates[visible] == 0).all()
    torch.testing.assert_close(rates[~visible].sum(-1), torch.zeros(int((~visible).sum())), rtol=0, atol=1e-5)
    weights = transition(x, euler_weights(scores, 0.4, 0.01))
    assert torch.equal(weights[visible].argmax(-1), x[visible]) and (weights[visible].sum(-1) == 1).all()


def test_gathered_positions_give_the_same_tokens() -> None:
    x, scores, random = scene(2)
    masked = x == CODES
    more, codes, reveal = (
        rand((*x.shape, CODES + 1), random),
        rand((*x.shape, CODES), random),
        rand(tuple(x.shape), random),
    )
    time = torch.tensor([[0.9], [0.2]])[:, :, None].expand(x.shape)

    def gathered(after: Tensor) -> Tensor:
        return x.masked_scatter(masked, after)

    few = x[masked], scores[masked]
    assert torch.equal(
        euler_step(x, scores, more, time, 0.15), gathered(euler_step(*few, more[masked], time[masked], 0.15))
    )
    assert torch.equal(
        tau_step(x, scores, codes, reveal, time, 0.15),
        gathered(tau_step(*few, codes[masked], reveal[masked], time[masked], 0.15)),
    )
    assert torch.equal(final_step(x, scores, codes), gathered(final_step(*few, codes[masked])))


def test_last_steps_reveal_everything() -> None:
    x, scores, random = scene(3)
    assert (tau(x, scores, 0.25, 0.25, random) != CODES).all()
    assert (final_step(x, scores, rand((*x.shape, CODES), random)) != CODES).all()
    assert step_span(10) / grid_time(9, 10) == pytest.approx(1 - LAST_TIME / grid_time(9, 10))


# --- draws ---


def test_draw_follows_the_weights_whatever_their_sum() -> None:
    weights = torch.tensor([0.5, -3.0, 1.5, 2.0])
    uniforms = torch.rand(40_000, 4, generator=torch.Generator().manual_seed(6))
    seen = torch.bincount(draw(weights, uniforms), minlength=4) / 40_000
    torch.testing.assert_close(seen, torch.tensor([0.125, 0.0, 0.375, 0.5]), rtol=0, atol=0.01)


def test_draws_at_the_ends_of_the_uniforms() -> None:
    weights = torch.ones(1, 2)
    ends = torch.tensor([[0.0, 1 - 2**-24]])
    assert draw(weights, ends).item() == 1
    for noise in (0.0, 2.0):
        codes, scores = confident_codes(weights.log_softmax(-1), ends, torch.zeros(1), noise)
        after = reveal_best(torch.tensor([2]), 2, codes, scores, 1)
        assert codes.item() == 1 and after.item() == 1 and not scores.isnan().any()


def test_temperature_and_nucleus() -> None:
    log_scores = torch.tensor([0.5, 0.3, 0.2]).log() + 7
    torch.testing.assert_close(sharpened(log_scores).exp(), torch.tensor([0.5, 0.3, 0.2]))
    squared = torch.tensor([0.25, 0.09, 0.04])
    torch.testing.assert_close(sharpened(log_scores, temperature=0.5).exp(), squared / squared.sum())
    torch.testing.assert_close(sharpened(log_scores, top_p=0.6).exp(), torch.tensor([0.625, 0.375, 0.0]))
    torch.testing.assert_close(sharpened(log_scores, top_p=1e-6).exp(), torch.tensor([1.0, 0.0, 0.0]))


# --- the confidence sampler's choice ---


def test_best_masked_positions_are_revealed_up_to_the_count() -> None:
    x = torch.tensor([[9, 4, 9, 9, 9]])
    codes, scores = torch.arange(5)[None], torch.tensor([[0.1, 99.0, 0.4, 0.3, 0.2]])
    for count, expected in ((0, [9, 4, 9, 9, 9]), (1, [9, 4, 9, 9, 9]), (3, [9, 4, 2, 3, 9]), (5, [0, 4, 2, 3, 4])):
        assert reveal_best(x, 9, codes, scores, count).tolist() == [expected]


def test_padding_is_neither_counted_nor_changed() -> None:
    random = torch.Generator().manual_seed(8)
    x = torch.randint(CODES + 1, (4, 2, 9), generator=random)
    codes, scores = torch.randint(CODES, x.shape, generator=random), torch.randn(x.shape, generator=random)
    lengths = [9, 6, 3, 1]
    counts = torch.tensor([[revealed_count(length, 3, 6)] * 2 for length in lengths])
    valid = torch.arange(9) < torch.tensor(lengths)[:, None, None]
    together = reveal_best(x, CODES, codes, scores, counts, valid)
    for row, length in enumerate(lengths):
        cut = (row, slice(None), slice(length))
        alone = reveal_best(x[cut], CODES, codes[cut], scores[cut], int(counts[row, 0]))
        assert torch.equal(together[cut], alone)
        assert torch.equal(together[row, :, length:], x[row, :, length:])


def test_exact_number_is_visible_after_each_step() -> None:
    random = torch.Generator().manual_seed(9)
    x, steps = torch.full((2, 17), CODES), 5
    x[1, :12] = 0  # given tokens, more than the first steps ask for
    for n in range(steps):
        log_probs = torch.randn(2, 17, CODES, generator=random).log_softmax(-1)
        codes, scores = confident_codes(
            log_probs, rand((2, 17, CODES), random), rand((2, 17), random), 4.5 * (1 - (n + 1) / steps)
        )
        x = reveal_best(x, CODES, codes, scores, revealed_count(17, n, steps))
        count = revealed_count(17, n, steps)
        assert (x != CODES).sum(-1).tolist() == [count, max(count, 12)]


# --- guidance ---


def branches(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, 5, 7, generator=random) for name in BRANCHES}


def test_guidance_of_one_is_no_guidance() -> None:
    scores = branches()
    assert PLAIN.branches() == PLAIN.branches(low=True) == ("all",)
    assert torch.equal(PLAIN.combine({"all": scores["all"]}, 0.3), scores["all"])
    assert torch.equal(Guidance(w_emo=2.0).combine(scores, 0.3, low=True), scores["all"])
    by_formula = pulled(scores, {"all": 1.0})  # what `combine` spares itself
    torch.testing.assert_close(by_formula, scores["all"])
    assert not torch.allclose(pulled(scores, {"all": 1.5}), scores["all"])
    exact = {name: value.log_softmax(-1) - SCHEDULE.log_ratio(0.3) for name, value in scores.items()}
    barely = Guidance(w_lip=1e-9).combine(exact, 0.3)  # the whole way, renormalised: nothing jumps at 1
    torch.testing.assert_close(barely, exact["all"], rtol=1e-4, atol=1e-4)


def test_weight_on_one_condition_alone() -> None:
    scores = branches()
    made = Guidance(w_all=0, w_lip=1, renormalize=False).combine(scores, 0.3)
    torch.testing.assert_close(made, scores["lip"])
    assert Guidance(w_all=0, w_lip=1).branches() == ("none", "lip")
    assert Guidance(w_all=2).branches() == ("none", "all")


def test_product_of_scores() -> None:
    """The two factors of DEmoFace, as scores instead of their logarithms."""
    scores = branches()
    guidance = Guidance(w_all=2.5, w_lip=2.0, w_id=1.25, w_emo=1.5, b=2, renormalize=False)
    each = {name: value.double().exp() for name, value in scores.items()}
    none = each["none"]
    singles = none * (each["lip"] / none) ** 2.0 * (each["identity"] / none) ** 1.25 * (each["emotion"] / none) ** 1.5
    product = singles * none * (each["all"] / none) ** 2.5
    torch.testing.assert_close(guidance.combine(scores, 0.5).double(), product.log(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("time", [0.01, 0.5, 1.0])
def test_renormalised_scores_keep_their_shape_and_the_exact_rate(time: float) -> None:
    scores = branches()
    loose = Guidance(w_all=2.5, w_lip=2.0, renormalize=False).combine(scores, time)
    exact = Guidance(w_all=2.5, w_lip=2.0).combine(scores, time)
    torch.testing.assert_close(exact.softmax(-1), loose.softmax(-1))
    total = 1 / SCHEDULE.ratio(time)
    assert exact.dtype == torch.float32
    torch.testing.assert_close(exact.exp().sum(-1), total.float().expand(2, 5), rtol=1e-4, atol=0)
    by_position = exact_rate(loose, torch.full((2, 1), time))
    torch.testing.assert_close(by_position, exact, rtol=1e-4, atol=1e-4)


def test_low_levels_do_not_ask_for_the_emotion() -> None:
    paper = paper_guidance("lrs2")
    assert paper == PAPER["lrs2"] and paper_guidance(None) == paper_guidance("cinepile") == PAPER["lrs3"]
    assert paper.branches() == tuple(BRANCHES)
    assert paper.branches(low=True) == ("none", "lip", "identity", "all")
    scores = branches()
    scores["emotion"] = scores["none"]
    torch.testing.assert_close(paper.combine(scores, 0.5), paper.combine(scores, 0.5, low=True))


def test_base_is_one_or_two() -> None:
    with pytest.raises(ValueError, match="base"):
        Guidance(b=3)
