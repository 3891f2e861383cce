"""Where a network's numbers come from: the user's official file, or the fill rule.

A metric asks its :class:`WeightSource` to fill a module of its own; it never opens a file itself.
:data:`OFFICIAL` loads what ``bench weights add`` has checked and converted, strictly. :class:`Seeded`
fills by rule ``detfill-1``: meaningless as quality, exact as regression.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from bench.errors import DataError
from bench.records import WeightFile

if TYPE_CHECKING:
    import torch

_Module = TypeVar("_Module", bound="torch.nn.Module")


class WeightSource(Protocol):
    """Fills networks and says with what."""

    def fill(self, module: _Module, weight: WeightFile) -> _Module:
        """``module`` with the tensors of ``weight``, in evaluation mode, without gradients."""
        ...

    def identity(self, weight: WeightFile) -> str:
        """At most 12 characters that differ where the numbers differ; part of feature keys."""
        ...


class Official:
    """The files that the user has added; strict: every name, every shape, nothing besides."""

    def fill(self, module: _Module, weight: WeightFile) -> _Module:
        """See :meth:`WeightSource.fill`.

        Raises:
            DataError: the file is not here, or does not fit the module.
        """
        from bench.weights import tensors

        found = tensors(weight)
        try:
            module.load_state_dict(found, strict=True)
        except RuntimeError as error:
            raise DataError(
                f"weights {weight.name} do not fit the network: {error}",
                "the manifest and the network disagree: a defect of the metric's plug-in.",
            ) from error
        return _still(module)

    def identity(self, weight: WeightFile) -> str:
        """See :meth:`WeightSource.identity`: the beginning of the official file's SHA-256."""
        from bench.weights import source_sha256

        return source_sha256(weight)[:12]


class Seeded:
    """Rule ``detfill-1`` with a gain per file, by the file's name; 1 where none is given."""

    def __init__(self, gains: Mapping[str, float]) -> None:
        self._gains = dict(gains)

    def fill(self, module: _Module, weight: WeightFile) -> _Module:
        """See :meth:`WeightSource.fill`."""
        from bench.detfill import fill_module

        fill_module(module, self._gains.get(weight.name, 1.0))
        return _still(module)

    def identity(self, weight: WeightFile) -> str:
        """See :meth:`WeightSource.identity`."""
        return f"fill{self._gains.get(weight.name, 1.0):g}"[:12]


def _still(module: _Module) -> _Module:
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


OFFICIAL = Official()
