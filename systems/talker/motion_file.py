"""Motion codes that a user gives as a file: safetensors, or what ``torch.save`` writes of one tensor alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError, UsageError

if TYPE_CHECKING:
    import torch

NAME = "motion"
_LEAST_ROWS = 4  # a patch
_EXPECTED = "give codes (frames, {}) as safetensors (tensor `motion`), or a file of torch.save with that tensor alone."


def read_motion(path: Path, channels: int) -> torch.Tensor:
    """Raw codes ``(T, channels)`` float32; further columns of the file are left out, as by the official script.

    Raises:
        UsageError: no such file.
        DataError: a pickle that holds more than a tensor (nothing of it is run), another shape, numbers that are not
            finite.
    """
    import torch

    from bench.weights_read import read, regular_file

    expected = _EXPECTED.format(channels)
    if not path.is_file():
        raise UsageError(f"{path}: no such file", expected)
    found = read(regular_file(path))
    if isinstance(found, dict):
        if NAME not in found:
            raise DataError(f"{path} has no tensor `{NAME}`, but {', '.join(list(found)[:5]) or 'none'}", expected)
        found = found[NAME]
    if not isinstance(found, torch.Tensor) or not found.is_floating_point():
        raise DataError(f"{path} holds no tensor of numbers", expected)
    if found.dim() != 2 or found.shape[1] < channels or len(found) < _LEAST_ROWS:
        shape = tuple(found.shape)
        raise DataError(f"{path} has shape {shape}, expected at least ({_LEAST_ROWS}, {channels})", expected)
    codes = found[:, :channels].detach().float().clone()
    if not bool(torch.isfinite(codes).all()):
        raise DataError(f"{path} has numbers that are not finite", expected)
    return codes
