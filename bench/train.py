"""The one training loop of all systems: resumable to the bit, mixed precision on CUDA, one device or ``torchrun``.

A :class:`Stage` says what is trained, on what, and with which losses; the loop does the rest. Everything
random in a step is drawn from seeds of (run seed, step, rank), and a batch is a function of its step: a
training that was killed goes on from its last checkpoint with the very losses that it would have had.
"""

from __future__ import annotations

import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import nn

from bench.errors import BenchError, UsageError
from bench.train_files import CurveLog, Sound, read_checkpoint, write_checkpoint, write_weights

if TYPE_CHECKING:
    from bench.progress import Progress

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHECKPOINT = "last.pt"
WEIGHTS = "weights.safetensors"
_ABSENT = object()  # a setting that a checkpoint does not know; None is a value


class Loss(NamedTuple):
    """A loss to descend: which optimiser steps on it, and what is written to the curve."""

    optimiser: str
    value: torch.Tensor
    logged: Mapping[str, float | torch.Tensor]


class Stage(ABC):
    """One stage of a system's training.

    ``name`` and ``describe`` enter the checkpoint: a training goes on only as what it was.
    ``clip_norm`` bounds the norm of an optimiser's gradients; ``averaged`` names networks of which an
    exponential average with that decay is kept and shipped.
    """

    name: ClassVar[str]
    clip_norm: Mapping[str, float] = {}
    averaged: Mapping[str, float] = {}

    @abstractmethod
    def networks(self) -> Mapping[str, nn.Module]:
        """What is saved. Networks that only help (experts) are not among them."""

    @abstractmethod
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """By name; over parameters of :meth:`networks`."""

    @abstractmethod
    def batch(self, step: int, rank: int, world: int) -> Any:
        """The batch of a step (0 first) for process ``rank`` of ``world``: a function of these alone."""

    @abstractmethod
    def losses(self, batch: Any, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """Yield each loss in turn; before the next is asked for, its optimiser has stepped on it."""

    def describe(self) -> Mapping[str, Any]:
        """Settings that decide the result, in JSON's types."""
        return {}

    def facts(self) -> Mapping[str, str]:
        """What the header of the weights says of this stage, beside command, data and versions."""
        return {}

    def begin(self, step: int) -> None:
        """Called before each step: learning rates by step, warm-ups."""

    def sounds(self, step: int) -> Mapping[str, Sound]:
        """What TensorBoard is to play after ``step`` steps; nothing after most. Asked in the first process, and only
        where TensorBoard is installed: the training's numbers must not depend on it."""
        return {}

    def finish(self) -> None:
        """Called in the first process before weights are written, networks in evaluation mode; the checkpoint has been
        saved. For what is measured with the trained network and belongs to it (statistics of its outputs)."""


@dataclass(frozen=True)
class TrainSettings:
    """How long and where. ``every``: steps between checkpoints; ``budget_s``: stop in time, between two steps."""

    steps: int
    folder: Path
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    every: int = 200
    budget_s: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"--dtype {self.dtype!r} is unknown", f"one of {', '.join(DTYPES)}.")
        if self.steps < 1 or self.every < 1:
            raise UsageError("--steps and --every must be at least 1", "")
        if self.dtype != "float32" and not self.device.startswith("cuda"):
            raise UsageError(f"--dtype {self.dtype} needs --device cuda", "on a CPU train in float32.")


@dataclass(frozen=True)
class Trained:
    """What a call did: the steps that are done now, and why it stopped (``steps``, ``budget`` or ``asked``)."""

    step: int
    reason: str
    weights: Path | None


class TrainingError(BenchError):
    """A training that cannot go on: a loss that is no number."""

    exit_code = 1


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of everything random in a step: 8 bytes of SHA-256(``<seed>:<step>:<rank>``), below 2**63."""
    digest = hashlib.sha256(f"{seed}:{step}:{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def train(
    stage: Stage, settings: TrainSettings, progress: Progress, stop: Callable[[], bool] = lambda: False
) -> Trained:
    """Train ``stage`` up to ``settings.steps`` steps, going on from the folder's checkpoint where there is one.

    ``stop`` is asked between two steps; where it says so, the training is saved and ends.

    Raises:
        UsageError: the checkpoint is of another stage or of other settings.
        TrainingError: a loss is not finite; the last checkpoint stays.
    """
    world = _World.of_environment(settings.device)
    with world:
        return _Loop(stage, settings, world, stop).run(progress)


@dataclass
class _World:
    """The processes of ``torchrun``; one without it."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def of_environment(cls, device: str) -> _World:
        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return cls(rank, size, torch.device(f"cuda:{local}" if device == "cuda" and size > 1 else device))

    def __enter__(self) -> _World:
        if self.size > 1:
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


class _Loop:
    def __init__(self, stage: Stage, settings: TrainSettings, world: _World, stop: Callable[[], bool]) -> None:
        self._stage, self._settings, self._world, self._stop = stage, settings, world, stop
        self._networks = {name: network.to(world.device) for name, network in stage.networks().items()}
        self._optimisers = dict(stage.optimisers())
        self._averages = {name: _Average(self._networks[name], decay) for name, decay in stage.averaged.items()}
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=settings.dtype == "float16")
        self._fingerprint = {"stage": stage.name, "seed": settings.seed, "world": world.size, **stage.describe()}
        self._began = time.monotonic()

    def run(self, progress: Progress) -> Trained:
        first = self._resume()
        self._world.agree([t for network in self._networks.values() for t in network.state_dict().values()])
        log = CurveLog(self._settings.folder, first) if self._world.rank == 0 else None
        steps, step = self._settings.steps, first
        try:
            with progress.stage(f"train {self._stage.name}", max(0, steps - first), first) as bar:
                while step < steps and not self._world.any(self._out_of_time() or self._stop()):
                    logged = self._step(step)
                    step += 1
                    if log is not None:
                        log.add(step, logged)
                        log.play(step, self._stage.sounds)
                    bar.advance()
                    if step % self._settings.every == 0 and step < steps:
                        self._save(step)
        finally:
            if log is not None:
                log.close()
        self._save(step)
        asked = self._world.any(self._stop())
        why = "steps" if step >= steps else "asked" if asked else "budget"
        return Trained(step, why, self._ship(step) if self._world.rank == 0 else None)

    def _out_of_time(self) -> bool:
        budget = self._settings.budget_s
        return budget is not None and time.monotonic() - self._began >= budget

    def _step(self, step: int) -> dict[str, float]:
        for network in self._networks.values():
            network.train()
        self._stage.begin(step)
        batch = self._stage.batch(step, self._world.rank, self._world.size)
        seed = step_seed(self._settings.seed, step, self._world.rank)
        # dropout draws from the process's generator, which belongs to this loop; seeded after the batch, since a clip
        # that is prepared only now may build networks, whose fresh weights draw from it too
        torch.manual_seed(seed)
        generator = torch.Generator(self._world.device).manual_seed(seed)
        losses = self._stage.losses(batch, step, generator)
        logged: dict[str, float] = {}
        while True:
            with self._autocast():
                loss = next(losses, None)
            if loss is None:
                break
            self._descend(loss, step)
            logged |= {name: float(value) for name, value in loss.logged.items()}
        for average in self._averages.values():
            average.update()
        return logged

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._settings.dtype == "float32":
            return nullcontext()
        return torch.autocast(self._world.device.type, DTYPES[self._settings.dtype])

    def _descend(self, loss: Loss, step: int) -> None:
        if not bool(torch.isfinite(loss.value)):
            raise TrainingError(
                f"the loss of {loss.optimiser!r} is {loss.value.item()} at step {step}",
                "the last checkpoint is kept; try a lower learning rate or --dtype float32.",
            )
        optimiser = self._optimisers[loss.optimiser]
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss.value))
        self._scaler.unscale_(optimiser)
        self._world.average(parameters)
        if loss.optimiser in self._stage.clip_norm:
            nn.utils.clip_grad_norm_(parameters, self._stage.clip_norm[loss.optimiser])
        self._scaler.step(optimiser)
        self._scaler.update()

    def _resume(self) -> int:
        found = read_checkpoint(self._settings.folder / CHECKPOINT, self._world.device)
        if found is None:
            return 0
        if found["fingerprint"] != self._fingerprint:
            differing = sorted(
                key
                for key in {*found["fingerprint"], *self._fingerprint}
                if found["fingerprint"].get(key, _ABSENT) != self._fingerprint.get(key, _ABSENT)
            )
            raise UsageError(
                f"{self._settings.folder} holds a training with other settings: {', '.join(differing)}",
                "give another --out, or the settings that it began with.",
            )
        for name, network in self._networks.items():
            network.load_state_dict(found["networks"][name])
        for name, optimiser in self._optimisers.items():
            optimiser.load_state_dict(found["optimisers"][name])
        for name, average in self._averages.items():
            average.load(found["averages"][name])
        self._scaler.load_state_dict(found["scaler"])
        return int(found["step"])

    def _save(self, step: int) -> None:
        self._world.agree([b for network in self._networks.values() for b in network.buffers()])
        if self._world.rank:
            return
        write_checkpoint(
            self._settings.folder / CHECKPOINT,
            {
                "step": step,
                "fingerprint": self._fingerprint,
                "networks": {name: network.state_dict() for name, network in self._networks.items()},
                "optimisers": {name: optimiser.state_dict() for name, optimiser in self._optimisers.items()},
                "averages": {name: average.shadow for name, average in self._averages.items()},
                "scaler": self._scaler.state_dict(),
            },
        )

    def _ship(self, step: int) -> Path:
        for network in self._networks.values():
            network.eval()
        with torch.no_grad():
            self._stage.finish()
        tensors: dict[str, torch.Tensor] = {}
        for name, network in self._networks.items():
            state = self._averages[name].shadow if name in self._averages else network.state_dict()
            tensors |= {f"{name}.{key}": tensor for key, tensor in state.items()}
        known = {**self._settings.provenance, **self._stage.facts()}
        facts = {**known, "stage": self._stage.name, "steps": step, "seed": self._settings.seed}
        return write_weights(self._settings.folder / WEIGHTS, tensors, {k: str(v) for k, v in facts.items()})


class _Average:
    """The exponential moving average of a network's tensors; those that are no floats are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self.shadow = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        for name, tensor in self._network.state_dict().items():
            if tensor.is_floating_point():
                self.shadow[name].lerp_(tensor, 1.0 - self._decay)
            else:
                self.shadow[name].copy_(tensor)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in state.items():
            self.shadow[name].copy_(tensor)
