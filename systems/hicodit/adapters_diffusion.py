"""Adapters for ``bench conformance`` (component ``hicodit``): schedule, score entropy, sampler steps, guidance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from bench.conformance import Fill
    from bench.records import Array

OPS: dict[str, str] = {
    name: f"{__name__}:{name}"
    for name in (
        "loglinear",
        "time_embedding",
        "dse_loss",
        "euler_step",
        "euler_loop",
        "dse_parametrisations",
        "tau_step",
        "confidence_step",
        "guidance",
    )
}


def loglinear(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """The schedule at given times."""
    from bench.systems.hicodit.schedule import LogLinear

    schedule, time = LogLinear(config.get("eps", 1e-3)), _tensors(inputs)["t"]
    return {
        "total": schedule.total(time).numpy(),
        "rate": schedule.rate(time).numpy(),
        "mask_prob": schedule.masked_share(time).numpy(),
        "expm1": schedule.ratio(time).numpy(),
    }


def time_embedding(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Sinusoids of given noise."""
    from bench.systems.hicodit.schedule import time_features

    return {"features": time_features(_tensors(inputs)["sigma"], config.get("dim", 256)).numpy()}


def dse_loss(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Corruption, score entropy by position, and the loss of each sequence."""
    from bench.systems.hicodit.schedule import LogLinear
    from bench.systems.hicodit.score_entropy import corrupted, dse

    given, schedule, codes = _tensors(inputs), LogLinear(config.get("eps", 1e-3)), config["codes"]
    time = _like(given["t"], given["x0"])
    x_t = corrupted(given["x0"], time, given["u"], codes, schedule)
    entropy = dse(given["log_score"][..., :codes], x_t, given["x0"], time, schedule)
    loss = (schedule.rate(time) * entropy).flatten(1).sum(1)
    return {"x_t": x_t.numpy(), "entropy": entropy.numpy(), "loss": loss.numpy()}


def euler_step(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Rates, transitions and draws of one step from given scores of K + 1 states."""
    from bench.systems.hicodit import steps

    given, codes, span = _tensors(inputs), config["codes"], config["dt"]
    x, uniforms, scores = given["x_t"], given["u"], given["score"][..., :codes].log()
    time = _like(given["t"], x)
    euler = steps.transition(x, steps.euler_weights(scores, time, span))
    analytic = steps.transition(x, steps.analytic_weights(scores, time, span))
    return {
        "reverse_rate": steps.reverse_rate(x, scores).numpy(),
        "euler_prob": euler.numpy(),
        "euler_x": steps.euler_step(x, scores, uniforms, time, span).numpy(),
        "analytic_prob": analytic.numpy(),
        "analytic_x": steps.analytic_step(x, scores, uniforms, time, span).numpy(),
        "final_x": steps.final_step(x, scores, uniforms[..., :codes]).numpy(),
    }


def euler_loop(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """All masked, every state of an Euler run, and the state after the final draw."""
    import torch

    from bench.systems.hicodit.schedule import LAST_TIME, grid_time, step_span
    from bench.systems.hicodit.score_entropy import log_scores
    from bench.systems.hicodit.steps import euler_step as step
    from bench.systems.hicodit.steps import final_step

    given, codes, count = _tensors(inputs), config["codes"], config["steps"]
    uniforms, logits = given["u"], given["z"]
    states = [torch.full(logits.shape[:-1], codes, dtype=torch.int32)]
    for n in range(count):
        time = grid_time(n, count)
        states.append(step(states[-1], log_scores(logits, time), uniforms[n], time, step_span(count)))
    states.append(final_step(states[-1], log_scores(logits, LAST_TIME), uniforms[count][..., :codes]))
    return {"states": torch.stack(states).numpy()}


def dse_parametrisations(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Log scores and loss of both forms, and the cross entropy that the normalised one comes to."""
    import torch

    from bench.systems.hicodit.schedule import SCHEDULE
    from bench.systems.hicodit.score_entropy import dse, log_scores, masked_losses

    given = _tensors(inputs)
    logits, x_t, x0 = given["z"], given["x_t"], given["x0"]
    time = _like(given["t"], x0)
    direct, _ = masked_losses(logits, x0, time)
    out = {"ce_over_t": torch.where(x_t == logits.shape[-1], direct, torch.zeros_like(direct))}
    for form in ("free", "normalized"):
        scores = log_scores(logits, time, form)
        out[f"log_score_{form}"] = scores
        out[f"loss_{form}"] = SCHEDULE.rate(time) * dse(scores, x_t, x0, time)
    return {name: tensor.numpy() for name, tensor in out.items()}


def tau_step(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Tokens after one step."""
    from bench.systems.hicodit.steps import tau_step as step

    given = _tensors(inputs)
    x, time = given["x_t"], _like(given["t"], given["x_t"])
    return {"x": step(x, given["log_prob"], given["u_code"], given["u_reveal"], time, config["dt"]).numpy()}


def confidence_step(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array | int]:
    """Codes and scores of all positions, how many are visible afterwards, the tokens, and how many are new."""
    import torch

    from bench.systems.hicodit.schedule import revealed_count
    from bench.systems.hicodit.steps import confident_codes, reveal_best

    given, mask, step, steps = _tensors(inputs), config["codes"], config["step"], config["steps"]
    before = given["x_t"]
    noise = config["kappa"] * (1 - (step + 1) / steps)
    codes, scores = confident_codes(given["log_prob"], given["u_code"], given["u_score"], noise)
    keep = revealed_count(before.shape[-1], step, steps)
    after = reveal_best(before, mask, codes, scores, keep)
    masked = before == mask
    return {
        "codes": codes.numpy(),
        "score": torch.where(masked, scores, torch.zeros_like(scores)).numpy(),
        "keep": keep,
        "x": after.numpy(),
        "newly": (masked & (after != mask)).sum(-1).numpy(),
    }


def guidance(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Log scores joined with base 1, with base 2, and with base 1 at the exact rate."""
    from bench.systems.hicodit.guidance import BRANCHES, Guidance, exact_rate, pulled

    given = _tensors(inputs)
    scores = dict(zip(BRANCHES, given["log_scores"], strict=True))
    settings = Guidance(**{name: config[name] for name in ("w_all", "w_lip", "w_id", "w_emo")})
    base = {b: pulled(scores, settings.scales(), b) for b in (1, 2)}
    time = _like(given["t"], base[1][..., 0])
    return {
        "base1": base[1].numpy(),
        "base2": base[2].numpy(),
        "renormalized": exact_rate(base[1], time).numpy(),
    }


def _tensors(inputs: dict[str, Array]) -> dict[str, Tensor]:
    import torch

    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def _like(time: Tensor, tokens: Tensor) -> Tensor:
    """Times, one for all or of sequences (``()``, ``(B,)``, ``(B, 1)``), with as many dimensions as ``(B, ...)``."""
    return time.reshape(time.shape + (1,) * (tokens.ndim - time.ndim))
