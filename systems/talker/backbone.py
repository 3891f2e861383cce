"""The autoregressive backbone: Qwen3 (arXiv 2505.09388), with the names of ``transformers`` and a cache of its own.

Decoder blocks with grouped-query attention, an RMS norm on every head's queries and keys before the rotary
embedding, and SiLU-gated feed-forward parts. Two ways through it: :meth:`Backbone.forward` reads whole sequences
(training, and the beginning of a generation), :meth:`Backbone.step` one position of each row. Both give the state
behind the last norm; the vocabulary's scores are never computed, since no word is ever predicted.

Rows of a batch stand at positions of their own. Sequences are padded on the right: attention looks back only, so
what stands behind a row's end changes nothing before it, and needs no mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, slots=True)
class BackboneConfig:
    """Sizes under the names of ``transformers``' ``Qwen3Config``; the defaults are Qwen3-0.6B."""

    hidden_size: int = 1024
    intermediate_size: int = 3072
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 128
    vocab_size: int = 151936
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    tie_word_embeddings: bool = True

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> BackboneConfig:
        """Of a ``config.json``; newer ones have the rotary base under ``rope_parameters``. Other keys are ignored."""
        rotary = values.get("rope_parameters") or {}
        known = {**rotary, **values}
        return cls(**{field.name: known[field.name] for field in fields(cls) if field.name in known})


class RMSNorm(nn.Module):
    """Root-mean-square norm of the last axis, in float32 whatever comes in."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (…, width) in its own dtype."""
        if x.dtype == torch.float32:
            return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines of some positions; their shape (…, head_dim) broadcasts against queries and keys."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, positions: Tensor, config: BackboneConfig, dtype: torch.dtype) -> Rotation:
        """For ``positions`` (…,): both (…, head_dim), each angle twice, once for either half of a head."""
        size = config.head_dim
        even = torch.arange(0, size, 2, dtype=torch.float32, device=positions.device)
        angles = positions[..., None].float() * (1.0 / config.rope_theta ** (even / size))
        angles = torch.cat((angles, angles), dim=-1)
        return cls(angles.cos().to(dtype), angles.sin().to(dtype))

    def turn(self, x: Tensor) -> Tensor:
        """``x`` (…, head_dim), turned: pairs are value i of the first half and value i of the second."""
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat((-second, first), dim=-1) * self.sin


class Cache:
    """Keys and values of all layers for a fixed number of slots and positions; nothing is allocated later.

    Attributes:
        keys, values: (layers, slots, kv heads, positions, head_dim).
    """

    def __init__(
        self, config: BackboneConfig, slots: int, positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (config.num_hidden_layers, slots, config.num_key_value_heads, positions, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def positions(self) -> int:
        """How many positions a slot has."""
        return self.keys.shape[3]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` positions of slot ``source`` to slot ``target``."""
        for kept in (self.keys, self.values):
            kept[:, target, :, :length] = kept[:, source, :, :length]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step stands: what all layers share.

    Attributes:
        rows: (n,) 0 … n-1, the slots in use.
        positions: (n,) of the tokens that come in.
        mask: (n, 1, 1, span) added to the scores: 0 for what a row may look at, else minus infinity.
        rotation: of the positions, (n, 1, head_dim).
    """

    rows: Tensor
    positions: Tensor
    mask: Tensor
    rotation: Rotation

    @property
    def span(self) -> int:
        """How many positions of the cache are looked at."""
        return self.mask.shape[-1]


class Attention(nn.Module):
    """Grouped-query attention with normalised heads."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        width, size = config.hidden_size, config.head_dim
        self.heads, self.kv_heads, self.size = config.num_attention_heads, config.num_key_value_heads, size
        self.q_proj = nn.Linear(width, self.heads * size, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * size, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * size, bias=False)
        self.o_proj = nn.Linear(self.heads * size, width, bias=False)
        self.q_norm = RMSNorm(size, config.rms_norm_eps)
        self.k_norm = RMSNorm(size, config.rms_norm_eps)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Of whole sequences ``x`` (B, T, D); ``mask`` (B, 1, T, T) or None: causal.

        Returns:
            The result (B, T, D), and the keys and values (B, kv heads, T, head_dim) for a cache.
        """
        batch, length = x.shape[:2]
        q = rotation.turn(self.q_norm(self.q_proj(x).view(batch, length, self.heads, self.size)).transpose(1, 2))
        k = rotation.turn(self.k_norm(self.k_proj(x).view(batch, length, self.kv_heads, self.size)).transpose(1, 2))
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.size).transpose(1, 2)
        groups = self.heads // self.kv_heads
        wide_k, wide_v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        y = F.scaled_dot_product_attention(q, wide_k, wide_v, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, self.heads * self.size)), k, v

    def step(self, x: Tensor, keys: Tensor, values: Tensor, place: Place) -> Tensor:
        """Of one position a row, ``x`` (n, D); the slots' ``keys`` and ``values`` get what is new.

        A key head's query heads stand side by side on the axis of queries, so nothing is repeated.
        """
        n = x.shape[0]
        q = place.rotation.turn(self.q_norm(self.q_proj(x).view(n, self.heads, self.size)))
        k = place.rotation.turn(self.k_norm(self.k_proj(x).view(n, self.kv_heads, self.size)))
        keys[place.rows, :, place.positions] = k
        values[place.rows, :, place.positions] = self.v_proj(x).view(n, self.kv_heads, self.size)
        q = q.view(n, self.kv_heads, self.heads // self.kv_heads, self.size)
        seen_k, seen_v = keys[:n, :, : place.span], values[:n, :, : place.span]
        y = F.scaled_dot_product_attention(q, seen_k, seen_v, attn_mask=place.mask)
        result: Tensor = self.o_proj(y.reshape(n, self.heads * self.size))
        return result


class FeedForward(nn.Module):
    """SiLU-gated feed-forward part."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (…, D)."""
        result: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return result


class Layer(nn.Module):
    """Attention and feed-forward part, each behind a norm and beside a shortcut."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`Attention.forward`."""
        y, k, v = self.self_attn(self.input_layernorm(x), rotation, mask)
        return self._after_attention(x + y), k, v

    def step(self, x: Tensor, keys: Tensor, values: Tensor, place: Place) -> Tensor:
        """See :meth:`Attention.step`."""
        return self._after_attention(x + self.self_attn.step(self.input_layernorm(x), keys, values, place))

    def _after_attention(self, x: Tensor) -> Tensor:
        y: Tensor = self.mlp(self.post_attention_layernorm(x))
        return x + y


class Backbone(nn.Module):
    """Token embedding, layers, last norm (``Qwen3Model``)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.checkpointing = False

    @property
    def dtype(self) -> torch.dtype:
        """What the layers are held and, outside of autocast, computed in."""
        return self.norm.weight.dtype

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """States of embedded sequences ``x`` (B, T, D), at positions 0 … T-1; keeps nothing.

        Args:
            x: embedded tokens, padded on the right.
            mask: (B, T), true for tokens that may be looked at; None: all. Rows padded on the right
                need one only where states of padding should be those of the official code.
        """
        x = x.to(self.dtype)
        rotation = Rotation.of(torch.arange(x.shape[1], device=x.device), self.config, x.dtype)
        seen = None if mask is None else _causal(mask)
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, rotation, seen, use_reentrant=False)[0]
            else:
                x = layer(x, rotation, seen)[0]
        return self._normed(x)

    def prefill(self, x: Tensor, cache: Cache, slots: Tensor) -> Tensor:
        """As :meth:`forward` without a mask, and row i's keys and values go to slot ``slots[i]`` of ``cache``."""
        x = x.to(self.dtype)
        rotation = Rotation.of(torch.arange(x.shape[1], device=x.device), self.config, x.dtype)
        for number, layer in enumerate(self.layers):
            x, k, v = layer(x, rotation, None)
            cache.keys[number, slots, :, : x.shape[1]] = k
            cache.values[number, slots, :, : x.shape[1]] = v
        return self._normed(x)

    def step(self, x: Tensor, cache: Cache, positions: Tensor, span: int) -> Tensor:
        """One token of each of the slots 0 … n-1.

        Args:
            x: (n, D) embedded tokens.
            cache: what the rows have seen; gets the tokens' keys and values.
            positions: (n,) where the tokens stand.
            span: more than the largest position; how much of the cache is looked at.

        Returns:
            (n, D), behind the last norm.
        """
        x = x.to(self.dtype)
        place = self._place(x, positions, span)
        for number, layer in enumerate(self.layers):
            x = layer.step(x, cache.keys[number], cache.values[number], place)  # type: ignore[operator]
        return self._normed(x)

    def _place(self, x: Tensor, positions: Tensor, span: int) -> Place:
        behind = torch.arange(span, device=x.device) > positions[:, None]
        mask = torch.zeros(behind.shape, dtype=x.dtype, device=x.device).masked_fill_(behind, -torch.inf)
        rotation = Rotation.of(positions[:, None], self.config, x.dtype)
        rows = torch.arange(len(x), device=x.device)
        return Place(rows, positions, mask[:, None, None], rotation)

    def _normed(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x)
        return y


def _causal(mask: Tensor) -> Tensor:
    """(B, 1, T, T) true where a query may look: back, at tokens of ``mask`` (B, T); at itself if it sees nothing."""
    length = mask.shape[1]
    back = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril_()
    seen = mask.bool()[:, None, :] & back
    itself = torch.eye(length, dtype=torch.bool, device=mask.device)
    return (seen | (itself & ~seen.any(2, keepdim=True)))[:, None]


class LanguageModel(nn.Module):
    """The backbone under the names of ``Qwen3ForCausalLM``; its head is in every file and never used."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.lm_head.weight.requires_grad_(False)
        if config.tie_word_embeddings:
            self.tie()

    def tie(self) -> None:
        """One tensor for head and embedding; to be called again where tensors were put in place of others.

        The head is never trained, and so neither is an embedding that is the same tensor.
        """
        self.lm_head.weight = self.model.embed_tokens.weight.requires_grad_(False)
