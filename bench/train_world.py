"""The processes that train together: started by ``torchrun``, or one alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class World:
    """Process ``rank`` of ``size``, which trains on ``device``."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def of_environment(cls, device: str) -> World:
        """By the variables that ``torchrun`` sets; ``cuda`` is the device of the process's own number."""
        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return cls(rank, size, torch.device(f"cuda:{local}" if device == "cuda" and size > 1 else device))

    def __enter__(self) -> World:
        if self.size > 1:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            torch.distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        return self

    def __exit__(self, *exc: object) -> None:
        if self.size > 1:
            torch.distributed.destroy_process_group()

    def average(self, parameters: list[nn.Parameter]) -> None:
        """The mean gradient over all processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([gradient.reshape(-1).float() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        for parameter, part in zip(parameters, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)

    def agree(self, tensors: list[torch.Tensor]) -> None:
        """Everybody gets rank 0's tensors (running statistics differ between ranks)."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

    def any(self, flag: bool) -> bool:
        """Whether any process says so: all stop together."""
        if self.size == 1:
            return flag
        vote = torch.tensor([float(flag)], device=self.device)
        torch.distributed.all_reduce(vote)
        return bool(vote.item())
