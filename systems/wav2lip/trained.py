"""Weights that ``bench train wav2lip`` has written: what they are, and networks filled with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.api import UsageError

if TYPE_CHECKING:
    from torch import nn

    from bench.systems.wav2lip.generator import Wav2LipGenerator

    _Network = TypeVar("_Network", bound=nn.Module)

_SHOWN = 120  # characters of what torch says about weights that do not fit


def generator_of(path: Path) -> Wav2LipGenerator:
    """The generator of a file that the stage ``generator`` has made, in the size of its configuration, frozen.

    Raises:
        UsageError, DataError: another file, or a damaged one.
    """
    from bench.systems.wav2lip.generator import Wav2LipGenerator
    from bench.systems.wav2lip.training_options import SIZES
    from bench.weights_file import read_header

    config = read_header(regular(path, "trained")).metadata.get("config", "")
    if config not in SIZES:
        raise UsageError(
            f"--set trained={path} was not written by `bench train wav2lip`",
            "official files come by `bench weights add`.",
        )
    return filled(Wav2LipGenerator(SIZES[config].sizes), path, "generator", "trained")


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
