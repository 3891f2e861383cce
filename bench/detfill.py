"""The rule ``detfill-1``: network weights as a pure function of each tensor's name and shape.

Two implementations of one network that give their parameters the same names and shapes get the
same weights, and so can be compared without any checkpoint.

The uniform numbers of a tensor are SplitMix64 outputs: the state starts at the first 8 bytes
(little endian) of SHA-256 of the name, the top 24 bits of each output are scaled to [-1, 1).
With u such a number, the value is

==========================================================  ============================
tensor                                                      value
==========================================================  ============================
last part of the name ``running_var``                       1 + 0.1 |u|
``running_mean``                                            0.1 u
``weight_g`` or ``original0`` (gains of weight norm)        1 + 0.1 u
0 or 1 dimensions: ``weight``, ``gamma``, ``g``, ``scale``  1 + 0.1 u
other tensors of 0 or 1 dimensions                          0.1 u
the rest                                                    u * gain / sqrt(fan-in)
==========================================================  ============================

with fan-in the product of all dimensions but the first. Tensors that are not floating and those
named in ``keep`` stay as the constructor made them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

RULE = "detfill-1"
_STEP = 0x9E3779B97F4A7C15  # SplitMix64's increment
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # its (shift, multiplier) rounds
_LAST_SHIFT = 31
_BITS = 24  # of each 64-bit output; what float32 holds exactly
_SPREAD = 0.1
_PIECE = 1 << 17  # numbers whose states fit into a core's cache
_GAIN_NAMES = frozenset({"weight_g", "original0"})
_VECTOR_GAIN_NAMES = frozenset({"weight", "gamma", "g", "scale"})
_Module = TypeVar("_Module", bound="torch.nn.Module")


def uniform(name: str, count: int, first: int = 0) -> NDArray[np.float32]:
    """``count`` float32 numbers in [-1, 1) that depend on ``name`` alone, from number ``first`` on."""
    seed = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "little")
    state = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    state *= np.uint64(_STEP)  # uint64 arrays wrap around, as SplitMix64 wants
    state += np.uint64(seed)
    for shift, factor in _MIX:
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(_LAST_SHIFT)
    top = (state >> np.uint64(64 - _BITS)).astype(np.float64)
    return (top / 2.0 ** (_BITS - 1) - 1.0).astype(np.float32)


def tensor_values(name: str, shape: tuple[int, ...], gain: float = 1.0) -> NDArray[np.float32]:
    """What the rule gives to the tensor ``name``; see the module's table."""
    return _scaled(uniform(name, math.prod(shape)), name, shape, gain).reshape(shape)


def tensor_pieces(
    name: str, shape: tuple[int, ...], gain: float = 1.0, most: int = _PIECE
) -> Iterator[NDArray[np.float32]]:
    """The same, flat, in pieces of ``most`` numbers: for tensors that need not be in memory."""
    count = math.prod(shape)
    for first in range(0, count, most):
        yield _scaled(uniform(name, min(most, count - first), first), name, shape, gain)


def _scaled(u: NDArray[np.float32], name: str, shape: tuple[int, ...], gain: float) -> NDArray[np.float32]:
    offset, factor = _offset_and_factor(name.rpartition(".")[2], shape, gain)
    if name.rpartition(".")[2] == "running_var":
        u = np.abs(u)
    return np.asarray(offset + factor * u if offset else u * factor).astype(np.float32)


def _offset_and_factor(last: str, shape: tuple[int, ...], gain: float) -> tuple[float, float]:
    if last == "running_mean":
        return 0.0, _SPREAD
    if last == "running_var" or last in _GAIN_NAMES:
        return 1.0, _SPREAD
    if len(shape) <= 1:
        return (1.0 if last in _VECTOR_GAIN_NAMES else 0.0), _SPREAD
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))


def fill_module(module: _Module, gain: float = 1.0, keep: Collection[str] = ()) -> _Module:
    """Fill a module's state in place and return it. ``keep``: tensors, or prefixes of them, left alone."""
    import torch

    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and not _kept(name, keep):
                tensor.copy_(torch.from_numpy(tensor_values(name, tuple(tensor.shape), gain)))
    return module


def _kept(name: str, keep: Collection[str]) -> bool:
    return any(name == kept or name.startswith(f"{kept}.") for kept in keep)
