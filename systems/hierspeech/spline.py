"""Monotonic rational-quadratic splines with linear tails (Durkan et al. 2019, arXiv 1906.04032).

Outside of [-bound, bound] the function is the identity. Inside it goes through K + 1 knots with given slopes;
at both ends the slope is 1, so that the tails join smoothly. Everything is computed for all inputs and
chosen afterwards, so no input need lie inside.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

#: Added to the last knot when bins are looked up, so that the right end belongs to the last bin.
_LAST_KNOT_EPS = 1e-6


class _Bins(NamedTuple):
    """Left edge, bottom, width, height and the slopes at both sides of the bin of each input."""

    left: Tensor
    bottom: Tensor
    width: Tensor
    height: Tensor
    slope_left: Tensor
    slope_right: Tensor


def rational_quadratic_spline(
    x: Tensor,
    widths: Tensor,
    heights: Tensor,
    derivatives: Tensor,
    *,
    reverse: bool = False,
    bound: float = 5.0,
    minimum: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """The spline's values at ``x`` and the logarithms of its slopes there; or both for the inverse.

    Args:
        x: any shape ``(…)``.
        widths: raw widths of the K bins, ``(…, K)``; a softmax makes them positive.
        heights: raw heights, ``(…, K)``.
        derivatives: raw slopes at the K - 1 inner knots, ``(…, K - 1)``; a softplus makes them positive.
        reverse: the inverse function.
        bound: half the width of the range that is not the identity.
        minimum: the least width, height (both as parts of the whole) and slope.

    Returns:
        Values and log slopes, each of ``x``'s shape.
    """
    knots_x = _knots(widths, bound, minimum)
    knots_y = _knots(heights, bound, minimum)
    end = math.log(math.expm1(1 - minimum))  # softplus and minimum make a slope of 1 of it
    slopes = minimum + F.softplus(F.pad(derivatives, (1, 1), value=end))
    inside = (x >= -bound) & (x <= bound)
    within = x.clamp(-bound, bound)
    bins = _bins_of(within, knots_y if reverse else knots_x, knots_x, knots_y, slopes)
    y, log_slope = _inverse(within, bins) if reverse else _forward(within, bins)
    return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)


def _knots(raw: Tensor, bound: float, minimum: float) -> Tensor:
    """``(…, K)`` raw sizes to K + 1 positions from -bound to bound."""
    parts = minimum + (1 - minimum * raw.shape[-1]) * raw.softmax(-1)
    inner = 2 * bound * parts.cumsum(-1)[..., :-1] - bound
    ends = torch.full_like(raw[..., :1], bound)  # exact, whatever the sum is
    return torch.cat([-ends, inner, ends], dim=-1)


def _bins_of(x: Tensor, searched: Tensor, knots_x: Tensor, knots_y: Tensor, slopes: Tensor) -> _Bins:
    edges = torch.cat([searched[..., :-1], searched[..., -1:] + _LAST_KNOT_EPS], dim=-1)
    index = (x.unsqueeze(-1) >= edges).sum(-1, keepdim=True) - 1  # (…, 1)

    def at(values: Tensor, offset: int = 0) -> Tensor:
        return values.gather(-1, index + offset).squeeze(-1)

    left, bottom = at(knots_x), at(knots_y)
    return _Bins(left, bottom, at(knots_x, 1) - left, at(knots_y, 1) - bottom, at(slopes), at(slopes, 1))


def _forward(x: Tensor, bins: _Bins) -> tuple[Tensor, Tensor]:
    theta = (x - bins.left) / bins.width
    between = theta * (1 - theta)
    delta = bins.height / bins.width
    denominator = delta + (bins.slope_left + bins.slope_right - 2 * delta) * between
    y = bins.bottom + bins.height * (delta * theta**2 + bins.slope_left * between) / denominator
    return y, _log_slope(theta, between, delta, denominator, bins)


def _inverse(y: Tensor, bins: _Bins) -> tuple[Tensor, Tensor]:
    delta = bins.height / bins.width
    bend = bins.slope_left + bins.slope_right - 2 * delta
    above = y - bins.bottom
    # a theta^2 + b theta + c = 0; the root is taken in the form that does not cancel
    a = above * bend + bins.height * (delta - bins.slope_left)
    b = bins.height * bins.slope_left - above * bend
    c = -delta * above
    root = (b**2 - 4 * a * c).clamp(min=0).sqrt()
    theta = 2 * c / (-b - root)
    between = theta * (1 - theta)
    log_slope = _log_slope(theta, between, delta, delta + bend * between, bins)
    return theta * bins.width + bins.left, -log_slope


def _log_slope(theta: Tensor, between: Tensor, delta: Tensor, denominator: Tensor, bins: _Bins) -> Tensor:
    rise = bins.slope_right * theta**2 + 2 * delta * between + bins.slope_left * (1 - theta) ** 2
    return (delta**2 * rise).log() - 2 * denominator.log()
