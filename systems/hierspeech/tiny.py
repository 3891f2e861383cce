"""Sizes of the tiny configuration: the classes of the full system, narrow enough for two CPU cores.

What stands in for MMS's features is a small wav2vec 2.0 of the same class, trained on phonemes
(:mod:`bench.systems.hierspeech.training.features`). Widths: specs/hierspeech.md (T.2 to T.4) and tfg.md (2.6); faces
are 96 px as in the full network, since at 64 px the upper half of a face, which is only copied, is visibly softer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.systems.hierspeech.face.generator import TTVFaceSizes
from bench.systems.hierspeech.synthesizer import SynthesizerConfig
from bench.systems.hierspeech.ttv import TTVConfig

FEATURES = 128  # numbers per vector; MMS has 1024
#: wav2vec 2.0 by the names of transformers' configuration.
W2V: Mapping[str, Any] = {
    "hidden_size": FEATURES,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "conv_dim": [48] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 8,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "layer_norm_eps": 1e-5,
    "hidden_dropout": 0.1,
    "attention_dropout": 0.1,
    "layerdrop": 0.0,
    "mask_time_prob": 0.05,
    "mask_time_length": 5,
}
W2V_LAYER = 3

TTV = TTVConfig(
    inter_channels=64,
    hidden_channels=64,
    gin_channels=64,
    feature_size=FEATURES,
    text_layers=2,
    text_heads=2,
    text_kernel=5,
    text_dropout=0.0,
    posterior_layers=4,
    decoder_layers=4,
    decoder_dropout=0.0,
    flow_couplings=2,
    flow_blocks=1,
    flow_heads=4,
    flow_dropout=0.0,
    style_dropout=0.0,
    pitch_channels=64,
)

SYNTHESIZER = SynthesizerConfig(
    inter_channels=64,
    hidden_channels=64,
    filter_channels=256,
    resblock_kernel_sizes=(3, 7),
    resblock_dilation_sizes=((1, 3, 5), (1, 3, 5)),
    upsample_rates=(4,),
    upsample_initial_channel=128,
    upsample_kernel_sizes=(8,),
    gin_channels=64,
    cfg=False,
    feature_channels=FEATURES,
    source_channels=64,
    semantic_layers=3,
    flow_couplings=2,
    flow_blocks=1,
    flow_heads=2,
    style_hidden=64,
    style_dropout=0.0,
    alias_free=False,
    head="istft",
)

FACE = TTVFaceSizes(
    image=96,
    stem=8,
    widths=(16, 24, 32, 48, 64),
    embedding=64,
    decoder=(64, 48, 32, 24, 16, 16),
    features=FEATURES,
)
