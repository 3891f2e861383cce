"""What ``bench conformance`` calls for the picture networks; conventions in :mod:`bench.conformance`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.conformance import Fill

Arrays = Mapping[str, NDArray[Any]]
Config = Mapping[str, Any]

OPS = {
    op: f"bench.metrics.adapters_nets_video:{op}"
    for op in ("arcface", "arcface_align", "inception_resize", "inception_pool3")
}

ROW_STEP, COLUMN_STEP = 7, 5  # of the resized picture, rows and columns that a case keeps


def arcface(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Embeddings of small pictures, each pixel repeated up to the network's size, and the cosine of the first two."""
    import torch

    from bench.metrics.csim.align import network_input
    from bench.metrics.csim.arcface import ARCFACE
    from bench.metrics.csim.arcface_net import SIDE, IResNet
    from bench.metrics.csim.cosine import cosine

    small = inputs["small_rgb"]
    rows, columns = (SIDE // side for side in small.shape[1:3])
    faces = small.repeat(rows, axis=1).repeat(columns, axis=2)
    settings = {**ARCFACE.parameters["network"], **config}
    network = fill.apply(IResNet(settings["layers"], settings["num_features"])).eval()
    with torch.inference_mode():
        embedding = network(torch.from_numpy(network_input(faces)).contiguous()).numpy()
    return {"embedding": embedding, "cosine": cosine(embedding[:1], embedding[1:2])}


def arcface_align(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The matrix of each set of five points (``lm<k>``), and the picture under it."""
    from bench.metrics.csim.align import similarity, warp

    template = np.array(config["template"])
    outputs: dict[str, Any] = {}
    for name in inputs:
        if found := re.fullmatch(r"lm(\d+)", name):
            k = found[1]
            picture = inputs[f"image{k}"] if f"image{k}" in inputs else inputs["image"]
            outputs[f"M{k}"] = matrix = similarity(inputs[name], template)
            outputs[f"warp{k}"] = warp(picture, matrix, config["size"])
    return outputs


def inception_resize(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The prepared pictures, thinned out."""
    from bench.metrics.inception_input import prepare

    resized = prepare(inputs["images"], config.get("resize", _side())).numpy()
    return {"resized": resized[:, :, ::ROW_STEP, ::COLUMN_STEP]}


def inception_pool3(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Pool-3 features, and mean and standard deviation of each channel of the earlier outputs."""
    import torch

    from bench.metrics.inception_input import prepare
    from bench.metrics.inception_net import Inception

    network = fill.apply(Inception()).eval()
    with torch.inference_mode():
        found = network.blocks(prepare(inputs["images"], config.get("resize", _side())).contiguous())
    outputs: dict[str, Any] = {"pool3": found.pool3.numpy()}
    for k, block in enumerate((found.pool1, found.pool2, found.mixed6)):
        channels = block.double().flatten(2)  # (B, C, H * W)
        outputs |= {f"b{k}.mean": channels.mean(dim=2).numpy(), f"b{k}.std": channels.std(dim=2).numpy()}
    return outputs


def _side() -> int:
    from bench.metrics.fid import FULL, input_side

    return input_side(FULL.parameters)
