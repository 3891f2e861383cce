"""The files that HiCoDiT can use; nothing heavy is imported here. Of the model itself no weights are public."""

from __future__ import annotations

from bench.api import WeightFile
from bench.embedded import embedded_file
from bench.metrics.csim.arcface import BACKBONE as ARCFACE

__all__ = ["ALL", "ARCFACE", "AV_HUBERT", "CODECS", "DAC", "EMBEDDED", "MASKGCT_DECODER", "MASKGCT_ENCODER"]

#: Lip motion: the visual half of the self-supervised Large model; fine-tuned files hold the same network.
AV_HUBERT = WeightFile(
    "avhubert_large_visual.pt",
    None,
    None,
    "AV-HuBERT licence of Meta: non-commercial research only",
    "facebookresearch/av_hubert: large_vox_iter5.pt (AV-HuBERT Large, LRS3 and VoxCeleb2)",
    manifest="avhubert_large_visual.json",
)
DAC = WeightFile(
    "weights_16khz.pth",
    None,
    None,
    "MIT",
    "descriptinc/descript-audio-codec, release 0.0.5: weights_16khz.pth",
    manifest="dac_16k.json",
)
MASKGCT_ENCODER = WeightFile(
    "maskgct_acoustic_encoder.safetensors",
    None,
    None,
    "as the model's page states",
    "huggingface.co/amphion/MaskGCT: acoustic_codec/model.safetensors",
    manifest="maskgct_acoustic_codec_encoder.json",
)
#: The quantiser lies here.
MASKGCT_DECODER = WeightFile(
    "maskgct_acoustic_decoder.safetensors",
    None,
    None,
    "as the model's page states",
    "huggingface.co/amphion/MaskGCT: acoustic_codec/model_1.safetensors",
    manifest="maskgct_acoustic_codec_decoder.json",
)

#: By the setting ``codec``: what decoding needs; encoding needs no further file of DAC, and the encoder of MaskGCT.
CODECS: dict[str, tuple[WeightFile, ...]] = {"dac_16k": (DAC,), "maskgct": (MASKGCT_DECODER,)}

#: Shipped, of ``bench train hicodit --config tiny``.
TINY = embedded_file("hicodit", "hicodit", "dit")
TINY_CODEC = embedded_file("hicodit", "codec", "codec")
TINY_EXPRESSION = embedded_file("hicodit", "expression", "expression")

CANONICAL = (AV_HUBERT, ARCFACE, DAC, MASKGCT_ENCODER, MASKGCT_DECODER)
EMBEDDED = (TINY, TINY_CODEC, TINY_EXPRESSION)
#: Everything that the system can use.
ALL = (*CANONICAL, *EMBEDDED)
