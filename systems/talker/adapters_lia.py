"""Golden operations of LIA-X, its pre- and post-processing and the motion statistics (:mod:`bench.conformance`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.conformance import Fill

Config = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]

_NAMES = (
    "lia_upfirdn2d",
    "lia_fused_leaky_relu",
    "lia_direction",
    "lia_equal_layers",
    "lia_conv_layers",
    "lia_modulated_conv",
    "lia_to_rgb_flow",
    "lia_res_blocks",
    "lia_encoder",
    "lia_generator",
    "motion_normalisation",
    "render_preprocess",
    "render_postprocess",
)
OPS: dict[str, str] = {name: f"bench.systems.talker.adapters_lia:{name}" for name in _NAMES}
_WINDOW = (slice(200, 232), slice(300, 332))  # rows and columns of the frame that the generator's cases show


def lia_upfirdn2d(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Every setting with the symmetric kernel and with the given one."""
    from bench.systems.talker.lia_ops import BLUR, make_kernel, upfirdn2d

    x, asymmetric = _tensors(inputs, "x", "kernel")
    symmetric = make_kernel(BLUR)
    outputs: dict[str, Any] = {"kernel_1331": symmetric.numpy()}
    for index, setting in enumerate(config["settings"]):
        for name, kernel in (("k1331", symmetric), ("kasym", asymmetric)):
            pad = (setting["pad"][0], setting["pad"][1])
            outputs[f"{name}_{index}"] = upfirdn2d(x, kernel, setting["up"], setting["down"], pad).numpy()
    return outputs


def lia_fused_leaky_relu(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Maps and vectors, with the filled bias and without one."""
    import torch

    from bench.systems.talker.lia_ops import FusedLeakyReLU, fused_leaky_relu

    slope, gain = float(config["negative_slope"]), float(config["scale"])
    layer = fill.apply(FusedLeakyReLU(int(config["channel"]), slope, gain))
    x, vectors = _tensors(inputs, "x", "x2")
    with torch.inference_mode():
        plain = fused_leaky_relu(x, None, slope, gain)
        return _numbers({"y": layer(x), "y2": layer(vectors), "y_nobias": plain})


def lia_direction(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The basis, the signs of its factorisation, and directions of codes."""
    import torch

    from bench.systems.talker.lia_ops import Direction

    direction = fill.apply(Direction(int(config["style_dim"]), int(config["motion_dim"])))
    (alpha,) = _tensors(inputs, "alpha")
    with torch.inference_mode():
        basis = direction.basis()
        signs = (basis.t() @ direction.weight).diagonal()
        return _numbers({"q": basis, "r_diagonal": signs, "y": direction(alpha)})


def lia_equal_layers(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """A convolution, linear layers, doubling and blurring."""
    from torch import nn

    from bench.systems.talker.lia_ops import Blur, EqualConv2d, EqualLinear, Upsample

    conv, line = config["conv"], config["linear"]
    modules = nn.ModuleDict(
        {
            "conv": EqualConv2d(
                conv["i"], conv["o"], conv["k"], conv.get("stride", 1), conv.get("padding", 0), conv.get("bias", True)
            ),
            "linear": EqualLinear(line[0], line[1]),
            "linear_act": EqualLinear(line[0], line[1], activate=True),
            "up": Upsample(),
            "blur": Blur((config["blur_pad"][0], config["blur_pad"][1]), config.get("blur_upsample_factor", 1)),
        }
    )
    x, z = _tensors(inputs, "x", "z")
    return _run(fill, modules, {name: (z if name.startswith("linear") else x,) for name in modules})


def lia_conv_layers(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The variants that the configuration describes in words."""
    from torch import nn

    from bench.systems.talker.lia_ops import ConvLayer

    def layer(words: str) -> ConvLayer:
        return ConvLayer(
            int(config["in_channel"]),
            int(config["out_channel"]),
            int(words.split()[0].rstrip(",").removeprefix("k")),
            downsample="downsample" in words,
            upsample="upsample" in words,
            bias="no bias" not in words,
            activate="no activation" not in words,
        )

    modules = nn.ModuleDict({name: layer(words) for name, words in config["layers"].items()})
    (x,) = _tensors(inputs, "x")
    return _run(fill, modules, dict.fromkeys(modules, (x,)))


def lia_modulated_conv(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Modulated convolutions, alone and with their activation."""
    from torch import nn

    from bench.systems.talker.lia_ops import ModulatedConv2d, StyledConv

    inside, outside, style = (int(config[key]) for key in ("in_channel", "out_channel", "style_dim"))
    modules = nn.ModuleDict(
        {
            "plain": ModulatedConv2d(inside, outside, 3, style),
            "up": ModulatedConv2d(inside, outside, 3, style, upsample=True),
            "down": ModulatedConv2d(inside, outside, 3, style, downsample=True),
            "nodemod": ModulatedConv2d(inside, 3, 1, style, demodulate=False),
            "styled": StyledConv(inside, outside, 3, style),
            "styled_up": StyledConv(inside, outside, 3, style, upsample=True),
        }
    )
    x, code = _tensors(inputs, "x", "style")
    return _run(fill, modules, dict.fromkeys(modules, (x, code)))


def lia_to_rgb_flow(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Both ends of a stage, as the first one and on top of the stage before."""
    import torch
    from torch import nn

    from bench.systems.talker.lia_decoder import ToFlow, ToRGB

    width, style = int(config["in_channel"]), int(config["style_dim"])
    modules = fill.apply(nn.ModuleDict({"rgb": ToRGB(width), "flow": ToFlow(width, style)})).eval()
    x, code, source, rgb, flow = _tensors(inputs, "x", "style", "feat", "prev_rgb", "prev_flow")
    outputs: dict[str, Any] = {}
    with torch.inference_mode():
        for ending, last_rgb, last_flow in (("", None, None), ("_skip", rgb, flow)):
            warp, h, raw = modules["flow"](x, code, source, last_flow)
            made = {"rgb": modules["rgb"](x, last_rgb), "warp": warp, "h": h, "flow": raw}
            outputs |= {name + ending: value for name, value in made.items()}
    return _numbers(outputs)


def lia_res_blocks(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The encoder's block, the decoder's with and without projection, a flow block."""
    from torch import nn

    from bench.systems.talker.lia_decoder import FlowBlock, RgbBlock
    from bench.systems.talker.lia_encoder import ResBlock

    width, groups, style = (int(number) for number in config["flow"])
    modules = nn.ModuleDict({"enc": ResBlock(*config["enc"]), "flow": FlowBlock(width, style, groups)})
    modules.update({name: RgbBlock(*config[name]) for name in config if name.startswith("dec")})
    (code,) = _tensors(inputs, "style")
    pairs = {name: tuple(_tensors(inputs, name)) for name in modules}
    return _run(fill, modules, pairs | {"flow": (*pairs["flow"], code)})


def lia_encoder(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Style and motion code of a picture, and a sample of each map."""
    import torch

    network, picture = _generator(config, fill), _picture(config, inputs)
    with torch.inference_mode():
        z, maps = network.enc.enc_2r(picture)
        outputs = {"z": z, "alpha": network.enc.alpha(z)}
    for index, found in enumerate(maps):
        outputs[f"feat{index}"] = found[:, :: found.shape[1] // 8, :: found.shape[2] // 8, :: found.shape[3] // 8]
    return _numbers(outputs)


def lia_generator(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The picture at every motion, and once with the motion counted from a start."""
    import torch

    network, picture = _generator(config, fill), _picture(config, inputs)
    motion, source, start = _tensors(inputs, "motion", "motion_source", "motion_start")
    rendered = _rendered(fill, len(motion))
    with torch.inference_mode():
        z, maps = network.enc.enc_2r(picture)
        y = torch.cat([network.move(z, maps, code[None]) for code in motion[:rendered]])
        moved = network.dec(network.styles(z, motion[:1], (source, start)), maps)
        directions = network.dec.direction(motion)
    return _numbers(
        {
            "direction": directions,
            "mean": y.mean((2, 3)),
            "std": y.flatten(2).std(2),
            "y_patch": y[:1, :, *_WINDOW],
            "y_stride8": y[:, :, ::8, ::8],
            "y_relative_stride16": moved[:, :, ::16, ::16],
        }
    )


def motion_normalisation(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Normalised motion, back again, and as it conditions the motion head."""
    from bench.systems.talker.motion_stats import MotionStats, official

    stats = MotionStats.of(config) if "motion_mean" in config else official()
    (raw,) = _tensors(inputs, "raw")
    normal = stats.normalised(raw)
    conditions = stats.conditions(raw)
    made = {"normalised": normal, "denormalised": stats.raw(normal), "bf16": conditions}
    return _numbers(made | {"first_motion": conditions[:1]})


def render_preprocess(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """A made-up picture of the given size as the encoder sees it."""
    from bench.systems.talker.face_view import Whole, seen
    from bench.systems.talker.render import network_input

    height, width, size = int(config["height"]), int(config["width"]), int(config.get("size", 512))
    frame = _made_up(inputs["small"], height, width)[..., ::-1]
    small = seen(frame, Whole().box(frame), size)
    x = network_input(small[None])[0]
    return {"mean": x.mean((1, 2)).numpy(), "resized_rows": small[:2], "x_stride8": x[:, ::8, ::8].numpy()}


def render_postprocess(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """A decoder's picture as uint8, red first and blue first."""
    from bench.systems.talker.render import levels

    (x,) = _tensors(inputs, "x")
    rgb = levels(x)[0].numpy()
    return {"rgb": rgb, "bgr": np.ascontiguousarray(rgb[..., ::-1])}


def _made_up(small: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The case's rule for a picture (height, width, 3), blue first."""
    rows, columns = height // small.shape[0] + 1, width // small.shape[1] + 1
    big = small.repeat(rows, axis=0).repeat(columns, axis=1)[:height, :width].astype(np.int64)
    slope = (3 * np.arange(height)[:, None] + 5 * np.arange(width)) % 97
    return np.minimum(255, big * 2 // 3 + slope[:, :, None]).astype(np.uint8)


def _generator(config: Config, fill: Fill) -> Any:
    from bench.systems.talker.lia import Generator
    from bench.systems.talker.lia_sizes import scaled

    return fill.apply(Generator(scaled(float(config["scale"]), int(config["motion_dim"])))).eval()


def _rendered(fill: Fill, codes: int) -> int:
    """How many of the codes a case shows as pictures: the rows that it lists moments of."""
    from safetensors import safe_open

    file = None if fill.folder is None else fill.folder / f"{fill.header.get('case', '')}.safetensors"
    if file is None or not file.is_file():
        return codes
    with safe_open(file, framework="np") as case:
        return int(case.get_slice("out.mean").get_shape()[0])


def _picture(config: Config, inputs: Arrays) -> Any:
    from torch.nn.functional import interpolate

    (base,) = _tensors(inputs, "base")
    side = int(config["image_size"])
    return interpolate(base, size=(side, side), mode="bilinear", align_corners=True)


def _run(fill: Fill, modules: Any, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Each of the filled modules with its arguments."""
    import torch

    filled = fill.apply(modules).eval()
    with torch.inference_mode():
        return _numbers({name: module(*arguments[name]) for name, module in filled.items()})


def _numbers(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.float().contiguous().numpy() for name, tensor in tensors.items()}


def _tensors(inputs: Arrays, *names: str) -> list[Any]:
    import torch

    return [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names]
