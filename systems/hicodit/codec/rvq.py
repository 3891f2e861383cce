"""Factorised residual vector quantisation: each level looks up, in a few dimensions, what the levels before leave over.

A code is found by angle, the row that is looked up keeps its length. Facts: specs/codec.md 1.4
(``descriptinc/descript-audio-codec: dac/nn/quantize.py``; Amphion's has other names for the same, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.weight_norm import WNConv1d


@dataclass(frozen=True, slots=True)
class RvqSizes:
    """``width`` of what is quantised, ``code_width`` of a codebook's rows.

    ``names``: what the published files call the two projections. ``by_angle``: compare directions, not places.
    """

    width: int
    levels: int = 12
    codes: int = 1024
    code_width: int = 8
    names: tuple[str, str] = ("in_proj", "out_proj")
    by_angle: bool = True


class Quantised(NamedTuple):
    """What the levels make of ``(B, width, L)``.

    ``values`` ``(B, width, L)``: their sum. ``codes`` ``(B, levels, L)`` int64. ``latents``
    ``(B, levels * code_width, L)``: what was looked up. ``commitment`` and ``codebook``: the mean squared errors that
    pull latents to rows and rows to latents.
    """

    values: Tensor
    codes: Tensor
    latents: Tensor
    commitment: Tensor
    codebook: Tensor


class VectorQuantizer(nn.Module):
    """One level: a projection to ``code_width``, a codebook, a projection back."""

    def __init__(self, sizes: RvqSizes) -> None:
        super().__init__()
        self._sizes = sizes
        self.add_module(sizes.names[0], WNConv1d(sizes.width, sizes.code_width, 1))
        self.codebook = nn.Embedding(sizes.codes, sizes.code_width)
        self.add_module(sizes.names[1], WNConv1d(sizes.code_width, sizes.width, 1))

    def latent(self, values: Tensor) -> Tensor:
        """``(B, width, L)`` to ``(B, code_width, L)``."""
        latent: Tensor = self.get_submodule(self._sizes.names[0])(values)
        return latent

    def distances(self, latent: Tensor) -> Tensor:
        """Squared distances ``(B, L, codes)`` of ``(B, code_width, L)`` to the rows."""
        rows, looked = self.codebook.weight, latent.transpose(1, 2)
        if self._sizes.by_angle:
            rows, looked = F.normalize(rows), F.normalize(looked, dim=-1)
        squares = looked.square().sum(-1, keepdim=True), rows.square().sum(-1)
        return squares[0] - 2 * looked @ rows.T + squares[1]

    def lookup(self, latent: Tensor) -> Tensor:
        """The codes ``(B, L)`` of ``(B, code_width, L)``; the first of equals."""
        return self.distances(latent).argmin(dim=-1)

    def rows(self, codes: Tensor) -> Tensor:
        """Rows ``(B, code_width, L)`` of codes ``(B, L)``."""
        found: Tensor = self.codebook(codes)
        return found.transpose(1, 2)

    def project(self, rows: Tensor) -> Tensor:
        """``(B, code_width, L)`` to ``(B, width, L)``."""
        values: Tensor = self.get_submodule(self._sizes.names[1])(rows)
        return values


class ResidualQuantizer(nn.Module):
    """The levels one after the other, ``quantizers`` in the published files."""

    def __init__(self, sizes: RvqSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.quantizers = nn.ModuleList(VectorQuantizer(sizes) for _ in range(sizes.levels))

    def level(self, index: int) -> VectorQuantizer:
        """The level ``index``, from 0."""
        found = self.quantizers[index]
        assert isinstance(found, VectorQuantizer)
        return found

    def forward(self, values: Tensor, levels: int | Tensor | None = None) -> Quantised:
        """``levels``: how many are used, or that of each sample ``(B,)`` (training); None: all.

        Where the levels differ between samples, codes and latents are of all, and the sum and the losses of those that
        are used. Gradients pass the lookup as if it were not there.
        """
        count = levels if isinstance(levels, int) else self.sizes.levels
        left, total = values, torch.zeros_like(values)
        codes, latents, losses = [], [], []
        for index in range(count):
            level = self.level(index)
            latent = level.latent(left)
            codes.append(level.lookup(latent))
            rows = level.rows(codes[-1])
            made = level.project(latent + (rows - latent).detach() if latent.requires_grad else rows)
            used = (levels > index).to(values) if isinstance(levels, Tensor) else values.new_ones(len(values))
            total = total + made * used[:, None, None]
            left = left - made
            latents.append(latent)
            errors = ((latent - rows.detach()).square(), (rows - latent.detach()).square())
            losses.append(torch.stack([(error.mean((1, 2)) * used).mean() for error in errors]))
        commitment, codebook = torch.stack(losses).sum(0)
        return Quantised(total, torch.stack(codes, 1), torch.cat(latents, 1), commitment, codebook)

    def values_of(self, codes: Tensor) -> Tensor:
        """The sum ``(B, width, L)`` that codes ``(B, n, L)`` of the first n levels stand for."""
        parts = [self.level(index).project(self.level(index).rows(one)) for index, one in enumerate(codes.unbind(1))]
        return torch.stack(parts).sum(0)

    def rows_of(self, codes: Tensor) -> Tensor:
        """The rows of codes ``(B, n, L)``, level behind level: ``(B, n * code_width, L)``."""
        return torch.cat([self.level(index).rows(one) for index, one in enumerate(codes.unbind(1))], dim=1)

    def codes_of_latents(self, latents: Tensor) -> Tensor:
        """The codes ``(B, n, L)`` of ``(B, n * code_width, L)``, each level looked up by itself."""
        parts = torch.split(latents, self.sizes.code_width, dim=1)
        return torch.stack([self.level(index).lookup(part) for index, part in enumerate(parts)], dim=1)

    def codebooks(self) -> list[Tensor]:
        """The rows ``(codes, code_width)`` of each level."""
        return [self.level(index).codebook.weight for index in range(self.sizes.levels)]
