"""A small network with everything that real files have, and files of it in every format."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from bench.api import Failure, Metric, Protocol, Value, WeightFile

Manifest = dict[str, tuple[tuple[int, ...], str]]


def toy_manifest() -> Manifest:
    """A convolution, batch normalisation with its counter, a scalar."""
    return {
        "conv.weight": ((8, 3, 3, 3), "float32"),
        "conv.bias": ((8,), "float32"),
        "bn.weight": ((8,), "float32"),
        "bn.bias": ((8,), "float32"),
        "bn.running_mean": ((8,), "float32"),
        "bn.running_var": ((8,), "float32"),
        "bn.num_batches_tracked": ((), "int64"),
        "scale": ((), "float32"),
    }


def half_manifest() -> Manifest:
    """Numbers of half precision, under other names."""
    return {"encoder.weight": ((4, 4), "float16"), "encoder.bias": ((4,), "float16")}


def many_manifest() -> Manifest:
    """Enough tensors that a message cannot name them all."""
    return {f"layers.{index}.weight": ((2, 2), "float32") for index in range(30)}


def weight(name: str, manifest: str | None, sha256: str | None = None) -> WeightFile:
    """A file to be brought by the user."""
    full = f"weights_kit:{manifest}" if manifest else None
    return WeightFile(name, sha256, None, "MIT", "somebody/net", manifest=full)


TOY = weight("toy.pth", "toy_manifest")
HALF = weight("half.pt", "half_manifest")
MANY = weight("many.model", "many_manifest")
SYNCNET = WeightFile("syncnet_v2.model", None, None, "not stated", "joonson/syncnet_python", manifest="syncnet_v2.json")


def metric(*files: WeightFile, name: str = "kit") -> type[Metric]:
    """A metric that declares these files."""

    class Made(Metric):
        protocols = (
            Protocol(
                f"{name}/net@1",
                (Value("x", "X", "higher", "1"),),
                frozenset({"audio"}),
                frozenset({"audio"}),
                "needs-weights",
                {},
                "somebody/net",
                weights=files,
            ),
        )

        def score(self, *args: object) -> Mapping[str, Failure]:
            return {}

    Made.name = name
    return Made


def state(manifest: Manifest, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors as a manifest says, with random numbers."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, (shape, dtype) in manifest.items():
        kind = getattr(torch, dtype)
        made[name] = torch.zeros(shape, dtype=kind)
        if kind.is_floating_point:
            made[name] = torch.randn(shape, generator=generator).to(kind)
    return made
