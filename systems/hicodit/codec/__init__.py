"""Codecs: speech as a grid of codes, some levels deep and 50 frames a second, each level refining those before it.

Three of them share one interface: ``dac_16k`` (:mod:`.dac`), ``maskgct`` (:mod:`.maskgct`) and, for the tiny
configuration, ``mel_rvq`` (:mod:`.mel_rvq`). Codes of one say nothing to another: a model that was trained on codes
keeps the codec's :meth:`Codec.hash`. Facts: specs/codec.md.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import UsageError

__all__ = ["Codec", "codec_hash"]


class Codec(ABC):
    """Mono waveforms in [-1, 1] to codes and back, on the device of the codec's numbers.

    ``hop``: samples of a frame, at ``sample_rate`` Hz. ``codebook_size``: codes of a level, from 0.
    """

    name: ClassVar[str]
    sample_rate: int
    hop: int
    levels: int
    codebook_size: int

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Codes ``(…, levels, L)`` int64 of ``wave`` ``(…, samples)`` float32; L = samples / hop, rounded up.

        The end of the last frame is filled with zeros.
        """
        samples = wave.shape[-1]
        batch = F.pad(wave.reshape(prod(wave.shape[:-1]), samples), (0, -samples % self.hop))
        frames = batch.shape[-1] // self.hop
        shape = (*wave.shape[:-1], self.levels, frames)
        if not prod(shape):
            return torch.zeros(shape, dtype=torch.int64, device=wave.device)
        return self._encoded(batch).reshape(shape)

    def decode(self, codes: Tensor) -> Tensor:
        """A waveform ``(…, hop * L)`` float32 of codes ``(…, levels, L)``; see :meth:`decode_levels`."""
        return self.decode_levels(codes, self.levels)

    @torch.no_grad()
    def decode_levels(self, codes: Tensor, levels: int) -> Tensor:
        """A waveform ``(…, hop * L)`` float32 that only the first ``levels`` of codes ``(…, levels, L)`` speak in.

        Raises:
            UsageError: no such levels, or no such codes.
        """
        self._check(codes, levels)
        frames = codes.shape[-1]
        batch = codes.reshape(prod(codes.shape[:-2]), codes.shape[-2], frames)[:, :levels].long()
        shape = (*codes.shape[:-2], frames * self.hop)
        if not prod(shape):
            return torch.zeros(shape, device=codes.device)
        wave = self._decoded(batch)[:, : frames * self.hop]
        return F.pad(wave, (0, frames * self.hop - wave.shape[-1])).reshape(shape)

    def hash(self) -> str:
        """What tells codes of this codec from others, in hexadecimal digits; see :func:`codec_hash`."""
        return codec_hash(self.name, self._codebooks())

    def _check(self, codes: Tensor, levels: int) -> None:
        if not 1 <= levels <= self.levels or codes.dim() < 2 or codes.shape[-2] < levels:
            raise UsageError(
                f"{levels} levels of codes {tuple(codes.shape)}: {self.name} has {self.levels}",
                "codes are (…, levels, frames).",
            )
        if not codes.numel():
            return
        least, greatest = int(codes.min()), int(codes.max())
        if least < 0 or greatest >= self.codebook_size:
            raise UsageError(
                f"codes from {least} to {greatest}: {self.name} has 0 to {self.codebook_size - 1}",
                "codes of another codec, or masked ones, cannot be decoded.",
            )

    @abstractmethod
    def _encoded(self, wave: Tensor) -> Tensor:
        """Codes ``(B, levels, L)`` of ``(B, hop * L)``."""

    @abstractmethod
    def _decoded(self, codes: Tensor) -> Tensor:
        """A waveform ``(B, about hop * L)`` of codes ``(B, n, L)``, n at most the levels."""

    @abstractmethod
    def _codebooks(self) -> Sequence[Tensor]:
        """What decides what a code stands for."""


def codec_hash(name: str, codebooks: Sequence[Tensor]) -> str:
    """SHA-256 of a codec's name and of the numbers that its codes stand for."""
    digest = hashlib.sha256(name.encode())
    for tensor in codebooks:
        plain = tensor.detach().float().cpu().contiguous()
        digest.update(str(tuple(plain.shape)).encode() + plain.numpy().tobytes())
    return digest.hexdigest()
