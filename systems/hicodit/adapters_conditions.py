"""Golden operations of the conditioners: mouth crop, AV-HuBERT, windows of emotion.

Each is called as ``op(config, inputs, fill) -> outputs``; see :mod:`bench.conformance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.systems.hicodit.avhubert import AvHubertVisual

_HERE = "bench.systems.hicodit.adapters_conditions"
OPS: dict[str, str] = {
    name: f"{_HERE}:{name}"
    for name in ("mouth_crop", "avhubert_resnet", "avhubert_encoder", "avhubert_tiny", "emotion_windows")
}

_Arrays = Mapping[str, NDArray[Any]]
_SHOWN = (0, 3, 11)  # frames whose squares a case of mouth_crop keeps, besides the last one


def mouth_crop(config: dict[str, Any], inputs: _Arrays, fill: Fill) -> dict[str, Any]:
    """Filling, alignment, squares and network input of frames that a formula draws, in blue, green, red."""
    from bench.systems.hicodit.mouth_crop import CropConfig, LipInput, filled, grey, plan_crops

    points = inputs["landmarks"].astype(np.float64)
    points[inputs["present"] == 0] = np.nan
    settings = CropConfig(
        config["crop"], config["canvas"], config["window_margin"], tuple(config["stable"]), inputs["mean_stable"]
    )
    plan = plan_crops(points, settings)
    squares = np.stack([plan.cut(_picture(config["size"], k), k) for k in range(len(plan))])
    shades = grey(squares[..., ::-1])
    seen = LipInput().of(shades)
    index = sorted({at for at in _SHOWN if at < len(plan)} | {len(plan) - 1})
    return {
        "landmarks_filled": filled(points),
        "crop_bgr_first": squares[0],
        "crop_gray": shades[index],
        "input_first": seen[0],
        "input_mean_std": np.stack([seen.mean(axis=(1, 2)), seen.std(axis=(1, 2))]),
        "index": np.array(index),
    }


def _picture(size: int, k: int) -> NDArray[np.uint8]:
    """Frame ``k`` (size, size, 3) of the golden case."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    waves = [80 * np.sin(x / (7 + c) + 0.3 * k) * np.cos(y / (9 - c)) for c in range(3)]
    picture = 127 + np.stack(waves, axis=-1) + 30 * np.sin((x + y) / 5)[..., None]
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def avhubert_resnet(config: dict[str, Any], inputs: _Arrays, fill: Fill) -> dict[str, Any]:
    """Stem and body at full width; the stem's output as means over the picture."""
    import torch

    from bench.systems.hicodit.avhubert_resnet import VisualResNet

    if config.get("relu_type", "prelu") != "prelu":
        raise ValueError(f"relu_type {config['relu_type']!r}: AV-HuBERT's is prelu")
    network = fill.apply(VisualResNet()).eval()
    video = torch.from_numpy(inputs["video"])
    with torch.inference_mode():
        return {"features": network(video).numpy(), "stem_mean": network.stem(video).mean(dim=(3, 4)).numpy()}


def _avhubert(config: dict[str, Any], fill: Fill) -> AvHubertVisual:
    from bench.systems.hicodit.avhubert import AvHubertSizes, AvHubertVisual

    names = ("dim", "ffn", "layers", "heads", "conv_pos", "groups")
    return fill.apply(AvHubertVisual(AvHubertSizes(*(config[name] for name in names)))).eval()


def avhubert_encoder(config: dict[str, Any], inputs: _Arrays, fill: Fill) -> dict[str, Any]:
    """The encoder, its positions, and its first layer."""
    import torch

    encoder = _avhubert(config, fill).encoder
    x = torch.from_numpy(inputs["x"])
    padded = torch.from_numpy(inputs["padding_mask"] != 0) if "padding_mask" in inputs else None
    with torch.inference_mode():
        first = encoder.layers[0](encoder.placed(x, padded), padded)
        return {
            "pos_conv": encoder.pos_conv[0](x).numpy(),
            "layer1": first.numpy(),
            "y": encoder(x, padded).numpy(),
        }


def avhubert_tiny(config: dict[str, Any], inputs: _Arrays, fill: Fill) -> dict[str, Any]:
    """The whole path of a narrow model."""
    import torch

    network = _avhubert(config, fill)
    padded = torch.from_numpy(inputs["padding_mask"] != 0) if "padding_mask" in inputs else None
    with torch.inference_mode():
        features = network.feature_extractor_video(torch.from_numpy(inputs["video"]))
        return {"features_video": features.numpy(), "x": network.encode(features, padded).numpy()}


def emotion_windows(config: dict[str, Any], inputs: _Arrays, fill: Fill) -> dict[str, Any]:
    """The class of each window."""
    from bench.systems.hicodit import emotion

    return {"classes": emotion.emotion_windows(inputs["probs"], fps=config["fps"], window=config["window"])}
