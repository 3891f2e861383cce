"""``maskgct``: the acoustic codec of MaskGCT, the paper's choice: 24 kHz, 12 levels of 1024 codes, 50 frames a second.

Encoder and decoder (which holds the quantiser) are two files, with the names of
``open-mmlab/Amphion: models/codec/amphion_codec/codec.py``. Facts: specs/codec.md, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch import Tensor, nn

from bench.errors import UsageError
from bench.nets.codec_blocks import CodecEncoder
from bench.nets.weight_norm import fold_weight_norm
from bench.systems.hicodit.codec import Codec
from bench.systems.hicodit.codec.chunks import Pieces, encoder_reach
from bench.systems.hicodit.codec.dac import PIECE
from bench.systems.hicodit.codec.rvq import ResidualQuantizer, RvqSizes
from bench.systems.hicodit.codec.vocos import Vocos, VocosSizes, reach

_NAMES = ("in_project", "out_project")
_SAMPLE_RATE = 24_000


@dataclass(frozen=True, slots=True)
class EncoderSizes:
    """By the names of the published settings."""

    d_model: int = 96
    up_ratios: tuple[int, ...] = (3, 4, 5, 8)
    out_channels: int = 256
    use_tanh: bool = False

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> EncoderSizes:
        """From the published settings."""
        return cls(config["d_model"], tuple(config["up_ratios"]), config["out_channels"], config["use_tanh"])

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(self.up_ratios)


@dataclass(frozen=True, slots=True)
class DecoderSizes:
    """The quantiser's and the vocoder's."""

    rvq: RvqSizes = field(default_factory=lambda: RvqSizes(256, names=_NAMES))
    vocos: VocosSizes = field(default_factory=VocosSizes)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> DecoderSizes:
        """From the published settings, which call the width ``in_channel`` where the class reads ``in_channels``.

        Raises:
            UsageError: settings of another decoder than the published one.
        """
        if not config["use_vocos"] or config["padding"] != "same" or config["quantizer_type"] != "fvq":
            raise UsageError(
                "the settings are those of another decoder", "use_vocos, padding same and quantizer_type fvq are known."
            )
        width = config["in_channels"] if "in_channels" in config else config["in_channel"]
        levels, codes, code_width = (config[name] for name in ("num_quantizers", "codebook_size", "codebook_dim"))
        wide, inner, layers = (config[f"vocos_{name}"] for name in ("dim", "intermediate_dim", "num_layers"))
        return cls(
            RvqSizes(width, levels, codes, code_width, _NAMES, by_angle=config["use_l2_normlize"]),
            VocosSizes(width, wide, inner, layers, config["n_fft"], config["hop_size"]),
        )


class MaskgctEncoder(CodecEncoder):
    """Waveform ``(B, 1, T)`` to features ``(B, out_channels, T / hop)``."""

    def __init__(self, sizes: EncoderSizes | None = None) -> None:
        sizes = sizes or EncoderSizes()
        super().__init__(sizes.d_model, sizes.up_ratios, sizes.out_channels)
        self.sizes = sizes
        if sizes.use_tanh:
            self.block.append(nn.Tanh())


class MaskgctDecoder(nn.Module):
    """``quantizer`` and ``model`` (the vocoder)."""

    def __init__(self, sizes: DecoderSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or DecoderSizes()
        self.quantizer = ResidualQuantizer(sizes.rvq)
        self.model = Vocos(sizes.vocos)


class MaskgctCodec(Codec):
    """Both networks by the codecs' interface; they become ones for inference alone (weight norm is folded).

    Without ``encoder`` codes are decoded only. ``piece``: frames that are in memory at once.
    """

    name = "maskgct"

    def __init__(self, decoder: MaskgctDecoder, encoder: MaskgctEncoder | None = None, piece: int = PIECE) -> None:
        sizes = decoder.sizes
        self.decoder = fold_weight_norm(decoder).eval()
        self.encoder = fold_weight_norm(encoder).eval() if encoder is not None else None
        self.sample_rate, self.hop = _SAMPLE_RATE, sizes.vocos.hop
        self.levels, self.codebook_size = sizes.rvq.levels, sizes.rvq.codes
        if encoder is not None and encoder.sizes.hop != self.hop:
            raise UsageError(
                f"the encoder's frames are {encoder.sizes.hop} samples, the decoder's {self.hop}",
                "they belong to two codecs.",
            )
        self._piece = piece
        self._decoding = Pieces(1, self.hop, reach(sizes.vocos), piece)

    def _encoded(self, wave: Tensor) -> Tensor:
        if self.encoder is None:
            raise UsageError("the codec maskgct has been given no encoder", "add its file: `bench doctor` says which.")
        encoding = Pieces(self.hop, 1, encoder_reach(self.encoder.sizes.up_ratios), self._piece)
        codes: Tensor = self.decoder.quantizer(encoding(self.encoder, wave[:, None])).codes
        return codes

    def _decoded(self, codes: Tensor) -> Tensor:
        return self._decoding(self.decoder.model, self.decoder.quantizer.values_of(codes))[:, 0]

    def _codebooks(self) -> Sequence[Tensor]:
        return self.decoder.quantizer.codebooks()
