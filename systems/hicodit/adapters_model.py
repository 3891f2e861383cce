"""Golden cases of the network: the two kinds of adaptive normalisation, and a whole small model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from bench.systems.hicodit.blocks import adaptive_norm, per_frame
from bench.systems.hicodit.model import HiCoDiT
from bench.systems.hicodit.sizes import Sizes

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

OPS: dict[str, str] = {op: f"{__name__}:{op}" for op in ("dual_scale_adaln", "hicodit_forward")}

#: Names of the cases' settings, by our names.
_SETTINGS = {
    "levels": "levels",
    "n_low": "low_levels",
    "K": "codes",
    "C": "width",
    "heads": "heads",
    "ratio": "ratio",
    "low_blocks": "low_blocks",
    "high_blocks": "high_blocks",
    "lip": "lip",
    "face": "face",
    "voice": "voice",
    "classes": "classes",
    "stride": "stride",
    "drop": "dropout",
    "param": "parameterisation",
}


def dual_scale_adaln(config: Mapping[str, Any], inputs: Mapping[str, Array], fill: Fill) -> dict[str, Any]:
    """Normalisation with the channels' scale alone, and with temporal factors too."""
    h, gamma, beta, tau = (torch.from_numpy(inputs[name].copy()) for name in ("h", "gamma", "beta", "tau"))
    factors = per_frame(tau, config["stride"], h.shape[1])
    return {
        "single": adaptive_norm(h, gamma, beta, eps=config["eps"]).numpy(),
        "dual": adaptive_norm(h, gamma, beta, factors, config["eps"]).numpy(),
    }


@torch.no_grad()
def hicodit_forward(config: Mapping[str, Any], inputs: Mapping[str, Array], fill: Fill) -> dict[str, Any]:
    """Logits with padding frames at zero, and the voice vector of a face."""
    given = {name: torch.from_numpy(array.copy()) for name, array in inputs.items()}
    model = fill.apply(
        HiCoDiT(Sizes(**{ours: config[name] for name, ours in _SETTINGS.items() if name in config}))
    ).eval()
    lengths, drop = given.get("lengths"), given.get("drop")
    z = model(
        given["x"].long(),
        given["t_low"],
        given["t_high"],
        given["lip"],
        given["identity"],
        given["emotion"].long(),
        drop,
        lengths,
    )
    if lengths is not None:
        z = z * (torch.arange(z.shape[2]) < lengths[:, None])[:, None, :, None]
    return {"z": z.numpy(), "visual_identity": model.visual_identity(given["face"]).numpy()}
