"""The generation loop: rows of different lengths and tasks side by side, each ending for itself.

A row's result depends on its own job alone, up to rounding: shapes of matrix products differ with the number of
rows. A row that ends gives its slot to the next job at once (continuous batching), so nobody waits for the longest.
The cost of a patch is that of one position in the backbone and does not grow with what has been made, but for
attention over the cache.

    generator = Generator(model, settings, slots=8)
    for made in generator.run(jobs):
        made.job.key, made.speech, made.motion
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from bench.systems.talker.jobs import Job, Settings
from bench.systems.talker.slots import Makers, Slots
from bench.systems.talker.speech_llm import SpeechLLM

#: Rows of caches and buffers are multiples of these long, so that few of them have to be made anew.
_POSITIONS, _STEPS = 64, 32


@dataclass(frozen=True, slots=True)
class Made:
    """A finished row, on the CPU.

    Attributes:
        job: as it was asked for.
        patches: how many steps were made.
        speech: (4 · patches, speech_dim) new latents; None for a2v.
        motion: (4 · (patches - delay), motion_dim) new motion, normalised; None for tts and v2a.
        stopped: whether the stop predictor ended it, not its bound.
        states, logits: (patches, D) and (patches + 1,), of a generator that records; positions of ``logits`` at which
            nobody was asked hold nothing of meaning.
    """

    job: Job
    patches: int
    speech: Tensor | None
    motion: Tensor | None
    stopped: bool
    states: Tensor | None = None
    logits: Tensor | None = None


@dataclass(slots=True)
class _Row:
    """What the host knows of a row in use: the tick at which it began, and its positions at that time."""

    job: Job
    began: int
    length: int

    def ends(self) -> int:
        """Tick of its bound."""
        return self.began + self.job.steps


class Generator:
    """Runs jobs on ``slots`` rows at a time.

    Args:
        model: in evaluation mode.
        settings: of all rows.
        slots: rows at most.
        check_every: ticks between two looks at which rows the stop predictor ended. Rows are cut at their own end, so
            this changes nothing but time: on CUDA a look waits for the device.
        record: keep states and stop logits of every row.
    """

    def __init__(
        self, model: SpeechLLM, settings: Settings, slots: int = 8, check_every: int = 1, record: bool = False
    ) -> None:
        self.model, self.settings = model, settings
        self._count, self._check_every, self._record = slots, check_every, record
        self._state: Slots | None = None
        self._rows: list[_Row] = []
        self._tick = 0

    @torch.no_grad()
    def run(self, jobs: Iterable[Job], follow: Callable[[Made], Job | None] | None = None) -> Iterator[Made]:
        """Finished rows, in the order in which they end.

        Args:
            jobs: taken one by one as slots get free.
            follow: given what was made, the job that goes on from there, which then is the next one.
        """
        source, ahead = iter(jobs), deque[Job]()
        self._rows, self._tick = [], 0
        while True:
            self._admit(source, ahead)
            if not self._rows:
                return
            ended = self._ended()
            for slot in sorted(ended, reverse=True):  # the last first: it takes the place of one that ended before it
                made = self._release(slot, ended[slot])
                after = None if follow is None else follow(made)
                if after is not None:
                    ahead.append(after)
                yield made
            if not ended:
                self._slots().advance(len(self._rows), self._span(), self._makers())
                self._tick += 1

    def _slots(self) -> Slots:
        if self._state is None:
            self._state = Slots(self.model, self.settings, self._count, _POSITIONS, _STEPS)
        return self._state

    def _admit(self, source: Iterator[Job], ahead: deque[Job]) -> None:
        """Fill the free slots; the beginnings of all that come in are read in one batch."""
        free = self._count - len(self._rows)
        jobs = [ahead.popleft() for _ in range(min(free, len(ahead)))]
        jobs += islice(source, free - len(jobs))
        if not jobs:
            return
        positions = _up_to(max(job.length for job in jobs), _POSITIONS)
        self._state = self._slots().with_room(positions, _up_to(max(job.steps for job in jobs) + 1, _STEPS))
        begin = len(self._rows)
        lengths = self._state.admit(jobs, list(range(begin, begin + len(jobs))))
        self._rows += [_Row(job, self._tick, length) for job, length in zip(jobs, lengths, strict=True)]

    def _ended(self) -> dict[int, int]:
        """The slots whose rows are done, and how many patches each of them has."""
        done = {slot: row.job.steps for slot, row in enumerate(self._rows) if row.ends() <= self._tick}
        if not self._asked():
            return done
        state, n = self._slots(), len(self._rows)
        state.check(n)
        if done or self._tick % self._check_every == 0:
            asked = enumerate(zip(self._rows, state.ended[:n].tolist(), strict=True))
            done |= {slot: at for slot, (row, at) in asked if at >= 0 and row.job.ends_itself}
        return done

    def _asked(self) -> bool:
        """Whether the stop predictor has a say about any row now."""
        rule = self.settings
        return rule.use_stop and any(
            row.job.ends_itself and self._tick - row.began >= rule.min_patches for row in self._rows
        )

    def _release(self, slot: int, patches: int) -> Made:
        """What a row has made; the last row takes its slot."""
        state, row, delay = self._slots(), self._rows[slot], self.model.config.delay
        job = row.job
        made = Made(
            job=job,
            patches=patches,
            speech=_frames(state.speech_out[slot, :patches]) if job.makes_speech else None,
            motion=_frames(state.motion_out[slot, delay:patches]) if job.makes_motion else None,
            stopped=patches < job.steps,
            states=state.states[slot, :patches].cpu().clone() if self._record else None,
            logits=state.logits[slot, : patches + 1].cpu().clone() if self._record else None,
        )
        last = self._rows.pop()
        if last is not row:
            state.move(len(self._rows), slot, last.length + self._tick - last.began)
            self._rows[slot] = last
        return made

    def _span(self) -> int:
        """How much of the cache the next step looks at."""
        return max(row.length - row.began for row in self._rows) + self._tick + 1

    def _makers(self) -> Makers:
        delay = self.model.config.delay
        speech = [row.job.makes_speech for row in self._rows]
        motion = [row.job.makes_motion and self._tick - row.began >= delay for row in self._rows]
        return Makers(self._numbers(speech), self._numbers(motion))

    def _numbers(self, chosen: list[bool]) -> Tensor | None:
        """The slots of ``chosen``, None for all of them."""
        if all(chosen):
            return None
        return torch.tensor([slot for slot, yes in enumerate(chosen) if yes], device=self.model.device)


def _up_to(count: int, step: int) -> int:
    """``count`` or the next multiple of ``step``."""
    return -(-count // step) * step


def _frames(patches: Tensor) -> Tensor:
    """Patches (N, C, P) as frames (N · P, C) on the CPU."""
    return patches.transpose(1, 2).flatten(0, 1).cpu().clone()
