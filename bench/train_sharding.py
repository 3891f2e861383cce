"""``bench train --parallel fsdp``: parameters, gradients and optimisers' states split over ``torchrun``'s processes.

PyTorch's fully sharded data parallelism (``torch.distributed.fsdp.fully_shard``). A stage says what is split
(:meth:`bench.train.Stage.sharded`); all else stays whole in every process. Checkpoints and weights hold whole tensors,
so that a training goes on with the other setting too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from bench.errors import UsageError
from bench.train_world import World

_Nested = TypeVar("_Nested")


@dataclass(frozen=True)
class Sharded:
    """A module to split: ``units`` of it are gathered one at a time, when they are called; the rest all together.

    ``methods`` of the module are called in place of its ``forward``.
    """

    module: nn.Module
    units: Sequence[nn.Module] = ()
    methods: Sequence[str] = ()


def check(world: World, dtype: str, parts: Sequence[Sharded], stage: str, *, averaged: bool) -> None:
    """Raises :class:`UsageError` where a training cannot be split."""
    if world.size == 1:
        raise UsageError("--parallel fsdp needs several processes", "start it with `torchrun --nproc-per-node N`.")
    if dtype == "float16":
        raise UsageError("--parallel fsdp with --dtype float16 is not possible", "take --dtype bfloat16.")
    if averaged or not parts:
        raise UsageError(f"stage {stage} is small and is not split", "take --parallel ddp.")


def shard(parts: Sequence[Sharded], optimisers: Iterable[torch.optim.Optimizer], world: World) -> None:
    """Split the modules over all processes, and give the optimisers, which have no state yet, the new parameters."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    names = {id(parameter): (part.module, name) for part in parts for name, parameter in part.module.named_parameters()}
    for part in parts:
        for unit in part.units:
            fully_shard(unit, mesh=mesh)
        fully_shard(part.module, mesh=mesh)
        for method in part.methods:
            register_fsdp_forward_method(part.module, method)
    now = {id(part.module): dict(part.module.named_parameters()) for part in parts}
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["params"] = [_new(parameter, names, now) for parameter in group["params"]]


def _new(
    parameter: nn.Parameter,
    names: Mapping[int, tuple[nn.Module, str]],
    now: Mapping[int, Mapping[str, nn.Parameter]],
) -> nn.Parameter:
    if id(parameter) not in names:
        return parameter
    module, name = names[id(parameter)]
    return now[id(module)][name]


def whole(nested: _Nested) -> _Nested:
    """``nested`` (tensors in mappings and sequences) with whole tensors in the place of split ones.

    To be called by all processes.
    """
    from torch.distributed.tensor import DTensor

    if isinstance(nested, DTensor):
        return nested.full_tensor()  # type: ignore[return-value]
    if isinstance(nested, Mapping):
        return {key: whole(value) for key, value in nested.items()}  # type: ignore[return-value]
    if isinstance(nested, (list, tuple)):
        return type(nested)(whole(value) for value in nested)
    return nested


def load(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """``network.load_state_dict`` of whole tensors, of which each process takes its part where the network is split."""
    own = network.state_dict()
    network.load_state_dict({name: _part(tensor, own.get(name)) for name, tensor in state.items()})


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """``optimiser.load_state_dict`` likewise."""
    optimiser.load_state_dict(dict(state))
    for parameter, held in optimiser.state.items():
        for name, value in held.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                held[name] = _part(value, parameter)


def _part(tensor: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
    """This process's part of ``tensor``, split as ``like`` is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
