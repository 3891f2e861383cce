"""Weights that ``bench train`` has written, given to a system as a setting: networks filled with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    _Network = TypeVar("_Network", bound=nn.Module)

_SHOWN = 120  # characters of what torch says about weights that do not fit


def filled(network: _Network, path: Path, part: str, setting: str) -> _Network:
    """``network`` with the tensors ``<part>.…`` of a file, in evaluation mode, without gradients.

    ``setting`` is what the file was given as.

    Raises:
        UsageError, DataError: no such file, one that does not fit, or a damaged one.
    """
    from bench.weights_file import load_any

    found = load_any(regular(path, setting))
    head = f"{part}."
    own = {name.removeprefix(head): tensor for name, tensor in found.items() if name.startswith(head)}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        wrong = str(error).partition("\n")[2].strip() or str(error)
        raise UsageError(
            f"--set {setting}={path} is no {part} of this configuration: {wrong[:_SHOWN]}…",
            f"give the weights.safetensors of the stage {part!r}, trained with the same --config.",
        ) from error
    network.requires_grad_(False)
    return network.eval()


def regular(path: Path, setting: str) -> Path:
    """The path of a file that is there.

    Raises:
        UsageError: it is not.
    """
    if not path.is_file():
        raise UsageError(f"--set {setting}={path}: no such file", "`bench train` writes weights.safetensors.")
    return path


def no_such_files(given: Mapping[str, str | None]) -> list[str]:
    """Settings that name a file which is not there, a line for each; ``None``: not set."""
    return [f"{name}={path}: no such file" for name, path in given.items() if path and not Path(path).is_file()]
