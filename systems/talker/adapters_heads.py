"""Golden cases of the patch encoders, the diffusion heads and the stop classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.systems.talker.flow_matching import CFM, Draws, frame_error, time_grid, zero_star_scale
from bench.systems.talker.local_dit import DitConfig, LocDiT, TimestepEmbedding, time_features
from bench.systems.talker.nar import Block, ContinuousDecoder, PatchEncoder, RMSNorm, Rotary, rotate
from bench.systems.talker.stop import StopPredictor, positive_weight, stop_labels

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

OPS: dict[str, str] = {
    **{
        op: f"{__name__}:{op}"
        for op in (
            "nar_rmsnorm_rope",
            "nar_block",
            "nar_decoder",
            "patch_encoder",
            "time_embedding",
            "locdit",
            "cfm_sample",
            "cfm_loss",
            "cfm_zero_star",
            "stop_predictor",
        )
    },
    "patch_encoder_full": f"{__name__}:patch_encoder",
    "locdit_full": f"{__name__}:locdit",
    "stop_labels": f"{__name__}:labels_of_stop",
}

_Config = Mapping[str, Any]
_Inputs = Mapping[str, "Array"]
_Outputs = dict[str, Any]


def _tensors(inputs: _Inputs) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in inputs.items()}


def _arrays(outputs: Mapping[str, Tensor]) -> _Outputs:
    return {name: tensor.detach().numpy() for name, tensor in outputs.items()}


@torch.no_grad()
def nar_rmsnorm_rope(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The norm, and the rotary embedding with its table."""
    given = _tensors(inputs)
    norm = fill.apply(RMSNorm(config["dim"], config["eps"]))
    rotary = Rotary(config["head_dim"], config["base"], config["max_len"])
    rope = rotate(given["q"], rotary(given["q"].shape[1]))
    return _arrays({"norm": norm(given["x"]), "rope": rope, "table": rotary(9)})


@torch.no_grad()
def nar_block(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """One block: its halves, and the whole with and without positions and mask."""
    given = _tensors(inputs)
    x, width = given["x"], config["n_embd"]
    block = fill.apply(Block(width, config["n_head"]))
    table = Rotary(width // config["n_head"])(x.shape[1])
    return _arrays(
        {
            "attn": block.attn(block.norm1(x), table),
            "mlp": block.mlp(block.norm2(x)),
            "y": block(x, table),
            "y_norope": block(x, None),
            "y_mask": block(x, table, given["mask"]),
        }
    )


@torch.no_grad()
def nar_decoder(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The decoder with and without a mask of keys."""
    given = _tensors(inputs)
    decoder = fill.apply(ContinuousDecoder(**config)).eval()
    return _arrays({"y": decoder(given["x"]), "y_mask": decoder(given["x"], given["attention_mask"])})


@torch.no_grad()
def patch_encoder(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """Patches, and one patch of zeros."""
    x = _tensors(inputs)["x"]
    encoder = fill.apply(PatchEncoder(**config)).eval()
    return _arrays({"y": encoder(x), "y_zero": encoder(torch.zeros_like(x[:1, :1]))})


@torch.no_grad()
def time_embedding(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """Features of times, of one 0-d time, and what the two layers make of them."""
    t, dim, scale = _tensors(inputs)["t"], config["dim"], config["scale"]
    layers = fill.apply(TimestepEmbedding(dim, dim))
    emb = time_features(t, dim, scale)
    return _arrays({"emb": emb, "emb0d": time_features(t[3], dim, scale), "mlp": layers(emb)})


@torch.no_grad()
def locdit(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The velocity with no second time, with the given one, and without conditions."""
    given = _tensors(inputs)
    net = fill.apply(LocDiT(DitConfig(**config["decoder"]), config["in_channels"], config["global_cond_channels"]))
    x, mu, t, cond, g = (given[name] for name in ("x", "mu", "t", "cond", "global_cond"))
    none = torch.zeros_like(t)
    out = {
        "v": net(x, mu, t, cond, g, none),
        "v_nocond": net(x, torch.zeros_like(mu), t, torch.zeros_like(cond), g, none),
    }
    if "dt" in given:
        out["v_dt"] = net(x, mu, t, cond, g, given["dt"])
    return _arrays(out)


def _cfm(config: _Config, fill: Fill) -> CFM:
    """The head of a case, filled."""
    head = CFM(
        DitConfig(**config["decoder"]),
        config["in_channels"],
        config["global_cond_channels"],
        config.get("training_cfg_rate", 0.1),
        config.get("training_cond_drop_rate", 0.05),
    )
    return fill.apply(head).eval()


@torch.no_grad()
def cfm_sample(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """Sampling from given noise, with its grid and its start."""
    given, steps, sway = _tensors(inputs), config["n_timesteps"], config["sway_sampling_coef"]
    x = _cfm(config, fill).sample(
        given["mu"],
        steps,
        given["noise"],
        given["cond"],
        given["global_cond"],
        config["cfg_value"],
        sway,
        config["use_cfg_zero_star"],
        config["temperature"],
    )
    return _arrays({"x": x, "t_span": time_grid(steps, sway), "x_init": given["noise"] * config["temperature"]})


@torch.no_grad()
def cfm_loss(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The loss with every draw given, and what the estimator was asked."""
    given, head = _tensors(inputs), _cfm(config, fill)
    draws = Draws(
        mu_drop=given["u_mu_drop"],
        cond_drop=given["u_cond_drop"],
        cond_noise_share=given["u_noise_cond"],
        cond_noise=given["n_noise_cond"],
        r=given["n_r"],
        t=given["n_t"],
        r_mask=given["u_r"],
        z=given["z"],
    )
    noised = head.noised(given["x1"], given["mu"], given["cond"], draws)
    pred = head.predict(noised, given["global_cond"])
    return _arrays(
        {
            "loss": frame_error(pred, noised.target, given.get("tgt_mask")),
            "pred": pred,
            "y": noised.y,
            "t": noised.t,
            "dt": torch.zeros_like(noised.t),
            "mu_used": noised.mu,
            "cond_used": noised.cond,
        }
    )


def cfm_zero_star(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The scale of the unconditional velocity."""
    given = _tensors(inputs)
    return _arrays({"scale": zero_star_scale(given["positive"], given["negative"])})


@torch.no_grad()
def stop_predictor(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """Logits of the stop classifier."""
    return _arrays({"logits": fill.apply(StopPredictor(config["dim"]))(_tensors(inputs)["x"])})


def labels_of_stop(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """Labels at patch positions, and the weight of positives before its factor."""
    given = _tensors(inputs)
    labels = stop_labels(
        given["start"],
        given["length"],
        config["T"],
        config["fps"],
        config["patch_size"],
        config["ignore_seconds"],
    )
    return _arrays({"labels": labels, "pos_weight": positive_weight(labels)})
