"""Transformer without a causal mask: the patch encoders, and the body of the diffusion heads.

Names and numerics follow ``zhenye234/Talker-T2AV: llama4nar.py``: RMS norm in the input's own type, interleaved
rotary positions, SwiGLU, no biases inside a block. Where only some positions of the output are wanted (the class
token of a patch; the noisy frames of a head), the last block computes queries and MLP for those alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

ROTARY_BASE = 10_000.0
#: Rows of the rotary table that checkpoints hold.
ROTARY_ROWS = 1024
MASKED = -1e9


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * scale`` over the last axis."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., dim)`` to the same."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.scale


class Rotary(nn.Module):
    """The table of cosines and sines, part of the state dict as buffer ``w`` ``(rows, head_dim / 2, 2)``."""

    w: Tensor

    def __init__(self, head_dim: int, base: float = ROTARY_BASE, rows: int = ROTARY_ROWS) -> None:
        super().__init__()
        speeds = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.outer(torch.arange(rows, dtype=torch.float32), speeds)
        self.register_buffer("w", torch.stack((angles.cos(), angles.sin()), -1))

    def forward(self, length: int) -> Tensor:
        """The rows of positions 0 … ``length`` - 1: ``(length, head_dim / 2, 2)``."""
        if length > self.w.shape[0]:
            raise ValueError(f"a sequence of {length} is longer than the rotary table of {self.w.shape[0]} rows")
        return self.w[:length]


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn neighbouring pairs of ``x`` ``(B, L, heads, h)`` by the angles of ``table`` ``(L, h / 2, 2)``."""
    even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = table.to(x.dtype)[:, None].unbind(-1)  # (L, 1, h / 2)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Attention(nn.Module):
    """Self-attention of all positions to all; head h of q, k and v is the h-th slice of each third of ``qkv``."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"a width of {dim} cannot be shared by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(
        self, x: Tensor, table: Tensor | None, mask: Tensor | None = None, wanted: slice | None = None
    ) -> Tensor:
        """``(B, L, D)`` to the same, or to ``(B, wanted, D)``.

        Args:
            x: the input.
            table: rotary rows ``(L, h / 2, 2)``; None: no positions.
            mask: added to the scores, broadcast to ``(B, heads, L, L)``.
            wanted: the positions whose output is needed; None: all.
        """
        width = x.shape[-1]
        if wanted is None:
            q, k, v = self._heads(self.qkv(x), 3)
        else:
            (q,) = self._heads(F.linear(x[:, wanted], self.qkv.weight[:width]), 1)
            k, v = self._heads(F.linear(x, self.qkv.weight[width:]), 2)
        if table is not None:
            q, k = rotate(q, table if wanted is None else table[wanted]), rotate(k, table)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (B, heads, L, h)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """``(B, L, parts D)`` to ``parts`` tensors ``(B, L, heads, h)``."""
        return x.view(*x.shape[:2], parts, self.heads, -1).unbind(2)


class Mlp(nn.Module):
    """SwiGLU with a hidden width of ``int(8 dim / 3)``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = int(8 * dim / 3)
        self.fc1 = nn.Linear(dim, hidden, bias=False)
        self.fc2 = nn.Linear(dim, hidden, bias=False)
        self.proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., dim)`` to the same."""
        out: Tensor = self.proj(F.silu(self.fc1(x)) * self.fc2(x))
        return out


class Block(nn.Module):
    """Attention and MLP, each on the normed input and added to it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = RMSNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = RMSNorm(dim)
        self.mlp = Mlp(dim)

    def forward(
        self, x: Tensor, table: Tensor | None, mask: Tensor | None = None, wanted: slice | None = None
    ) -> Tensor:
        """``(B, L, D)`` to the same, or to its ``wanted`` positions; the arguments are those of `Attention`."""
        kept = x if wanted is None else x[:, wanted]
        kept = kept + self.attn(self.norm1(x), table, mask, wanted)
        out: Tensor = kept + self.mlp(self.norm2(kept))
        return out


class _Stack(nn.Module):
    """Blocks with one rotary table and a final norm.

    Attributes:
        recompute: in training, keep only the inputs of the blocks and compute the rest again on the way back.
    """

    def __init__(self, input_dim: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.recompute = False
        self.input_proj = nn.Linear(input_dim, dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = RMSNorm(dim)
        self.rope = Rotary(dim // heads)

    def _through(self, x: Tensor, mask: Tensor | None, wanted: slice | None) -> Tensor:
        """Blocks and norm of projected ``x`` ``(B, L, D)``; the ``wanted`` positions only, if given."""
        table: Tensor = self.rope(x.shape[1])
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            arguments = (x, table, mask, wanted if i == last else None)
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, *arguments, use_reentrant=False)
            else:
                x = block(*arguments)
        out: Tensor = self.norm(x)
        return out


class PatchEncoder(_Stack):
    """One vector per patch: the output at a learnt token in front of the patch's frames.

    Args:
        input_dim: width of a frame.
        hidden_size: width H of the blocks and of the output.
        n_layer: the number of blocks, at least 1.
        n_head: the number of heads.
    """

    def __init__(self, input_dim: int, hidden_size: int, n_layer: int, n_head: int) -> None:
        super().__init__(input_dim, hidden_size, n_layer, n_head)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 1, hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, P, input_dim)``, T patches of P frames, to ``(B, T, H)``."""
        frames: Tensor = self.input_proj(x)
        tokens = torch.cat((self.cls_token.to(frames.dtype).expand(*frames.shape[:2], 1, -1), frames), 2)
        return self._through(tokens.flatten(0, 1), None, slice(0, 1)).view(*x.shape[:2], -1)


class ContinuousDecoder(_Stack):
    """Blocks over a sequence of vectors ``feat_dim`` wide."""

    def __init__(self, feat_dim: int, hidden_size: int, n_layer: int, n_head: int) -> None:
        super().__init__(feat_dim, hidden_size, n_layer, n_head)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """``(B, L, feat_dim)`` to ``(B, L, H)``; ``valid`` ``(B, L)``: keys that may be looked at."""
        mask = None
        if valid is not None:
            mask = torch.where(valid.bool(), 0.0, MASKED)[:, None, None].to(x.dtype)
        return self._through(self.input_proj(x), mask, None)

    def tail(self, projected: Tensor, count: int) -> Tensor:
        """The last ``count`` positions ``(B, count, H)`` for tokens that went through ``input_proj`` already."""
        length = projected.shape[1]
        return self._through(projected, None, slice(length - count, length))
