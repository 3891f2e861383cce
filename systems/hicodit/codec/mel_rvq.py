"""``mel_rvq``: the codec of the tiny configuration, a residual quantiser of log-mel frames without a network.

A learnt waveform codec is not intelligible after minutes of training on a CPU; this one is fitted in seconds
(:mod:`bench.systems.hicodit.training.codec`) and has the same grid: two log-mel frames of 10 ms are one vector of
20 ms. :mod:`bench.media.log_mel` makes them and makes sound of them. Facts: specs/codec.md, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.media import log_mel
from bench.media.log_mel import LogMelConfig
from bench.systems.hicodit.codec import Codec

LEAST_DEVIATION = 0.1


@dataclass(frozen=True, slots=True)
class MelRvqSizes:
    """``stack``: log-mel frames of one vector."""

    levels: int = 4
    codes: int = 256
    stack: int = 2
    mel: LogMelConfig = field(default_factory=LogMelConfig)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.stack * self.mel.n_mels


class MelRvq(nn.Module):
    """Statistics of the vectors, and one codebook per level in deviations of them."""

    mean: Tensor
    std: Tensor

    def __init__(self, sizes: MelRvqSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or MelRvqSizes()
        self.register_buffer("mean", torch.zeros(sizes.width))
        self.register_buffer("std", torch.ones(sizes.width))
        self.codebooks = nn.Parameter(torch.zeros(sizes.levels, sizes.codes, sizes.width))

    def vectors(self, wave: Tensor) -> Tensor:
        """``(B, L, width)`` in nats of ``wave`` ``(B, T)``; its end is padded with zeros to whole vectors."""
        sizes = self.sizes
        mel = log_mel.log_mel(log_mel.padded(wave, sizes.stack * sizes.mel.hop_length), sizes.mel)
        return mel.reshape(len(mel), -1, sizes.width)

    def standardised(self, vectors: Tensor) -> Tensor:
        """Vectors ``(…, width)`` in deviations."""
        return (vectors - self.mean) / self.std

    def codes_of(self, vectors: Tensor) -> Tensor:
        """Codes ``(…, levels, L)`` int64 of vectors ``(…, L, width)`` in nats."""
        left, codes = self.standardised(vectors), []
        for codebook in self.codebooks:
            codes.append(nearest(left, codebook)[0])
            left = left - codebook[codes[-1]]
        return torch.stack(codes, dim=-2)

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Vectors ``(…, L, width)`` in nats of the first levels' codes ``(…, n, L)``."""
        parts = [self.codebooks[level][one] for level, one in enumerate(codes.unbind(-2))]
        return torch.stack(parts).sum(0) * self.std + self.mean

    def mel_of(self, codes: Tensor) -> Tensor:
        """Log-mel frames ``(…, stack * L, n_mels)`` in nats of codes ``(…, n, L)``."""
        vectors = self.vectors_of(codes)
        return vectors.reshape(*vectors.shape[:-2], -1, self.sizes.mel.n_mels)


class MelRvqCodec(Codec):
    """:class:`MelRvq` by the codecs' interface. ``seed``: of the phases that a waveform begins with."""

    name = "mel_rvq"

    def __init__(self, network: MelRvq, seed: int = 0) -> None:
        sizes = network.sizes
        self.network, self._seed = network, seed
        self.sample_rate, self.hop = sizes.mel.sample_rate, sizes.stack * sizes.mel.hop_length
        self.levels, self.codebook_size = sizes.levels, sizes.codes

    def _encoded(self, wave: Tensor) -> Tensor:
        return self.network.codes_of(self.network.vectors(wave))

    def _decoded(self, codes: Tensor) -> Tensor:
        return log_mel.inverted(self.network.mel_of(codes), self.network.sizes.mel, self._seed)

    def _codebooks(self) -> Sequence[Tensor]:
        return self.network.mean, self.network.std, self.network.codebooks


def nearest(vectors: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest row of ``(K, width)`` to each of ``(…, width)``: its index, the first of equals, and |distance|²."""
    cross = codebook.square().sum(-1) - 2 * vectors @ codebook.T  # |x|² is the same for all
    least, index = cross.min(dim=-1)
    return index, (least + vectors.square().sum(-1)).clamp_min(0)
