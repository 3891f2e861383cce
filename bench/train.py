"""The one training loop of all systems: resumable to the bit, mixed precision on CUDA, one device or ``torchrun``.

A :class:`Stage` says what is trained, on what, and with which losses; the loop does the rest. Everything
random in a step is drawn from seeds of (run seed, step, rank), and a batch is a function of its step: a
training that was killed goes on from its last checkpoint with the very losses that it would have had.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import nn

from bench import train_sharding
from bench.errors import BenchError, UsageError
from bench.train_files import CurveLog, Sound, read_checkpoint, write_checkpoint, write_weights
from bench.train_sharding import Sharded, whole
from bench.train_world import World

if TYPE_CHECKING:
    from bench.progress import Progress

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PARALLEL = ("ddp", "fsdp")
CHECKPOINT = "last.pt"
WEIGHTS = "weights.safetensors"
_ABSENT = object()  # a setting that a checkpoint does not know; None is a value


class Loss(NamedTuple):
    """A loss to descend: which optimiser steps on it, and what is written to the curve.

    ``partial``: the optimiser does not step yet; its next loss adds its gradients to this one's.
    """

    optimiser: str
    value: torch.Tensor
    logged: Mapping[str, float | torch.Tensor]
    partial: bool = False


class Stage(ABC):
    """One stage of a system's training.

    ``name`` and ``describe`` enter the checkpoint: a training goes on only as what it was.
    ``clip_norm`` bounds the norm of an optimiser's gradients; ``averaged`` names networks of which an
    exponential average with that decay is kept and shipped. A step whose loss or gradient is no number is
    skipped, but the ``bad_steps``-th in a row ends the training; 1: so does the first.
    """

    name: ClassVar[str]
    bad_steps: ClassVar[int] = 1
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

    def sharded(self) -> Sequence[Sharded]:
        """What ``--parallel fsdp`` splits over the processes; empty: nothing.

        Raises:
            UsageError: under these settings nothing can be split.
        """
        return ()

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
    """How long and where. ``every``: steps between checkpoints; ``budget_s``: stop in time, between two steps.

    ``parallel``: what the processes of ``torchrun`` share: ``ddp`` the batch, ``fsdp`` the networks too.
    """

    steps: int
    folder: Path
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    every: int = 200
    budget_s: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    parallel: str = "ddp"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"--dtype {self.dtype!r} is unknown", f"one of {', '.join(DTYPES)}.")
        if self.parallel not in PARALLEL:
            raise UsageError(f"--parallel {self.parallel!r} is unknown", f"one of {', '.join(PARALLEL)}.")
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
        TrainingError: losses are not finite, for as many steps as the stage bears; the last checkpoint stays.
    """
    world = World.of_environment(settings.device)
    with world:
        return _Loop(stage, settings, world, stop).run(progress)


class _Loop:
    def __init__(self, stage: Stage, settings: TrainSettings, world: World, stop: Callable[[], bool]) -> None:
        self._stage, self._settings, self._world, self._stop = stage, settings, world, stop
        self._split = settings.parallel == "fsdp"
        self._networks, self._optimisers = dict(stage.networks()), dict(stage.optimisers())
        if self._split:
            parts = stage.sharded()
            train_sharding.check(world, settings.dtype, parts, stage.name, averaged=bool(stage.averaged))
            train_sharding.shard(parts, self._optimisers.values(), world)
        for network in self._networks.values():
            network.to(world.device)
        self._averages = {name: _Average(self._networks[name], decay) for name, decay in stage.averaged.items()}
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=settings.dtype == "float16")
        self._fingerprint = {"stage": stage.name, "seed": settings.seed, "world": world.size, **stage.describe()}
        self._began = time.monotonic()
        self._bad = 0  # steps in a row that were skipped
        self._begun: set[str] = set()  # optimisers that have gradients of a partial loss

    def run(self, progress: Progress) -> Trained:
        first = self._resume()
        if not self._split:
            self._world.agree([t for network in self._networks.values() for t in network.state_dict().values()])
        log = CurveLog(self._settings.folder, first) if self._world.rank == 0 else None
        steps, step = self._settings.steps, first
        try:
            with progress.stage(f"train {self._stage.name}", max(0, steps - first), first) as bar:
                while step < steps and not self._world.any(self._out_of_time() or self._stop()):
                    logged = self._step(step, progress)
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
        return Trained(step, why, self._ship(step) if self._split or self._world.rank == 0 else None)

    def _out_of_time(self) -> bool:
        budget = self._settings.budget_s
        return budget is not None and time.monotonic() - self._began >= budget

    def _step(self, step: int, progress: Progress) -> dict[str, float]:
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
        statistics = self._statistics()
        self._begun.clear()
        while True:
            with self._autocast():
                loss = next(losses, None)
            if loss is None:
                break
            trouble = self._descend(loss)
            if trouble:
                progress.say(self._skipped(f"{trouble} at step {step}", statistics))
                return {**logged, "skipped": 1.0}
            logged |= {name: float(value) for name, value in loss.logged.items()}
        for average in self._averages.values():
            average.update()
        self._bad = 0
        return logged

    def _statistics(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Running statistics and a copy of each, where a step may be skipped: a loss that is no number spoils them."""
        if self._stage.bad_steps == 1:
            return []
        return [(one, one.clone()) for network in self._networks.values() for one in network.buffers()]

    def _skipped(self, trouble: str, statistics: list[tuple[torch.Tensor, torch.Tensor]]) -> str:
        """Undo what a step without a number to descend has done to the networks; a line for people.

        Raises:
            TrainingError: it is one too many.
        """
        self._bad += 1
        if self._bad >= self._stage.bad_steps:
            raise TrainingError(
                trouble + (f", the last of {self._bad} in a row" if self._bad > 1 else ""),
                "the last checkpoint is kept; try a lower learning rate or --dtype float32.",
            )
        for current, before in statistics:
            current.copy_(before)
        return f"{trouble}: nothing is learned from it"

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._settings.dtype == "float32":
            return nullcontext()
        return torch.autocast(self._world.device.type, DTYPES[self._settings.dtype])

    def _descend(self, loss: Loss) -> str:
        """One step on a loss; what is no number where there is none to take, and then nothing is changed."""
        finite = bool(torch.isfinite(loss.value))
        if self._world.any(not finite):
            return f"the loss of {loss.optimiser!r} is {'no number elsewhere' if finite else loss.value.item()}"
        optimiser = self._optimisers[loss.optimiser]
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        if loss.optimiser not in self._begun:
            optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss.value))
        if loss.partial:
            self._begun.add(loss.optimiser)
            return ""
        self._begun.discard(loss.optimiser)
        self._scaler.unscale_(optimiser)
        if not self._split:  # else they are averaged already
            self._world.average(parameters)
        if loss.optimiser in self._stage.clip_norm:
            norm = whole(nn.utils.clip_grad_norm_(parameters, self._stage.clip_norm[loss.optimiser]))
            if not self._scaler.is_enabled() and not bool(torch.isfinite(norm)):  # else the scaler sees to it
                return f"the gradient of {loss.optimiser!r} is {norm.item()}"
        self._scaler.step(optimiser)
        self._scaler.update()
        return ""

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
            train_sharding.load(network, found["networks"][name])
        for name, optimiser in self._optimisers.items():
            train_sharding.load_optimiser(optimiser, found["optimisers"][name])
        for name, average in self._averages.items():
            average.load(found["averages"][name])
        self._scaler.load_state_dict(found["scaler"])
        return int(found["step"])

    def _save(self, step: int) -> None:
        self._world.agree([b for network in self._networks.values() for b in network.buffers()])
        networks = {name: whole(network.state_dict()) for name, network in self._networks.items()}
        optimisers = {name: whole(optimiser.state_dict()) for name, optimiser in self._optimisers.items()}
        if self._world.rank:
            return
        write_checkpoint(
            self._settings.folder / CHECKPOINT,
            {
                "step": step,
                "fingerprint": self._fingerprint,
                "networks": networks,
                "optimisers": optimisers,
                "averages": {name: average.shadow for name, average in self._averages.items()},
                "scaler": self._scaler.state_dict(),
            },
        )

    def _ship(self, step: int) -> Path | None:
        """The weights; of split networks all processes have to give their parts, and the first one writes."""
        for network in self._networks.values():
            network.eval()
        with torch.no_grad():
            self._stage.finish()
        tensors: dict[str, torch.Tensor] = {}
        for name, network in self._networks.items():
            state = self._averages[name].shadow if name in self._averages else network.state_dict()
            tensors |= {f"{name}.{key}": tensor for key, tensor in whole(state).items()}
        if self._world.rank:
            return None
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
