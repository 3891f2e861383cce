"""Whisper's network: laid out without numbers, and its text decoder one step at a time.

The module is the package's own (``openai/whisper: whisper/model.py``), so that names and arithmetic are
the official ones. :class:`Steps` runs its text decoder with the keys and values of earlier tokens
kept in one buffer per layer, instead of hooks that join tensors anew for every token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from whisper.model import AudioEncoder, ModelDimensions, MultiHeadAttention, TextDecoder, Whisper


class Network(Whisper):  # type: ignore[misc]
    """The package's module laid out on the ``meta`` device: names and shapes, no numbers.

    Its constructor is not called: it would draw initial values for 1.5 thousand million numbers, and
    mark attention heads for word timings, which no protocol uses.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        nn.Module.__init__(self)
        self.dims = d = ModelDimensions(**dims)
        with torch.device("meta"):
            self.encoder = AudioEncoder(d.n_mels, d.n_audio_ctx, d.n_audio_state, d.n_audio_head, d.n_audio_layer)
            self.decoder = TextDecoder(d.n_vocab, d.n_text_ctx, d.n_text_state, d.n_text_head, d.n_text_layer)

    def on_cpu(self) -> Network:
        """Itself with room for its numbers, which are undefined; the causal mask alone is no part of its state."""
        self.to_empty(device="cpu")
        self.decoder.mask.fill_(-torch.inf).triu_(1)
        return self


def set_precision(model: Whisper, dtype: torch.dtype) -> Whisper:
    """Matrices in ``dtype``, once; the module itself would convert them in every call.

    Embeddings and layer norms stay in float32, in which the module uses them.
    """
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Conv1d):
            part.to(dtype)
    return model


class Steps:
    """The text decoder over ``B`` windows at once; every row has heard as many tokens as the others.

    ``features``: encoded windows, each (1, S, C). Cross-attention keys and values are computed window by
    window, so that they do not depend on what else is in the batch.
    """

    def __init__(self, model: Whisper, features: Sequence[Tensor], length: int) -> None:
        self._decoder = model.decoder
        self._dtype = features[0].dtype
        self._to_vocabulary = model.decoder.token_embedding.weight.to(self._dtype)  # (V, C); itself in float32
        self._heard = 0
        rows, width, heads = len(features), model.dims.n_text_state, model.dims.n_text_head
        shape = (rows, heads, length, width // heads)
        self._cross = [self._hear(block.cross_attn, features) for block in self._decoder.blocks]
        self._own = [tuple(features[0].new_empty(shape) for _ in range(2)) for _ in self._decoder.blocks]

    @staticmethod
    def _hear(attention: MultiHeadAttention, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, D) of all windows, in this order in memory too: every token reads them."""
        pairs = [(_split(attention, attention.key(x)), _split(attention, attention.value(x))) for x in features]
        return torch.cat([k for k, _ in pairs]), torch.cat([v for _, v in pairs])

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (n,) alone."""
        self._cross = [(k[rows], v[rows]) for k, v in self._cross]
        self._own = [tuple(buffer[rows] for buffer in pair) for pair in self._own]

    def __call__(self, tokens: Tensor) -> Tensor:
        """Float32 logits (B, n, V) after each of the next ``n`` tokens (B, n); n > 1 only in the first call."""
        start, end = self._heard, self._heard + tokens.shape[1]
        x = self._decoder.token_embedding(tokens) + self._decoder.positional_embedding[start:end]
        x = x.to(self._dtype)  # (B, n, C)
        for block, (keys, values), cross in zip(self._decoder.blocks, self._own, self._cross, strict=True):
            attention, y = block.attn, block.attn_ln(x)
            keys[:, :, start:end] = _split(attention, attention.key(y))
            values[:, :, start:end] = _split(attention, attention.value(y))
            query = _split(attention, attention.query(y))
            said = scaled_dot_product_attention(query, keys[:, :, :end], values[:, :, :end], is_causal=end - start > 1)
            x = x + attention.out(_join(said))
            attention, y = block.cross_attn, block.cross_attn_ln(x)
            heard = scaled_dot_product_attention(_split(attention, attention.query(y)), *cross)
            x = x + attention.out(_join(heard))
            x = x + block.mlp(block.mlp_ln(x))
        self._heard = end
        return linear(self._decoder.ln(x), self._to_vocabulary).float()


def _split(attention: MultiHeadAttention, x: Tensor) -> Tensor:
    """(B, n, C) to (B, heads, n, D)."""
    return x.view(*x.shape[:2], attention.n_head, -1).transpose(1, 2)


def _join(x: Tensor) -> Tensor:
    """(B, heads, n, D) to (B, n, C)."""
    return x.transpose(1, 2).flatten(2)
