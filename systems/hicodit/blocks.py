"""The transformer's block: rotary attention and feed-forward layer, each under adaptive layer normalisation.

A block has two branches. The input of branch i is ``(1 + gamma_i) * LN(h) + beta_i`` and its output enters the
residual times ``alpha_i``; the six vectors come from one linear layer. In a high block the input is multiplied by a
second, temporal factor: one number per emotion step (arXiv 2604.15923, section 3; arXiv 2212.09748 for the gates).

What depends on conditions and times alone is computed apart from the block's pass (:meth:`Block.modulation`,
:meth:`Block.factors`), so that a sampler computes it once.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST_PERIOD = 10_000.0
EPS = 1e-6
#: Rows of a modulation: shift, scale and gate of the attention, then of the feed-forward branch.
MODULATIONS = 6


@lru_cache(maxsize=16)
def rotary_table(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines ``(length, size)`` of the rotation of heads of ``size`` channels.

    Channel j is paired with channel ``j + size/2``, and both turn by position times ``10000 ** (-2j/size)``. The sines
    of the first half are negative, so that the rotation is ``x * cos + roll(x, size/2) * sin``.
    """
    with torch.inference_mode(False):  # a table that sampling made serves training too
        speeds = LONGEST_PERIOD ** (-torch.arange(0, size, 2, dtype=torch.float32, device=device) / size)
        angles = torch.arange(length, dtype=torch.float32, device=device)[:, None] * speeds
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """``(..., L, size)`` turned by its positions."""
    cos, sin = table
    return x * cos.to(x.dtype) + x.roll(x.shape[-1] // 2, -1) * sin.to(x.dtype)


def adaptive_norm(h: Tensor, gamma: Tensor, beta: Tensor, tau: Tensor | None = None, eps: float = EPS) -> Tensor:
    """``tau * ((1 + gamma) * LN(h) + beta)``.

    Args:
        h: ``(B, L, C)``.
        gamma: scale ``(B, 1, C)``.
        beta: shift ``(B, 1, C)``.
        tau: temporal factor ``(B, L)``; None: 1 (the single scale of the low blocks).
        eps: added to the variance over channels.
    """
    out = torch.addcmul(beta, F.layer_norm(h, h.shape[-1:], eps=eps), 1 + gamma)
    return out if tau is None else tau[..., None] * out


def per_frame(steps: Tensor, stride: int, length: int) -> Tensor:
    """Values ``(B, J, ...)`` of emotion steps, each for ``stride`` codec frames: ``(B, length, ...)``."""
    if steps.shape[1] * stride < length:
        raise ValueError(f"{steps.shape[1]} emotion steps do not last for {length} codec frames")
    return steps.repeat_interleave(stride, 1)[:, :length]


class Block(nn.Module):
    """One block of a stack.

    Args:
        width: channels C.
        heads: attention heads.
        ratio: width of the feed-forward layer over C.
        dropout: of the branches' outputs, in training.
        dual_scale: whether the block has temporal factors.
    """

    def __init__(self, width: int, heads: int, ratio: int, dropout: float, dual_scale: bool) -> None:
        super().__init__()
        self.heads = heads
        self.ada = nn.Linear(width, MODULATIONS * width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, ratio * width), nn.GELU(approximate="tanh"), nn.Linear(ratio * width, width)
        )
        self.temporal = (
            nn.Sequential(nn.Linear(width, width // 4), nn.SiLU(), nn.Linear(width // 4, 2)) if dual_scale else None
        )
        self.drop = nn.Dropout(dropout)

    def modulation(self, g: Tensor) -> Tensor:
        """Conditions ``(..., C)`` to the six vectors beta, gamma, alpha of both branches: ``(..., 6, C)``."""
        out: Tensor = self.ada(g)
        return out.reshape(*g.shape[:-1], MODULATIONS, g.shape[-1])

    def factors(self, q: Tensor) -> Tensor | None:
        """Emotion steps with time ``(..., J, C)`` to the factors of both branches ``(..., J, 2)``; None without."""
        return None if self.temporal is None else self.temporal(q)

    def forward(
        self,
        h: Tensor,
        modulation: Tensor,
        factors: Tensor | None,
        keys: Tensor | None,
        frames: Tensor | None = None,
    ) -> Tensor:
        """The block's output ``(B, L, C)``, or ``(B, Q, C)`` where only some frames of it are wanted.

        Args:
            h: ``(B, L, C)``.
            modulation: ``(B, 6, C)``.
            factors: temporal factors of both branches ``(B, L, 2)``, or None.
            keys: which frames may be attended to, ``(B, 1, 1, L)`` bool; None: all.
            frames: the wanted frames of each row, ``(B, Q)`` int64; None: all, in order.
        """
        beta1, gamma1, alpha1, beta2, gamma2, alpha2 = modulation.unsqueeze(2).unbind(1)
        tau1, tau2 = (None, None) if factors is None else factors.unbind(-1)
        branch = self._attend(adaptive_norm(h, gamma1, beta1, tau1), keys, frames)
        if frames is not None:
            h, tau2 = take_frames(h, frames), None if tau2 is None else tau2.gather(1, frames)
        h = torch.addcmul(h, alpha1, self.drop(branch))
        return torch.addcmul(h, alpha2, self.drop(self.mlp(adaptive_norm(h, gamma2, beta2, tau2))))

    def _attend(self, x: Tensor, keys: Tensor | None, frames: Tensor | None) -> Tensor:
        """Rotary attention of ``(B, L, C)``; the queries are all frames, or the wanted ones."""
        length, width = x.shape[1:]
        table = rotary_table(length, width // self.heads, x.device)
        if frames is None:
            query, key, value = self._heads(self.qkv(x), 3)
            query = rotate(query, table)
        else:
            key, value = self._heads(F.linear(x, self.qkv.weight[width:]), 2)
            (query,) = self._heads(F.linear(take_frames(x, frames), self.qkv.weight[:width]), 1)
            cos, sin = table
            query = rotate(query, (cos[frames][:, None], sin[frames][:, None]))
        attended = F.scaled_dot_product_attention(query, rotate(key, table), value, keys)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """``(B, L, parts * C)`` to ``parts`` tensors ``(B, heads, L, C / heads)``."""
        return x.view(*x.shape[:2], parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def blocks_of(stack: nn.ModuleList) -> list[Block]:
    """The blocks of a stack, by their type."""
    return [block for block in stack if isinstance(block, Block)]


def take_frames(x: Tensor, frames: Tensor) -> Tensor:
    """Frames ``(B, Q)`` of ``(B, L, C)``: ``(B, Q, C)``."""
    return x.gather(1, frames[..., None].expand(-1, -1, x.shape[2]))
