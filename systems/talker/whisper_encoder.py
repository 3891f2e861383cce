"""The encoder of Whisper in own code, with the official names; its text decoder is checked and never made.

Facts: specs/talker.md 6.5 (``openai-whisper`` 20250625: ``whisper/model.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import UsageError

_MLP = 4  # times the width, inside a block
_LONGEST_WAVE = 10_000.0  # of the sinusoids, in steps of 2 pi


@dataclass(frozen=True, slots=True)
class WhisperDims:
    """Sizes by the names of the package; the defaults are those of large-v3."""

    n_mels: int = 128
    n_audio_ctx: int = 1500
    n_audio_state: int = 1280
    n_audio_head: int = 20
    n_audio_layer: int = 32
    n_vocab: int = 51866
    n_text_ctx: int = 448
    n_text_state: int = 1280
    n_text_head: int = 20
    n_text_layer: int = 32


class Attention(nn.Module):
    """Self-attention over all positions; the key has no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C)`` to the same shape."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        y: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return y


class EncoderLayer(nn.Module):
    """Attention and a two-layer network, each behind a layer norm and beside the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, _MLP * width), nn.GELU(), nn.Linear(_MLP * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C)`` to the same shape."""
        x = x + self.attn(self.attn_ln(x))
        y: Tensor = x + self.mlp(self.mlp_ln(x))
        return y


class WhisperEncoder(nn.Module):
    """Log-mel frames to features at half their rate."""

    positional_embedding: Tensor

    def __init__(self, dims: WhisperDims) -> None:
        super().__init__()
        width = dims.n_audio_state
        self.conv1 = nn.Conv1d(dims.n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", sinusoids(dims.n_audio_ctx, width))
        self.blocks = nn.ModuleList(EncoderLayer(width, dims.n_audio_head) for _ in range(dims.n_audio_layer))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        """Features ``(B, n_audio_ctx, C)`` of ``mel`` ``(B, n_mels, 2 n_audio_ctx)``.

        Raises:
            UsageError: another number of frames.
        """
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        if x.shape[1:] != self.positional_embedding.shape:
            wanted = 2 * self.positional_embedding.shape[0]
            raise UsageError(f"Whisper's encoder wants {wanted} frames, not {mel.shape[-1]}", "pad or cut the audio.")
        x = x + self.positional_embedding
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.ln_post(x)
        return y


def sinusoids(length: int, channels: int) -> Tensor:
    """Positions ``(length, channels)``: sines, then cosines, of geometrically spaced wave lengths."""
    step = math.log(_LONGEST_WAVE) / (channels // 2 - 1)
    rates = torch.exp(-step * torch.arange(channels // 2, dtype=torch.float32))
    angles = torch.arange(length, dtype=torch.float32)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class UnusedTextDecoder(nn.Module):
    """Stands where Whisper's text decoder is in the file: nothing of it is used, so no tensor is made.

    Loading checks the names and shapes of its tensors, as for any module, and drops them; a state without any of
    them is accepted too (one that was saved from here).
    """

    def __init__(self, dims: WhisperDims) -> None:
        super().__init__()
        self._dims = dims

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all tensors of the official module."""
        dims, width = self._dims, self._dims.n_text_state
        found: dict[str, tuple[int, ...]] = {
            "positional_embedding": (dims.n_text_ctx, width),
            "token_embedding.weight": (dims.n_vocab, width),
        }
        for i in range(dims.n_text_layer):
            found |= {f"blocks.{i}.{name}": shape for name, shape in _decoder_layer(width).items()}
        return found | _norm("ln", width)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """What :meth:`torch.nn.Module.load_state_dict` asks of each module."""
        wanted = {prefix + name: shape for name, shape in self.shapes().items()}
        given = {name: tuple(tensor.shape) for name, tensor in state_dict.items() if name.startswith(prefix)}
        if not given or not strict:
            return
        missing_keys.extend(name for name in wanted if name not in given)
        unexpected_keys.extend(name for name in given if name not in wanted)
        error_msgs.extend(
            f"size mismatch for {name}: {given[name]} in the file, {shape} in Whisper's text decoder"
            for name, shape in wanted.items()
            if name in given and given[name] != shape
        )


def _decoder_layer(width: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for attention in ("attn", "cross_attn"):
        for part in ("query", "key", "value", "out"):
            found[f"{attention}.{part}.weight"] = (width, width)
            if part != "key":
                found[f"{attention}.{part}.bias"] = (width,)
        found |= _norm(f"{attention}_ln", width)
    found |= {"mlp.0.weight": (_MLP * width, width), "mlp.0.bias": (_MLP * width,)}
    found |= {"mlp.2.weight": (width, _MLP * width), "mlp.2.bias": (width,)}
    return found | _norm("mlp_ln", width)


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


class SemanticModel(nn.Module):
    """Whisper as it lies in the file: ``encoder``, and ``decoder`` for its names alone."""

    def __init__(self, dims: WhisperDims) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(dims)
        self.decoder = UnusedTextDecoder(dims)
