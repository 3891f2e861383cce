"""Conditional flow matching around an estimator: sampling with Euler steps, and the training loss.

After ``zhenye234/Talker-T2AV: unified_cfm.py``. Time 1 is noise, time 0 is data: ``x_t = (1 - t) data + t noise``,
and the velocity is ``noise - data``. Guidance follows CFG-Zero* (arXiv 2503.18886): the unconditional velocity is
scaled to the conditional one, and the first steps stand still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.systems.talker.local_dit import DitConfig, LocDiT

#: Share of the steps that stand still with CFG-Zero*.
ZERO_SHARE = 0.04
#: Training times are ``sigmoid(n + TIME_SHIFT)`` of a standard normal n.
TIME_SHIFT = -0.4


@dataclass(frozen=True)
class Schedule:
    """The steps of a sampler, the same for every patch.

    Attributes:
        spans: times of the grid ``(steps + 1,)``, from 1 to 0.
        lengths: of each step, as subtracted.
        tokens: the time token at the start of each step ``(steps, H)``.
        still: how many steps at the beginning do not move.
    """

    spans: Tensor
    lengths: tuple[float, ...]
    tokens: Tensor
    still: int


@dataclass(frozen=True)
class Draws:
    """The random numbers of one loss over b rows, in the order in which a generator yields them.

    Those that the settings in use make ineffective (``cond_noise_share``, ``cond_noise``, ``r``, ``r_mask``) are
    drawn all the same, so that a generator's state agrees with the official order.
    """

    mu_drop: Tensor
    cond_drop: Tensor
    cond_noise_share: Tensor
    cond_noise: Tensor
    r: Tensor
    t: Tensor
    r_mask: Tensor
    z: Tensor

    @classmethod
    def of(cls, generator: torch.Generator, cond: Tensor, data: Tensor) -> Draws:
        """Draw on the generator's device for condition ``(b, C, T')`` and data ``(b, C, T)``; then to theirs."""
        rows = (data.shape[0],)

        def uniform() -> Tensor:
            return torch.rand(rows, generator=generator, device=generator.device).to(data.device)

        def normal(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=generator, device=generator.device).to(data.device)

        return cls(
            mu_drop=uniform(),
            cond_drop=uniform(),
            cond_noise_share=uniform(),
            cond_noise=normal(tuple(cond.shape)),
            r=normal(rows),
            t=normal(rows),
            r_mask=uniform(),
            z=normal(tuple(data.shape)),
        )


@dataclass(frozen=True)
class Noised:
    """A training problem: what the estimator gets, ``y`` ``(b, C, T)`` at ``t`` ``(b,)``, and its ``target``."""

    y: Tensor
    t: Tensor
    mu: Tensor
    cond: Tensor
    target: Tensor


def time_grid(steps: int, sway: float, device: torch.device | str = "cpu") -> Tensor:
    """``steps`` + 1 times from 1 to 0, float32; ``sway`` > 0 makes the steps near the noise shorter."""
    if steps < 1:
        raise ValueError(f"sampling needs at least 1 step, not {steps}")
    u = torch.linspace(1, 0, steps + 1, dtype=torch.float32, device=device)
    return u + sway * (torch.cos(math.pi / 2 * u) - 1 + u)


def zero_star_scale(positive: Tensor, negative: Tensor) -> Tensor:
    """The factor of CFG-Zero* for flattened velocities ``(N, D)``: ``<p, n> / (|n|^2 + 1e-8)``, ``(N, 1)``."""
    dot = (positive * negative).sum(1, keepdim=True)
    return dot / (negative.square().sum(1, keepdim=True) + 1e-8)


class CFM(nn.Module):
    """A diffusion head; its only parameters are those of ``estimator``.

    Args:
        sizes: of the estimator's decoder.
        in_channels: channels C of a frame.
        global_cond_channels: width G of the global condition.
        mu_drop_rate: training: how often the hidden state is replaced by zeros.
        cond_drop_rate: training: how often the earlier frames are.
    """

    def __init__(
        self,
        sizes: DitConfig,
        in_channels: int,
        global_cond_channels: int,
        mu_drop_rate: float = 0.1,
        cond_drop_rate: float = 0.05,
    ) -> None:
        super().__init__()
        self.mu_drop_rate, self.cond_drop_rate = mu_drop_rate, cond_drop_rate
        self.estimator = LocDiT(sizes, in_channels, global_cond_channels)

    def schedule(self, steps: int, sway: float = 1.0, zero_star: bool = True) -> Schedule:
        """The steps with their time tokens: compute once, use for every patch while the weights stay."""
        device = self.estimator.in_proj.weight.device
        spans = time_grid(steps, sway)
        t, times, lengths = spans[0], [], []
        for nearer in spans[1:]:
            times.append(t)
            lengths.append(t - nearer)
            t = t - lengths[-1]  # the running difference in float32, as upstream; not the grid's own value
        with torch.autocast(device.type, enabled=False):
            at = torch.stack(times).to(device)
            tokens = self.estimator.time_token(at, torch.zeros_like(at))
        still = max(1, int((steps + 1) * ZERO_SHARE)) if zero_star else 0
        return Schedule(spans.to(device), tuple(float(length) for length in lengths), tokens, still)

    def sample(
        self,
        mu: Tensor,
        steps: int,
        noise: Tensor,
        cond: Tensor,
        global_cond: Tensor,
        cfg: float,
        sway: float = 1.0,
        zero_star: bool = True,
        temperature: float = 1.0,
        schedule: Schedule | None = None,
    ) -> Tensor:
        """One patch for each row: ``(B, C, P)``, float32. With ``cfg`` 1 only the conditional half is computed.

        Args:
            mu: hidden states ``(B, H)``.
            steps: Euler steps; with ``zero_star`` at least one of them stands still.
            noise: standard normal ``(B, C, P)``, multiplied by ``temperature`` here.
            cond: the patches before ``(B, C, T')``, right-aligned, zeros where there are none.
            global_cond: ``(B, G)``.
            cfg: weight of guidance; 1 is none.
            sway: of `time_grid`.
            zero_star: use CFG-Zero*.
            temperature: standard deviation of the start.
            schedule: `schedule` of the same steps, sway and zero_star, to save its computation.
        """
        steps_of = self.schedule(steps, sway, zero_star) if schedule is None else schedule
        with torch.autocast(mu.device.type, enabled=False):
            mu, x = mu.float(), noise.float() * temperature
            context = self.estimator.context(cond.float(), global_cond.float())
            for i, (length, token) in enumerate(zip(steps_of.lengths, steps_of.tokens, strict=True)):
                if i >= steps_of.still:
                    x = x - length * self._guided(x, mu, token, context, cfg, zero_star)
        return x

    def _guided(self, x: Tensor, mu: Tensor, token: Tensor, context: Tensor, cfg: float, zero_star: bool) -> Tensor:
        """The velocity ``(B, C, P)`` with guidance; the unconditional half has no hidden state, only the time."""
        if cfg == 1.0:
            return self.estimator.velocity(x, mu + token, context)
        first = torch.cat((mu + token, token.expand_as(mu)))
        both = self.estimator.velocity(torch.cat((x, x)), first, torch.cat((context, context)))
        conditional, free = both.chunk(2)
        if zero_star:
            free = free * zero_star_scale(conditional.flatten(1), free.flatten(1))[..., None]
        return free + cfg * (conditional - free)

    def noised(self, data: Tensor, mu: Tensor, cond: Tensor, draws: Draws) -> Noised:
        """Drop conditions and mix ``data`` ``(b, C, T)`` with noise as ``draws`` say."""
        t = torch.sigmoid(draws.t + TIME_SHIFT)
        share = t[:, None, None]
        return Noised(
            y=(1 - share) * data + share * draws.z,
            t=t,
            mu=mu * (draws.mu_drop > self.mu_drop_rate)[:, None],
            cond=cond * (draws.cond_drop > self.cond_drop_rate)[:, None, None],
            target=draws.z - data,
        )

    def predict(self, noised: Noised, global_cond: Tensor) -> Tensor:
        """The velocity ``(b, C, T)`` of a training problem."""
        out: Tensor = self.estimator(
            noised.y, noised.mu, noised.t, noised.cond, global_cond, torch.zeros_like(noised.t)
        )
        return out

    def loss(
        self,
        data: Tensor,
        mu: Tensor,
        cond: Tensor,
        global_cond: Tensor,
        draws: Draws | torch.Generator,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the velocity over the frames of ``mask`` (all if None): 0-d.

        Args:
            data: target patches ``(b, C, T)``.
            mu: hidden states ``(b, H)``.
            cond: the patches before ``(b, C, T')``.
            global_cond: ``(b, G)``, never dropped.
            draws: the random numbers, or the generator to draw them from.
            mask: ``(b, 1, T)``, 1 for frames that count.
        """
        if isinstance(draws, torch.Generator):
            draws = Draws.of(draws, cond, data)
        noised = self.noised(data, mu, cond, draws)
        return frame_error(self.predict(noised, global_cond), noised.target, mask)


def frame_error(velocity: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Squared error of ``(b, C, T)``, averaged over channels and over the frames of ``mask`` ``(b, 1, T)``: 0-d."""
    error = (velocity.float() - target.float()).square().mean(1)  # (b, T)
    if mask is None:
        return error.mean()
    weights = mask[:, 0].to(error.dtype)
    return (error * weights).sum() / weights.sum()
