"""Golden cases of component ``hierspeech`` that concern text-to-vec and the blocks that it shares.

See :mod:`bench.conformance` for what an adapter gets and returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.systems.hierspeech.align import monotonic_tokens
from bench.systems.hierspeech.attention import RelativeEncoder
from bench.systems.hierspeech.duration import StochasticDurationPredictor
from bench.systems.hierspeech.flows import TransformerFlow
from bench.systems.hierspeech.pitch_predictor import PitchPredictor
from bench.systems.hierspeech.sequence import given_noise, sequence_mask
from bench.systems.hierspeech.spline import rational_quadratic_spline
from bench.systems.hierspeech.style import StyleEncoder
from bench.systems.hierspeech.ttv import TextToVec, TTVBatch, TTVConfig, TTVNoise, TTVSettings
from bench.systems.hierspeech.ttv_losses import TTVLossWeights, ttv_losses
from bench.systems.hierspeech.ttv_parts import PosteriorEncoder
from bench.systems.hierspeech.wavenet import WN

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

    Inputs = dict[str, Array]
    Outputs = dict[str, Array]

_THIS = "bench.systems.hierspeech.adapters_ttv"
OPS: dict[str, str] = {
    **{
        op: f"{_THIS}:{op}"
        for op in (
            "style_encoder",
            "rel_encoder",
            "wn",
            "spline",
            "sdp",
            "mas",
            "post_w2v",
            "pitch_predictor",
            "ttv_train",
            "ttv_reconstruct",
            "ttv_infer",
        )
    },
    "flow_ttv": f"{_THIS}:flow",
    "flow_synth": f"{_THIS}:flow",
}
#: Which channels the recorded tensors of ``ttv_train`` keep.
_LATENT, _FEATURE_STEP, _CLASS_STEP = slice(0, 4), 64, 16


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}


def _arrays(outputs: Mapping[str, Tensor]) -> Outputs:
    return {name: value.detach().numpy() for name, value in outputs.items()}


def _filled(module: nn.Module, fill: Fill) -> Any:
    return fill.apply(module).eval().requires_grad_(False)


def _whole(x: Tensor) -> Tensor:
    """A mask ``(B, 1, T)`` without padding."""
    return torch.ones_like(x[:, :1])


def style_encoder(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """Styles of a batch, once for every ``lengths…`` among the inputs."""
    net = _filled(StyleEncoder(config["in_dim"], config["hidden_dim"], config["out_dim"]), fill)
    t = _tensors(inputs)
    suffixes = [name.removeprefix("lengths") for name in t if name.startswith("lengths")]
    return _arrays({f"g{end}": net(t["x"], sequence_mask(t[f"lengths{end}"], t["x"].shape[2])) for end in suffixes})


def rel_encoder(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The encoder on a padded batch and on a short one; its first attention alone."""
    net = _filled(RelativeEncoder(**config), fill)
    t = _tensors(inputs)
    mask = sequence_mask(t["lengths"], t["x"].shape[2])
    out = {"y": net(t["x"], mask), "attn0": net.attn_layers[0](t["x"], mask)}
    if "x_short" in t:
        out["y_short"] = net(t["x_short"], _whole(t["x_short"]))
    return _arrays(out)


def wn(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The gated stack on a padded batch, with its condition."""
    t = _tensors(inputs)
    mask = sequence_mask(t["lengths"], t["x"].shape[2])
    return _arrays({"y": _filled(WN(**config), fill)(t["x"], mask, t.get("g"))})


def flow(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The flow both ways in a padded batch, the inverse of the first item alone, and one block.

    The official class is given a kernel and a dilation too, and uses neither.
    """
    names = ("channels", "hidden_channels", "n_layers", "n_flows", "gin_channels", "heads", "dropout")
    net = _filled(TransformerFlow(**{name: config[name] for name in names if name in config}), fill)
    t = _tensors(inputs)
    mask = sequence_mask(t["lengths"], t["x"].shape[2])
    x, first, g = t["x"] * mask, t["x"][:1], t["g"]
    out = {
        "forward": net(x, mask, g),
        "inverse": net(x, mask, g, reverse=True),
        "inverse_full": net(first, _whole(first), g[:1], reverse=True),
    }
    if "block_x" in t:
        mask = sequence_mask(t["lengths"], t["block_x"].shape[1])
        out["block_y"] = net.flows[0].enc_block[0](t["block_x"], t["block_c"], mask)
    return _arrays(out)


def spline(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The spline and its inverse at the same points."""
    t = _tensors(inputs)
    shape = (t["widths"], t["heights"], t["derivatives"])
    out = {}
    for name, reverse in (("forward", False), ("inverse", True)):
        out[name], out[f"{name}_logabsdet"] = rational_quadratic_spline(
            t["x"], *shape, reverse=reverse, bound=config["tail_bound"], minimum=config["min"]
        )
    return _arrays(out)


def sdp(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The duration predictor: likelihood of durations, and sampling. Officially it is as wide as its input."""
    names = ("kernel_size", "p_dropout", "n_flows", "gin_channels")
    net = _filled(StochasticDurationPredictor(config["in_channels"], **{n: config[n] for n in names}), fill)
    t = _tensors(inputs)
    mask = sequence_mask(t["lengths"], t["x"].shape[2])
    noise = t["noise_reverse"] * config["noise_scale"]
    return _arrays(
        {"nll": net(t["x"], mask, t["w"], t["g"], t["noise_nll"]), "logw": net.sample(t["x"], mask, t["g"], noise)}
    )


def mas(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """0/1 paths of all ``value_…``."""
    out: Outputs = {}
    for name, value in inputs.items():
        if not name.startswith("value"):
            continue
        end = name.removeprefix("value")
        frames, tokens = inputs[f"y_lengths{end}"], inputs[f"x_lengths{end}"]
        path = monotonic_tokens(value, frames, tokens)[:, :, None] == np.arange(value.shape[2])
        out[f"path{end}"] = (path & (np.arange(value.shape[1])[:, None] < frames[:, None, None])).astype(np.int32)
    return out


def post_w2v(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The posterior encoder with given noise."""
    net = _filled(PosteriorEncoder(**config), fill)
    t = _tensors(inputs)
    mask = sequence_mask(t["lengths"], t["x"].shape[2]) if "lengths" in t else _whole(t["x"])
    return _arrays(dict(zip(("z", "m", "logs"), net(t["x"], mask, t["g"], t["noise"]), strict=True)))


def pitch_predictor(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The pitch predictor at its full size."""
    t = _tensors(inputs)
    return _arrays({"pitch": _filled(PitchPredictor(), fill)(t["x"], t["g"])})


def _text_to_vec(config: dict[str, Any], fill: Fill) -> TextToVec:
    net: TextToVec = _filled(TextToVec(TTVConfig.from_model_section(config)), fill)
    return net


def ttv_train(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The training forward in evaluation mode, and its losses."""
    t = _tensors(inputs)
    batch = TTVBatch(
        tokens=t["tokens"],
        token_lengths=t["token_lengths"],
        w2v=t["w2v"],
        lengths=t["lengths"],
        mel=t["mel"],
        mel_lengths=t["lengths"],
        f0=t["f0"],
        phonemes=t["ctc_targets"],
        phoneme_lengths=t["ctc_lengths"],
    )
    net = _text_to_vec(config, fill)
    out = net(batch, TTVNoise(t["noise_q"], t["noise_dur"], t["slice_u"]))
    losses = ttv_losses(out, batch, TTVLossWeights(config["c_mel"], config["c_kl"], config["c_f0"]))
    return _arrays(
        {
            "z_p": out.z_p[:, _LATENT],
            "m_q": out.m_q[:, _LATENT],
            "logs_q": out.logs_q[:, _LATENT],
            "w2v_hat": out.w2v[:, ::_FEATURE_STEP],
            "phoneme_logits": out.phoneme_logits[:, ::_CLASS_STEP],
            "pitch": out.pitch,
            "slice_start": out.starts,
            "durations": out.durations,
            "dur_per_item": out.duration_loss,
            "loss_w2v": losses.w2v,
            "loss_kl": losses.kl,
            "loss_f0": losses.f0,
            "loss_dur": losses.durations,
            "loss_ctc": losses.ctc,
            "loss_total": losses.total,
        }
    )


def ttv_reconstruct(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """Real features through posterior encoder and decoder, from a sample and from the mean."""
    t = _tensors(inputs)
    net = _text_to_vec(config, fill)
    lengths = t.get("lengths", torch.full((len(t["w2v"]),), t["w2v"].shape[2]))
    g = net.style(t["mel"], torch.full((len(t["mel"]),), t["mel"].shape[2]))
    sample = net.reconstruct(t["w2v"], lengths, g, t["noise"])
    mean = net.reconstruct(t["w2v"], lengths, g, None)
    return _arrays(
        {
            "z": sample.z,
            "w2v_from_sample": sample.w2v,
            "pitch_from_sample": sample.pitch,
            "w2v_from_mean": mean.w2v,
            "pitch_from_mean": mean.pitch,
        }
    )


def ttv_infer(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """Inference with a two-row prompt, and what lies between."""
    t = _tensors(inputs)
    net = _text_to_vec(config, fill)
    g = net.blended_style(t["mel"], config["denoise_ratio"])
    mask = torch.ones(1, 1, t["tokens"].shape[1])
    x, m_p, logs_p = net.enc_p(t["tokens"], mask, g)
    log_w = net.dp.sample(x, mask, g, t["noise_dur"] * config["noise_scale_w"])
    settings = TTVSettings(config["noise_scale"], config["noise_scale_w"], config["length_scale"])
    noise = given_noise(t["noise_dur"], t["noise_z"])
    said = net.infer_noise_control(t["tokens"], t["mel"], noise, settings, config["denoise_ratio"])
    return _arrays(
        {
            "g": g,
            "x": x,
            "m_p": m_p,
            "logs_p": logs_p,
            "logw": log_w,
            "w_ceil": said.durations[:, None].float(),
            "w2v": said.w2v,
            "pitch": said.pitch,
        }
    )
