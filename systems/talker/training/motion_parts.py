"""What an earlier motion stage has made: from its own file, or the shipped one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

from torch import nn

from bench.api import DataError, UsageError
from bench.embedded import EMBEDDED, embedded_file
from bench.trained import filled
from bench.weights_file import digest

_Network = TypeVar("_Network", bound=nn.Module)
_SHOWN = 16


class Origin(NamedTuple):
    """``network``: its name in a training's file; ``shipped``: the name of the shipped file; ``stage`` makes it;
    ``setting`` names the file to take instead."""

    network: str
    shipped: str
    stage: str
    setting: str


def trained(network: _Network, origin: Origin, file: str | None) -> _Network:
    """``network`` filled, from ``file`` where one is given.

    Raises:
        UsageError: it is not here, or does not fit.
        DataError: ``file`` is damaged.
    """
    if file is not None:
        return filled(network, Path(file), origin.network, origin.setting)
    try:
        return EMBEDDED.fill(network, embedded_file("talker", origin.shipped, origin.stage))
    except DataError as error:
        raise UsageError(
            error.message,
            f"`bench train talker --stage {origin.stage} --config tiny`, then "
            f"--set {origin.setting}=FOLDER/weights.safetensors.",
        ) from error


def fingerprint(network: nn.Module) -> str:
    """Differs where the numbers do."""
    return digest(network.state_dict())[:_SHOWN]
