"""The stage ``codec``: configuration tiny fits ``mel_rvq`` in seconds, configuration full trains DAC.

The fit is k-means, level after level, on what the levels before leave over (specs/codec.md, section 4). A round of it
is a step of the training loop: a gradient step of rate 1 on half the squared distance of the codes to where they
should be. So it is stopped, resumed and logged as every training; :data:`STEPS` steps are all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bench.api import Clip, Unscorable, UsageError
from bench.systems.hicodit.codec.mel_rvq import LEAST_DEVIATION, MelRvq, MelRvqCodec, MelRvqSizes
from bench.systems.hicodit.training import kmeans
from bench.systems.hicodit.training.clip_audio import clip_audio
from bench.train import Loss, Stage
from bench.train_request import TrainRequest

ROUNDS = 12
STEPS = MelRvqSizes().levels * ROUNDS


class FitOptions(BaseModel):
    """``vectors``: of a greater corpus, so many 20 ms frames of clips in random order are learnt from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: int = Field(default=4, ge=1, le=64)
    codes: int = Field(default=256, ge=2, le=65_536, description="codes of a level")
    vectors: int = Field(default=500_000, ge=1, description="20 ms frames to learn from, at most")


def stage(request: TrainRequest) -> Stage:
    """The stage ``codec``.

    Raises:
        UsageError: settings that the configuration does not know.
    """
    if request.config == "full":
        from bench.systems.hicodit.training.dac_stage import DacOptions, DacStage

        return DacStage(request, request.options(DacOptions))
    return FitStage(request, request.options(FitOptions))


class FitStage(Stage):
    """Fits the codebooks of ``mel_rvq``, :data:`ROUNDS` steps a level; further steps go on with the last level."""

    name = "hicodit-codec"

    def __init__(self, request: TrainRequest, options: FitOptions) -> None:
        self._request, self._options = request, options
        self._codec = MelRvq(MelRvqSizes(options.levels, options.codes))
        self._descent = torch.optim.SGD([self._codec.codebooks], lr=1.0)
        self._vectors: Tensor | None = None  # (N, width) in nats
        self._left: tuple[int, Tensor] | None = None  # a level, and what those before it leave of all vectors
        self._measured: dict[str, float] = {}

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"codec": self._codec}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"codec": self._descent}

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return {**self._request.identity(), **self._options.model_dump(mode="json")}

    def begin(self, step: int) -> None:
        """Measures the vectors before the first step, and gives each level its first codes."""
        if step == 0:
            self._standardise()
        level, round_ = self._place(step)
        if round_ == 0:
            seed = level + self._options.levels * self._request.seed
            first = kmeans.start(self._residual(level), self._options.codes, seed)
            with torch.no_grad():
                self._codec.codebooks[level] = first

    def batch(self, step: int, rank: int, world: int) -> tuple[int, Tensor]:
        """The level that is fitted, and what all vectors leave for it: every process has all of them."""
        level, _ = self._place(step)
        return level, self._residual(level)

    def losses(self, batch: tuple[int, Tensor], step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        level, left = batch
        codebook = self._codec.codebooks[level]
        with torch.no_grad(), torch.autocast(left.device.type, enabled=False):
            found = kmeans.lloyd(left, codebook)
        loss = 0.5 * (codebook - found.targets).square().sum()
        logged = {"level": float(level + 1), "left": found.error, "empty": float(found.empty)}
        yield Loss("codec", loss, {**logged, "loss": loss.detach()})

    def finish(self) -> None:
        """Rounds to what 16 bits hold, so that a shipped file is the same codec; measures it on the held-out clips."""
        with torch.no_grad():
            for tensor in self._codec.state_dict().values():
                tensor.copy_(tensor.half())
        held_out = list(self._read(self._request.held_out, "held-out clips"))
        self._measured = level_errors(self._codec, held_out) if held_out else {}

    def facts(self) -> Mapping[str, str]:
        """The codec's hash and settings, and the mean absolute log-mel error of held-out clips in nats, by levels."""
        sizes = self._codec.sizes
        told = {"codec": MelRvqCodec.name, "codebooks": MelRvqCodec(self._codec).hash()}
        grid = {"levels": sizes.levels, "codes": sizes.codes, "stack": sizes.stack, **asdict(sizes.mel)}
        errors = {name: f"{value:.4f}" for name, value in self._measured.items()}
        return {**told, **{name: str(value) for name, value in grid.items()}, **errors}

    def _place(self, step: int) -> tuple[int, int]:
        """Level and round of a step, both from 0."""
        level = min(step // ROUNDS, self._options.levels - 1)
        return level, step - level * ROUNDS

    @torch.no_grad()
    def _residual(self, level: int) -> Tensor:
        """What the levels before ``level`` leave of all vectors ``(N, width)``, in deviations."""
        if self._left is None or self._left[0] != level:
            left = self._codec.standardised(self._all())
            for codebook in self._codec.codebooks[:level]:
                left = left - codebook[kmeans.assigned(left, codebook)[0]]
            self._left = level, left
        return self._left[1]

    @torch.no_grad()
    def _standardise(self) -> None:
        wide = self._all().double()
        self._codec.mean.copy_(wide.mean(0))
        self._codec.std.copy_(wide.std(0, correction=0).clamp_min(LEAST_DEVIATION))

    def _all(self) -> Tensor:
        """All vectors ``(N, width)`` to learn from, in nats."""
        if self._vectors is None:
            order = np.random.default_rng(self._request.seed).permutation(len(self._request.clips))
            found, count = [], 0
            for vectors in self._read([self._request.clips[index] for index in order], "log-mel frames"):
                found.append(vectors)
                count += len(vectors)
                if count >= self._options.vectors:
                    break
            if not found:
                raise UsageError("no clip has audio to learn from", "see `bench data check`.")
            self._vectors = torch.cat(found)[: self._options.vectors]
        return self._vectors

    @torch.no_grad()
    def _read(self, clips: Sequence[Clip], what: str) -> Iterator[Tensor]:
        """Vectors ``(L, width)`` of each clip that can be decoded."""
        with self._request.progress.stage(what, len(clips)) as bar:
            for clip in clips:
                try:
                    audio = torch.from_numpy(clip_audio(clip))
                except Unscorable as error:
                    self._request.progress.say(f"left out: {clip.id}: {error}")
                    continue
                finally:
                    bar.advance()
                yield self._codec.vectors(audio[None].to(self._codec.mean.device))[0]


@torch.no_grad()
def level_errors(codec: MelRvq, clips: list[Tensor]) -> dict[str, float]:
    """For each n: mean absolute error in nats of clips' vectors ``(L, width)``, decoded from the first n levels."""
    vectors = torch.cat(clips)
    codes = codec.codes_of(vectors)
    return {
        f"held_out_l1_levels_{n}": float((codec.vectors_of(codes[:n]) - vectors).abs().mean())
        for n in range(1, codec.sizes.levels + 1)
    }
