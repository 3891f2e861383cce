"""Throw-away checkpoints of tier embedded: random numbers, shipped as real ones are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from bench.embedded import ship
from bench.records import WeightFile
from bench.train_files import write_weights

COMMAND = "bench train hierspeech --stage test"


def trained(folder: Path, networks: Mapping[str, nn.Module], curve: str = '{"step": 1, "loss": 2.0}\n') -> Path:
    """What a training leaves: all networks in one file, and the curve."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{name}.{key}": value for name, module in networks.items() for key, value in module.state_dict().items()
    }
    (folder / "curve.jsonl").write_text(curve)
    return write_weights(folder / "weights.safetensors", tensors, {"command": COMMAND, "seed": "0"})


def ship_hierspeech(root: Path, only: tuple[str, ...] = ()) -> Path:
    """All shipped files of ``hierspeech`` (or those of ``only``), untrained, under ``root``."""
    from bench.systems.hierspeech import requirements
    from bench.systems.hierspeech.face.generator import TTVFace
    from bench.systems.hierspeech.parts import TINY
    from bench.systems.hierspeech.standard_features import StandardFeatures
    from bench.systems.hierspeech.synthesizer import Synthesizer
    from bench.systems.hierspeech.ttv import TextToVec

    torch.manual_seed(0)
    files = requirements.EMBEDDED
    makers = {
        "features": (files.features, StandardFeatures),
        "ttv": (files.ttv, lambda: TextToVec(TINY.ttv)),
        "synthesizer": (files.synthesizer, lambda: Synthesizer(TINY.synthesizer, TINY.whole_synthesizer)),
        "silent_face": (files.silent_face, lambda: TTVFace(TINY.face)),
        **{f"face_{name}": (file, lambda: TTVFace(TINY.face)) for name, file in requirements.FACES.items()},
    }
    for name, (file, make) in makers.items():
        if not only or name in only:
            _shipped(root, file, name, make())
    return root


def _shipped(root: Path, file: WeightFile, name: str, network: nn.Module) -> None:
    ship(trained(root / "trained" / name, {"network": network}), "network", root / file.name)
