"""Normalising flow of mean-only couplings whose shift comes from Transformer blocks with adaptive layer norm.

Blocks: DiT with adaLN-Zero (Peebles and Xie 2023, arXiv 2212.09748) and a convolution in the MLP; couplings as in
VITS. Names follow ``sh-lee-prml/HierSpeechpp: ttv_v1/modules.py, modules.py``. Text-to-vec uses 4 heads, the
synthesizer 2.

The official blocks do not hide padding: in a padded batch, padded frames enter attention and the MLP's
convolution, and training has always been so. ``isolate`` hides them, which gives every item what it
gets alone; use it for inference in batches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.hierspeech.sequence import is_padded

_NORM_EPS = 1e-6
_MLP_RATIO = 4
_MLP_KERNEL = 5  # whatever kernel the official constructors are given


class Attention(nn.Module):
    """Multi-head self-attention of ``(B, T, C)`` in the manner of ViT: one projection ``qkv``, one ``proj``."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """``(B, T, C)`` to the same; ``keys`` ``(B, 1, 1, T)``, bool: what may be looked at; None: everything."""
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, W)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        out: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return out


class ConvMlp(nn.Module):
    """A convolution to 4 C channels, GELU (tanh form), and a pointwise one back; on ``(B, T, C)``."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Conv1d(channels, _MLP_RATIO * channels, _MLP_KERNEL, padding=_MLP_KERNEL // 2)
        self.fc2 = nn.Conv1d(_MLP_RATIO * channels, channels, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, T, C)`` to the same, 0 outside of ``mask`` ``(B, 1, T)``; the input is taken as it is."""
        y = self.drop(F.gelu(self.fc1(x.transpose(1, 2)), approximate="tanh"))
        out: Tensor = self.drop(self.fc2(y * mask) * mask).transpose(1, 2)
        return out


class DiTBlock(nn.Module):
    """Attention and MLP on ``(B, T, C)``, each shifted, scaled and gated by a condition of the whole item."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attn = Attention(channels, heads)
        self.mlp = ConvMlp(channels, dropout)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 6 * channels))

    def forward(self, x: Tensor, c: Tensor, mask: Tensor, isolate: bool = False) -> Tensor:
        """``(B, T, C)`` to the same.

        Args:
            x: the sequence.
            c: the condition ``(B, C)``.
            mask: ``(B, 1, T)``.
            isolate: hide padded frames from attention and convolution.
        """
        steps = mask.transpose(1, 2)  # (B, T, 1)
        x = x * steps
        modulation = self.adaLN_modulation(c).unsqueeze(1).chunk(6, dim=2)  # each (B, 1, C)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation
        inner = _norm(x) * steps * (1 + scale_a) + shift_a
        x = x + gate_a * self.attn(inner, (mask != 0).unsqueeze(1) if isolate else None) * steps
        inner = _norm(x) * (1 + scale_m) + shift_m
        out: Tensor = x + gate_m * self.mlp(inner * steps if isolate else inner, mask)
        return out


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=_NORM_EPS)


class Coupling(nn.Module):
    """Adds to the second half of the channels what ``n_layers`` blocks make of the first half.

    It begins as the identity: ``post`` and the blocks' modulations are 0.
    """

    def __init__(self, channels: int, hidden_channels: int, n_layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"a coupling needs an even number of channels, not {channels}")
        self.pre = nn.Conv1d(channels // 2, hidden_channels, 1)
        self.enc_block = nn.ModuleList(DiTBlock(hidden_channels, heads, dropout) for _ in range(n_layers))
        self.post = nn.Conv1d(hidden_channels, channels // 2, 1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        blocks = [module for module in self.modules() if isinstance(module, DiTBlock)]
        for last in [self.post, *(block.adaLN_modulation[1] for block in blocks)]:
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def shift(self, x0: Tensor, mask: Tensor, c: Tensor, isolate: bool) -> Tensor:
        """What is added to the second half, ``(B, channels / 2, T)``, from the first."""
        h = (self.pre(x0) * mask).transpose(1, 2)  # (B, T, hidden)
        for block in self.enc_block:
            h = block(h, c, mask, isolate)
        shift: Tensor = self.post(h.transpose(1, 2)) * mask
        return shift

    def forward(self, x: Tensor, mask: Tensor, c: Tensor, reverse: bool = False, isolate: bool = False) -> Tensor:
        """``(B, channels, T)`` to the same; the determinant is 1 in both directions."""
        x0, x1 = x.chunk(2, dim=1)
        shift = self.shift(x0, mask, c, isolate)
        x1 = (x1 - shift) * mask if reverse else shift + x1 * mask
        return torch.cat([x0, x1], dim=1)


class Flip(nn.Module):
    """Reverses the order of the channels; its own inverse."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` to the same."""
        return x.flip(1)


class TransformerFlow(nn.Module):
    """``n_flows`` couplings, each followed by a flip of the channels (``ResidualCouplingBlock_Transformer``).

    Args:
        channels: of the latent, even.
        hidden_channels: width of the blocks.
        n_layers: blocks per coupling.
        n_flows: couplings.
        gin_channels: channels of the style g.
        heads: of the attention.
        dropout: inside the MLPs.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        n_layers: int = 3,
        n_flows: int = 4,
        gin_channels: int = 256,
        heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.cond_block = nn.Sequential(
            nn.Linear(gin_channels, 4 * hidden_channels), nn.SiLU(), nn.Linear(4 * hidden_channels, hidden_channels)
        )
        self.flows = nn.ModuleList()
        for _ in range(n_flows):
            self.flows.append(Coupling(channels, hidden_channels, n_layers, heads, dropout))
            self.flows.append(Flip())

    def forward(self, x: Tensor, mask: Tensor, g: Tensor, *, reverse: bool = False, isolate: bool = False) -> Tensor:
        """``(B, channels, T)`` to the same.

        Args:
            x: the latent.
            mask: ``(B, 1, T)``.
            g: the style ``(B, gin, 1)``.
            reverse: towards the data instead of towards the prior.
            isolate: every item as if it were alone; False is the official behaviour (see the module).
        """
        c = self.cond_block(g.squeeze(2))
        isolate = isolate and is_padded(mask)
        for flow in reversed(self.flows) if reverse else self.flows:
            x = flow(x) if isinstance(flow, Flip) else flow(x, mask, c, reverse, isolate)
        return x
