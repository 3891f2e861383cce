"""WavLM: the hidden states of every layer, by the names of s3prl's checkpoint (8.1).

Chen et al., "WavLM", 2022; layout of ``s3prl/s3prl: s3prl/upstream/wavlm``. Only what large models of extractor mode
``layer_norm`` with norms in front of their layers need is here. Inference alone: no dropout, no masking of frames.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bench.nets.positional_conv import PositionalConv

_EPS = 1e-5


@dataclass(frozen=True)
class WavLMConfig:
    """Names and defaults are those of WavLM-Large's ``cfg``. ``convolutions``: (width, kernel, stride) of each."""

    encoder_layers: int = 24
    encoder_embed_dim: int = 1024
    encoder_ffn_embed_dim: int = 4096
    encoder_attention_heads: int = 16
    convolutions: tuple[tuple[int, int, int], ...] = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
    conv_bias: bool = False
    conv_pos: int = 128
    conv_pos_groups: int = 16
    num_buckets: int = 320
    max_distance: int = 800
    normalize: bool = True

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> WavLMConfig:
        """From a ``cfg`` as checkpoints have it; its further keys say what is fixed here.

        Raises:
            ValueError: a WavLM of another kind (norms behind layers, no gated positions).
        """
        for key in ("layer_norm_first", "relative_position_embedding", "gru_rel_pos"):
            if not config.get(key, True):
                raise ValueError(f"WavLM with {key} off is not supported")
        if config.get("extractor_mode", "layer_norm") != "layer_norm":
            raise ValueError(f"WavLM with extractor_mode {config['extractor_mode']} is not supported")
        known = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        if "conv_feature_layers" in config:
            known["convolutions"] = convolutions_of(config["conv_feature_layers"])
        return cls(**known)


def convolutions_of(expression: str) -> tuple[tuple[int, int, int], ...]:
    """``[(512,10,5)] + [(512,3,2)] * 4`` as tuples; the text is parsed, never run.

    Raises:
        ValueError: it is not made of lists of numbers, ``+`` and ``*``.
    """

    def value(node: ast.expr) -> list[Any]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return value(node.left) + value(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return value(node.left) * int(ast.literal_eval(node.right))
        return list(ast.literal_eval(node))

    found = [tuple(int(part) for part in layer) for layer in value(ast.parse(expression.strip(), mode="eval").body)]
    if not all(len(layer) == 3 for layer in found):
        raise ValueError(f"convolutions are (width, kernel, stride), not {expression}")
    return tuple((layer[0], layer[1], layer[2]) for layer in found)


class _TransposedNorm(nn.Module):
    """Layer norm over the channels of ``(B, C, T)``, as entry 1 of a sequence."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.add_module("1", nn.LayerNorm(width, eps=_EPS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.get_submodule("1")(x.transpose(1, 2))
        return y.transpose(1, 2)


class FeatureExtractor(nn.Module):
    """Waves ``(B, N)`` to ``(B, C, T)``, one frame per 320 samples: convolution, norm, GELU."""

    def __init__(self, config: WavLMConfig) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        before = 1
        for width, kernel, stride in config.convolutions:
            conv = nn.Conv1d(before, width, kernel, stride, bias=config.conv_bias)
            # places 1 and 3 are dropout and the activation
            self.conv_layers.append(nn.ModuleDict({"0": conv, "2": _TransposedNorm(width)}))
            before = width

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        x = wave[:, None]
        for layer in self.conv_layers:
            x = F.gelu(layer["2"](layer["0"](x)))  # type: ignore[index]
        return x


class GatedAttention(nn.Module):
    """Self-attention with relative positions whose weight the query decides."""

    def __init__(self, config: WavLMConfig, with_table: bool) -> None:
        super().__init__()
        width, heads = config.encoder_embed_dim, config.encoder_attention_heads
        self.heads = heads
        self.buckets, self.farthest = config.num_buckets, config.max_distance
        self.grep_a = nn.Parameter(torch.ones(1, heads, 1, 1))
        if with_table:  # the first layer's is everybody's
            self.relative_attention_bias = nn.Embedding(config.num_buckets, heads)
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            self.add_module(name, nn.Linear(width, width))
        self.grep_linear = nn.Linear(width // heads, 8)

    def positions(self, frames: int) -> torch.Tensor:
        """``(H, T, T)``: the table's number for each query and key."""
        place = torch.arange(frames, device=self.grep_a.device)
        bucket = relative_buckets(place[None] - place[:, None], self.buckets, self.farthest)
        table: torch.Tensor = self.relative_attention_bias(bucket)
        return table.permute(2, 0, 1)

    def forward(self, x: torch.Tensor, positions: torch.Tensor, padded: torch.Tensor | None) -> torch.Tensor:
        """``x`` ``(B, T, D)``, normalised; ``padded`` ``(B, T)`` True where a frame does not exist."""
        split = self._split(x)
        gates = torch.sigmoid(self.grep_linear(split).reshape(*split.shape[:3], 2, 4).sum(-1))
        open_, kept = gates[..., :1], gates[..., 1:]
        bias = (open_ * (kept * self.grep_a - 1.0) + 2.0) * positions
        if padded is not None:
            bias = bias.masked_fill(padded[:, None, None], float("-inf"))
        q, k, v = (self._heads(name, x) for name in ("q_proj", "k_proj", "v_proj"))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: torch.Tensor = self.get_submodule("out_proj")(y.transpose(1, 2).flatten(2))
        return out

    def _heads(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.get_submodule(name)(x)
        return self._split(y)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, T, D)`` to ``(B, H, T, d)``."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def relative_buckets(distance: torch.Tensor, buckets: int, farthest: int) -> torch.Tensor:
    """The table's rows for distances key - query: one each where it is near, logarithmic steps beyond."""
    half = buckets // 2
    exact = half // 2
    size = distance.abs()
    far = exact + (
        torch.log(size.clamp_min(1).float() / exact) / math.log(farthest / exact) * (half - exact)
    ).long()  # fmt: skip
    return half * (distance > 0).long() + torch.where(size < exact, size, far.clamp_max(half - 1))


class EncoderLayer(nn.Module):
    """Attention and a GELU network, each behind a norm and beside a path around it."""

    def __init__(self, config: WavLMConfig, with_table: bool) -> None:
        super().__init__()
        width, inner = config.encoder_embed_dim, config.encoder_ffn_embed_dim
        self.self_attn = GatedAttention(config, with_table)
        self.self_attn_layer_norm = nn.LayerNorm(width, eps=_EPS)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: torch.Tensor, positions: torch.Tensor, padded: torch.Tensor | None) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), positions, padded)
        y: torch.Tensor = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + y


class Encoder(nn.Module):
    """Positions and layers; see :meth:`WavLM.hidden_states`."""

    def __init__(self, config: WavLMConfig) -> None:
        super().__init__()
        width = config.encoder_embed_dim
        self.pos_conv = nn.ModuleList([PositionalConv(width, config.conv_pos, config.conv_pos_groups)])
        self.layers = nn.ModuleList(EncoderLayer(config, place == 0) for place in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: torch.Tensor, padded: torch.Tensor | None) -> list[torch.Tensor]:
        if padded is not None:
            x = x.masked_fill(padded[..., None], 0.0)
        x = x + self.pos_conv[0](x)
        attention = self.layers[0].self_attn
        positions = attention.positions(x.shape[1])  # type: ignore[operator, union-attr]
        states = []
        for layer in self.layers:
            states.append(x)
            x = layer(x, positions, padded)
        return [*states, self.layer_norm(x)]


class WavLM(nn.Module):
    """Waves at 16 kHz to hidden states, one frame per 20 ms."""

    def __init__(self, config: WavLMConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or WavLMConfig()
        width, found = config.encoder_embed_dim, config.convolutions[-1][0]
        self.mask_emb = nn.Parameter(torch.zeros(width))  # of pre-training
        self.feature_extractor = FeatureExtractor(config)
        self.layer_norm = nn.LayerNorm(found, eps=_EPS)
        self.post_extract_proj = nn.Linear(found, width)
        self.encoder = Encoder(config)

    def hidden_states(self, waves: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The input ``(B, T, D)`` of each layer, and the normalised output of the last, of waves ``(N,)`` each.

        Shorter waves are padded with zeros, and what is padding is hidden from the others; its own frames in the
        result mean nothing.
        """
        longest = max(len(wave) for wave in waves)
        level = [F.layer_norm(wave, wave.shape, eps=_EPS) if self.config.normalize else wave for wave in waves]
        batch = torch.stack([F.pad(wave, (0, longest - len(wave))) for wave in level])
        x = self.layer_norm(self.feature_extractor(batch).transpose(1, 2))
        padded = None
        if any(len(wave) < longest for wave in waves):
            padded = _padding([len(wave) for wave in waves], longest, x.shape[1]).to(x.device)
        states: list[torch.Tensor] = self.encoder(self.post_extract_proj(x), padded)
        return states


def _padding(lengths: Sequence[int], longest: int, frames: int) -> torch.Tensor:
    """``(B, T)``: the samples that give whole blocks are dealt out evenly; a frame without any real one is padding."""
    block = longest // frames
    real = torch.tensor([-(-length // block) for length in lengths])
    return torch.arange(frames)[None] >= real[:, None]
