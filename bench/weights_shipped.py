"""Reading the checkpoints that are shipped, as :func:`bench.embedded.ship` has written them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError

if TYPE_CHECKING:
    import torch

#: Of the header: the hash of the tensors.
DIGEST = "tensors_sha256"


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a shipped file, floats in 32 bits, held against their recorded hash.

    Raises:
        DataError: damaged, or not written by :func:`ship`.
    """
    from bench.weights_file import digest, load_any

    wanted = facts(path).get(DIGEST)
    found = load_any(path)
    if wanted is None or digest(found) != wanted:
        raise DataError(
            f"{path} is damaged: its tensors hash to other than when it was written", "install the package again."
        )
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}


def facts(path: Path) -> Mapping[str, str]:
    """What the header of a shipped file says about its training.

    Raises:
        DataError: no such file, or a damaged one.
    """
    from bench.weights_file import read_header

    return read_header(path).metadata
