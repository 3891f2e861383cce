"""What a training writes: its checkpoint, its curve, and the weights that it ends with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.errors import DataError

CURVE = "curve.jsonl"


class Sound(NamedTuple):
    """Mono ``samples`` (N,) in [-1, 1] at ``rate`` Hz."""

    samples: torch.Tensor
    rate: int


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write atomically: a training that is killed meanwhile keeps the checkpoint before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(dict(content), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The checkpoint, or ``None`` where there is none. Only tensors and plain values are read.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise DataError(f"{path} cannot be read: {error}", "delete it to begin anew.") from error
    return found


class CurveLog:
    """A line of JSON per step, and TensorBoard's events where the package is installed.

    Lines beyond step ``first`` are of a training that was killed after its last checkpoint: they are
    written again.
    """

    def __init__(self, folder: Path, first: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CURVE
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= first]
        path.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._board = _tensorboard(folder, first)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """The values of the step that makes ``step`` steps done."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def play(self, step: int, sounds: Callable[[int], Mapping[str, Sound]]) -> None:
        """What ``sounds`` has for the step, to be listened to in TensorBoard; it is not asked where that is absent."""
        if self._board is not None:
            for name, sound in sounds(step).items():
                self._board.add_audio(name, sound.samples.float().cpu()[None], step, sound.rate)

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_curve(folder: Path) -> list[dict[str, float]]:
    """The curve of a training, a mapping per step."""
    return [json.loads(line) for line in _lines(folder / CURVE)]


def _lines(path: Path) -> list[str]:
    """Whole lines; one that a kill has cut is left out."""
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _tensorboard(folder: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the curve is in `curve.jsonl` anyway
        return None
    writer: Any = SummaryWriter
    return writer(str(folder), purge_step=first + 1)


def write_weights(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, str]) -> Path:
    """Tensors as safetensors, with ``facts`` in the header."""
    from safetensors.torch import save_file

    part = path.with_suffix(".part")
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, part, dict(facts))
    part.replace(path)
    return path
