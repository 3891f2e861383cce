"""Whether a weight file that is here still is what it was when it was added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError
from bench.records import WeightFile
from bench.weights import here, sha256, shipped_here
from bench.weights_file import check_header, load, read_header, recorded

if TYPE_CHECKING:
    import torch


def verify(weight: WeightFile, step: Callable[[int], None] | None = None) -> str:
    """Check a file that is here all over, and return the SHA-256 of its official source.

    ``step`` is told the bytes of each piece that was read.

    Raises:
        DataError: absent, damaged, or not what is declared.
    """
    path = here(weight)
    if shipped_here(weight):
        from bench.weights_shipped import read

        bad = not_finite(read(path))
        if bad:
            raise DataError(f"{path}: {bad}", "train and ship it anew: `make embedded`.")
    if weight.package is not None or weight.manifest is None:
        return _verify_raw(weight, path, step)
    check_header(weight, path)
    found = load(path)
    if step is not None:
        step(path.stat().st_size)
    bad = not_finite(found)
    if bad:
        raise DataError(f"{path}: {bad}", "remove it, then `bench weights add` the official file again.")
    return recorded(read_header(path).metadata, path).source_sha256


def _verify_raw(weight: WeightFile, path: Path, step: Callable[[int], None] | None) -> str:
    actual = sha256(path, step)
    if weight.sha256 is not None and actual != weight.sha256:
        origin = f"reinstall {weight.package}" if weight.package else "`bench weights add --force FILE`"
        raise DataError(f"{path} has SHA-256 {actual}, declared is {weight.sha256}", f"{origin}.")
    return actual


def not_finite(tensors: Mapping[str, torch.Tensor]) -> str:
    """How many tensors hold NaN or infinite numbers, and the first of them; ``""``: none."""
    import torch

    bad = [name for name in sorted(tensors) if not bool(torch.isfinite(tensors[name]).all())]
    return f"{len(bad)} tensors hold NaN or infinite numbers, the first is {bad[0]}" if bad else ""
