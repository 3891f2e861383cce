"""``dac_16k``: the Descript audio codec at 16 kHz, 12 levels of 1024 codes, 50 frames a second.

Names and sizes are those of the published ``weights_16khz.pth``
(``descriptinc/descript-audio-codec: dac/model/dac.py``; Kumar et al. 2023, arXiv 2306.06546).
Facts: specs/codec.md, section 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from bench.errors import UsageError
from bench.nets.codec_blocks import CodecDecoder, CodecEncoder, WNUpsampling
from bench.nets.weight_norm import fold_weight_norm
from bench.systems.hicodit.codec import Codec
from bench.systems.hicodit.codec.chunks import Pieces, decoder_reach, encoder_reach
from bench.systems.hicodit.codec.rvq import ResidualQuantizer, RvqSizes

PIECE = 500  # frames that are encoded or decoded at once: 10 s


@dataclass(frozen=True, slots=True)
class DacSizes:
    """By the names of the checkpoint's settings; the defaults are those of the 16 kHz file."""

    encoder_dim: int = 64
    encoder_rates: tuple[int, ...] = (2, 4, 5, 8)
    decoder_dim: int = 1536
    decoder_rates: tuple[int, ...] = (8, 5, 4, 2)
    n_codebooks: int = 12
    codebook_size: int = 1024
    codebook_dim: int = 8
    quantizer_dropout: float = 0.5
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        if prod(self.encoder_rates) != prod(self.decoder_rates):
            raise UsageError(
                f"encoder rates {self.encoder_rates} and decoder rates {self.decoder_rates} have other products",
                "the codec would change the length.",
            )

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> DacSizes:
        """From a checkpoint's ``metadata["kwargs"]``; keys that are not sizes are left alone."""
        known: dict[str, Any] = {name: config[name] for name in cls.__dataclass_fields__ if name in config}
        for name in known.keys() & {"encoder_rates", "decoder_rates"}:
            known[name] = tuple(known[name])
        return cls(**known)

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(self.encoder_rates)

    @property
    def width(self) -> int:
        """Numbers of a frame between encoder and quantiser."""
        return int(self.encoder_dim * 2 ** len(self.encoder_rates))

    @property
    def rvq(self) -> RvqSizes:
        """The quantiser's."""
        return RvqSizes(self.width, self.n_codebooks, self.codebook_size, self.codebook_dim)


class DacDecoder(CodecDecoder):
    """Without output padding, so that an odd stride s makes a sample less than s of each frame's."""

    def __init__(self, in_channels: int, width: int, strides: Sequence[int]) -> None:
        super().__init__(in_channels, width, strides)
        for module in self.modules():
            if isinstance(module, WNUpsampling):
                module.output_padding = (0,)


class Dac(nn.Module):
    """``encoder``, ``quantizer`` and ``decoder`` by their published names; weight norm as in training."""

    def __init__(self, sizes: DacSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or DacSizes()
        self.encoder = CodecEncoder(sizes.encoder_dim, sizes.encoder_rates, sizes.width)
        self.quantizer = ResidualQuantizer(sizes.rvq)
        self.decoder = DacDecoder(sizes.width, sizes.decoder_dim, sizes.decoder_rates)


class DacCodec(Codec):
    """:class:`Dac` by the codecs' interface; the network becomes one for inference alone (weight norm is folded).

    ``piece``: frames that are in memory at once.
    """

    name = "dac_16k"

    def __init__(self, network: Dac, piece: int = PIECE) -> None:
        sizes = network.sizes
        self.network = fold_weight_norm(network).eval()
        self.sample_rate, self.hop = sizes.sample_rate, sizes.hop
        self.levels, self.codebook_size = sizes.n_codebooks, sizes.codebook_size
        self._encoding = Pieces(sizes.hop, 1, encoder_reach(sizes.encoder_rates), piece)
        self._decoding = Pieces(1, sizes.hop, decoder_reach(sizes.decoder_rates), piece)

    def _encoded(self, wave: Tensor) -> Tensor:
        values = self._encoding(self.network.encoder, wave[:, None])
        codes: Tensor = self.network.quantizer(values).codes
        return codes

    def _decoded(self, codes: Tensor) -> Tensor:
        return self._decoding(self.network.decoder, self.network.quantizer.values_of(codes))[:, 0]

    def _codebooks(self) -> Sequence[Tensor]:
        return self.network.quantizer.codebooks()
