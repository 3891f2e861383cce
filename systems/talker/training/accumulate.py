"""One loss of several batches, of which only one's activations are ever in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def accumulated(losses: Sequence[Callable[[], Tensor]], parameters: Sequence[nn.Parameter]) -> Tensor:
    """The mean of ``losses``, 0-d each. Gradients with respect to ``parameters`` are computed now, one loss after the
    other, and handed out when the mean is differentiated; with a single loss nothing is special.

    In 16-bit floats without a wide exponent small gradients may vanish, since no scale is applied to them.
    """
    if len(losses) == 1:
        return losses[0]()
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    found: Tensor = _Accumulated.apply(losses, *learning)  # type: ignore[no-untyped-call]
    return found


class _Accumulated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Sequence[Callable[[], Tensor]], *parameters: nn.Parameter) -> Tensor:
        sums: list[Tensor | None] = [None] * len(parameters)
        total = torch.zeros((), device=parameters[0].device)
        for make in losses:
            with torch.enable_grad():
                loss = make() / len(losses)
            total += loss.detach()
            for place, gradient in enumerate(torch.autograd.grad(loss, parameters, allow_unused=True)):
                held = sums[place]
                if gradient is not None:
                    sums[place] = gradient if held is None else held + gradient
        ctx.gradients = sums
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(None if gradient is None else gradient * outer[0] for gradient in ctx.gradients))
