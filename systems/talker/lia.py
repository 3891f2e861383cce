"""LIA-X's generator: motion codes of pictures, and a picture moved to a motion code.

Wang et al., "LIA-X: Interpretable Latent Portrait Animator", 2025; ``wyhsirius/LIA-X: networks/generator.py``, which
``zhenye234/Talker-T2AV`` uses unchanged. Only the names and shapes of the published network are fixed
(``bench/manifests/talker_lia_x_generator.json``); sizes and widths are a configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.systems.talker.lia_decoder import Decoder
from bench.systems.talker.lia_encoder import Encoder
from bench.systems.talker.lia_sizes import FULL, LiaSizes


class Generator(nn.Module):
    """Pictures are (B, 3, S, S), red first, in -1…1."""

    def __init__(self, sizes: LiaSizes = FULL) -> None:
        super().__init__()
        self.sizes = sizes
        self.enc = Encoder(sizes)
        self.dec = Decoder(sizes)

    def get_alpha(self, pictures: torch.Tensor) -> torch.Tensor:
        """The pictures' motion codes (B, motion)."""
        return self.enc.get_alpha(pictures)

    def styles(
        self,
        z: torch.Tensor,
        alpha: torch.Tensor,
        relative: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """The style (B, S) of the source ``z`` (B or 1, S) at the motion ``alpha`` (B, motion).

        ``relative``: codes of the source and of the driving video's first frame: the motion is then what has changed
        since that frame, added to the source's own.
        """
        direction = self.dec.direction
        style: torch.Tensor = z + direction(alpha)
        if relative is None:
            return style
        source, start = relative
        at_source: torch.Tensor = style - direction(start) + direction(source)
        return at_source

    def forward(self, source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """``source`` moved as in ``driving``."""
        z, maps = self.enc.enc_2r(source)
        return self.move(z, maps, self.get_alpha(driving))

    def move(self, z: torch.Tensor, maps: Sequence[torch.Tensor], alpha: torch.Tensor) -> torch.Tensor:
        """The source of style ``z`` and ``maps`` (batch B or 1) at motions (B, motion): pictures, unbounded."""
        picture: torch.Tensor = self.dec(self.styles(z, alpha), maps)
        return picture
