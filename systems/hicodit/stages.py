"""The loop over a sampler's steps for a batch of clips: which tokens are wanted, their logits, their draw.

The numbers of a step are drawn for every position of the levels that the stage works on, masked or not, clip by clip;
used are those of the wanted positions. In ``tau`` it is known before the network runs which positions a step reveals,
so only they are wanted, and a step that reveals nothing needs no pass at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.systems.hicodit.schedule import revealed_count, step_span
from bench.systems.hicodit.score_entropy import log_scores
from bench.systems.hicodit.steps import (
    analytic_step,
    confident_codes,
    euler_step,
    final_step,
    reveal_best,
    sharpened,
)

if TYPE_CHECKING:
    from bench.systems.hicodit.cache import Prepared
    from bench.systems.hicodit.sampling import Sampler


@dataclass(frozen=True)
class Stage:
    """A run of steps that makes some levels.

    Attributes:
        levels: the levels; all others stay as they are.
        steps: steps N.
        low_times: time of the low levels in each pass of the network, N or, with a final draw, N + 1 of them.
        high_times: time of the high levels.
    """

    levels: range
    steps: int
    low_times: tuple[float, ...]
    high_times: tuple[float, ...]

    @property
    def times(self) -> tuple[float, ...]:
        """The times of the levels that the stage makes."""
        return self.low_times if self.levels.start == 0 else self.high_times

    @property
    def part(self) -> slice:
        """The levels as a slice."""
        return slice(self.levels.start, self.levels.stop)


@dataclass(frozen=True)
class Numbers:
    """Uniform numbers of one step, clip by clip.

    Attributes:
        codes: ``(n, L, S)`` each, S = K, or K + 1 for transitions that may stay masked.
        choice: ``(n, L)`` each, for the choice of positions; empty where the method has none.
    """

    codes: list[Tensor]
    choice: list[Tensor]


class Wanted:
    """Positions of a batch whose logits a step wants, ordered by level, clip, frame.

    Args:
        flags: ``(B, levels, L)`` bool.
        levels: the levels that the stage makes; no other has a flag.
    """

    def __init__(self, flags: Tensor, levels: range) -> None:
        self.flags = flags
        self.places = {level: flags[:, level].nonzero().T for level in levels}

    def __len__(self) -> int:
        return sum(places.shape[1] for places in self.places.values())

    def pick(self, values: Sequence[Tensor]) -> Tensor:
        """What clips' values ``(n, L, ...)`` have at the positions: ``(M, ...)``."""
        return torch.cat(
            [
                value[place][self.flags[clip, level, : value.shape[1]]]
                for place, level in enumerate(self.places)
                for clip, value in enumerate(values)
            ]
        )

    def spread(self, values: Tensor, fill: float) -> Tensor:
        """Values ``(M,)`` of the positions at their places in ``(B, levels, L)``; ``fill`` elsewhere."""
        out = values.new_full(self.flags.shape, fill)
        counts = [places.shape[1] for places in self.places.values()]
        for (level, (clips, frames)), part in zip(self.places.items(), torch.split(values, counts), strict=True):
            out[clips, level, frames] = part
        return out


class StageRun:
    """One stage on one batch.

    Args:
        prepared: the network with the batch's conditions and the stage's times.
        tokens: ``(B, levels, L)`` int64 on the CPU, changed in place; padding holds no mask.
        generators: one for each clip.
        stage: what to do.
        sampler: settings.
    """

    def __init__(
        self,
        prepared: Prepared,
        tokens: Tensor,
        generators: Sequence[torch.Generator],
        stage: Stage,
        sampler: Sampler,
    ) -> None:
        self._prepared, self._tokens, self._generators = prepared, tokens, generators
        self._stage, self._sampler = stage, sampler
        self._mask = prepared.sizes.mask

    def run(self) -> None:
        """All steps, and the final draw where the method has one."""
        for turn in range(len(self._stage.times)):
            numbers = self._draw(turn)
            wanted = self._wanted(turn, numbers)
            if len(wanted):
                self._advance(turn, numbers, wanted)

    def _draw(self, turn: int) -> Numbers:
        """The uniform numbers of a step: those of the codes first, then those of the choice, for each clip."""
        levels, final = len(self._stage.levels), self._is_final(turn)
        whole = self._sampler.method in ("euler", "analytic")
        states = self._mask + (1 if whole and not final else 0)
        codes, choice = [], []
        for length, generator in zip(self._prepared.batch.frames, self._generators, strict=True):
            codes.append(torch.rand(levels, length, states, generator=generator))
            if not whole and not final:
                choice.append(torch.rand(levels, length, generator=generator))
        return Numbers(codes, choice)

    def _is_final(self, turn: int) -> bool:
        return turn == self._stage.steps

    def _wanted(self, turn: int, numbers: Numbers) -> Wanted:
        """The masked positions of the stage's levels; in a step of ``tau`` those that it reveals."""
        part = self._stage.part
        flags = torch.zeros_like(self._tokens, dtype=torch.bool)
        flags[:, part] = self._tokens[:, part] == self._mask
        if self._sampler.method == "tau" and not self._is_final(turn):
            share = torch.tensor(step_span(self._stage.steps) / self._stage.times[turn], dtype=torch.float64)
            for clip, choice in enumerate(numbers.choice):
                flags[clip, part, : choice.shape[1]] &= choice < share
        return Wanted(flags, self._stage.levels)

    def _advance(self, turn: int, numbers: Numbers, wanted: Wanted) -> None:
        """One step on the wanted positions: draw, and put what is revealed into the tokens."""
        scores = self._scores(turn, wanted)
        u_code = wanted.pick(numbers.codes).to(scores.device)
        if self._sampler.method == "confidence":
            self._reveal(turn, scores, u_code, wanted.pick(numbers.choice), wanted)
            return
        x = torch.full(scores.shape[:1], self._mask, device=scores.device)
        if self._sampler.method == "tau" or self._is_final(turn):
            x = final_step(x, self._sharp(scores), u_code)
        else:
            step = euler_step if self._sampler.method == "euler" else analytic_step
            x = step(x, self._sharp_rates(scores), u_code, self._stage.times[turn], step_span(self._stage.steps))
        self._tokens.copy_(torch.where(wanted.flags, wanted.spread(x.cpu(), self._mask), self._tokens))

    def _scores(self, turn: int, wanted: Wanted) -> Tensor:
        """Guided log scores ``(M, K)`` of the wanted positions."""
        prepared, stage = self._prepared, self._stage
        joined = []
        for level, logits in prepared.logits(turn, self._tokens, wanted.flags, wanted.places).items():
            time = (stage.low_times if level < prepared.sizes.low_levels else stage.high_times)[turn]
            scores = {name: log_scores(z.float(), time, prepared.sizes.parameterisation) for name, z in logits.items()}
            joined.append(self._sampler.guidance.combine(scores, time, low=level in prepared.model.low_range))
        return torch.cat(joined)

    def _reveal(self, turn: int, scores: Tensor, u_code: Tensor, u_score: Tensor, wanted: Wanted) -> None:
        """A confidence step: the positions of the best scores, each level of each clip by itself."""
        steps, part = self._stage.steps, self._stage.part
        noise = self._sampler.kappa * (1 - (turn + 1) / steps)
        codes, confidence = confident_codes(self._sharp(scores), u_code, u_score.to(scores.device), noise)
        frames = self._prepared.batch.frames
        counts = torch.tensor([revealed_count(length, turn, steps) for length in frames])
        valid = torch.arange(self._tokens.shape[2]) < torch.tensor(frames)[:, None]
        self._tokens[:, part] = reveal_best(
            self._tokens[:, part],
            self._mask,
            wanted.spread(codes.cpu(), self._mask)[:, part],
            wanted.spread(confidence.cpu(), -torch.inf)[:, part],
            counts[:, None].expand(-1, len(self._stage.levels)),
            valid[:, None],
        )

    def _sharp(self, scores: Tensor) -> Tensor:
        """Log probabilities of the codes under the sampler's temperature and nucleus."""
        return sharpened(scores, self._sampler.temperature, self._sampler.top_p)

    def _sharp_rates(self, scores: Tensor) -> Tensor:
        """Log scores whose shares are sharpened and whose sum stays."""
        if self._sampler.temperature == 1 and self._sampler.top_p == 1:
            return scores
        return self._sharp(scores) + scores.logsumexp(-1, keepdim=True)
