"""Requests to results: a video is looked at once, its tokens are drawn window by window, and decoded as a whole.

The windows of all clips of a batch are denoised together. Each clip has its own generator, from its request's seed,
so the others of a batch change nothing. Speech has the length of the video: two tokens for each frame (hicodit.md C.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.api import FPS, Audio, Failure, Output, Request, Unscorable
from bench.systems.hicodit.conditions import Conditions
from bench.systems.hicodit.options import manner_of
from bench.systems.hicodit.sampling import Job, sample
from bench.systems.hicodit.settings import sampler_of
from bench.systems.hicodit.voices import Voices
from bench.systems.hicodit.windows import Span, spans

if TYPE_CHECKING:
    from bench.api import Tier
    from bench.records import Samples
    from bench.systems.hicodit.front import Seen
    from bench.systems.hicodit.options import HiCoDiTOptions
    from bench.systems.hicodit.parts import Parts

PER_FRAME = 2  # tokens of each level for a video frame
PEAK = 0.99  # of full scale: louder clips are made softer, since 16 bits would cut them off


@dataclass
class _Work:
    """A request under way: what its video says, whose voice it has, its windows, and the tokens so far.

    ``codes`` ``(levels, 2 T)`` int64; the mask where nothing has been drawn.
    """

    place: int
    seen: Seen
    identity: torch.Tensor
    generator: torch.Generator
    windows: list[Span]
    codes: torch.Tensor = field(repr=False)

    @property
    def frames(self) -> int:
        """Video frames."""
        return self.codes.shape[1] // PER_FRAME

    def tokens(self, turn: int) -> torch.Tensor:
        """The tokens of a window: a view."""
        first, after = self.windows[turn]
        return self.codes[:, PER_FRAME * first : PER_FRAME * after]


class Pipeline:
    """Answers batches of requests. ``dtype``: of the denoising network; all else is float32, its scores too."""

    def __init__(self, parts: Parts, options: HiCoDiTOptions, tier: Tier, dtype: str = "float32") -> None:
        self._dtype = dtype
        self._front, self._model, self._codec = parts.front, parts.model, parts.codec
        self._manner, self._sampler = manner_of(options, tier), sampler_of(options, tier)
        self._voices = Voices(parts.front) if options.mode == "audio" else None

    def answer(self, requests: Sequence[Request]) -> list[Output | Failure]:
        """One result per request, in order."""
        results: dict[int, Output | Failure] = {}
        works: list[_Work] = []
        for place, request in enumerate(requests):
            try:
                works.append(self._work(place, request))
            except Unscorable as error:
                results[place] = Failure(error.kind, error.detail)
        for turn in range(max((len(work.windows) for work in works), default=0)):
            self._denoise([work for work in works if turn < len(work.windows)], turn)
        for work in works:
            results[work.place] = Output(audio=Audio(self._sound(work), self._codec.sample_rate))
        return [results[place] for place in range(len(requests))]

    def _work(self, place: int, request: Request) -> _Work:
        if request.video is None:
            raise Unscorable("missing_reference", "no video to follow")
        identity = None if self._voices is None else self._voices.of(request.voice, request.voice_key)
        seen = self._front.seen(request.video, request.n_frames)
        if identity is None:
            identity = self._model.visual_identity(seen.face[None].to(self._device))[0].cpu()
        sizes = self._model.sizes
        return _Work(
            place,
            seen,
            identity,
            torch.Generator().manual_seed(request.seed % 2**63),
            spans(seen.frames, self._manner),
            torch.full((sizes.levels, PER_FRAME * seen.frames), sizes.mask),
        )

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, getattr(torch, self._dtype))

    def _denoise(self, works: Sequence[_Work], turn: int) -> None:
        """Draw the tokens of the window ``turn`` of each."""
        with self._autocast():
            drawn = sample(self._model, [self._job(work, turn) for work in works], self._sampler)
        for work, codes in zip(works, drawn, strict=True):
            work.tokens(turn).copy_(codes)

    def _job(self, work: _Work, turn: int) -> Job:
        first, after = work.windows[turn]
        tokens = work.tokens(turn)
        emotion = work.seen.emotions(first, after, tokens.shape[1])
        conditions = Conditions(work.seen.lip[first:after], work.identity, emotion)
        return Job(conditions, tokens.shape[1], work.generator, tokens.clone() if turn else None)

    def _sound(self, work: _Work) -> Samples:
        """The decoded tokens, exactly as long as the video; softer as a whole where a peak would be cut off."""
        wave = self._codec.decode(work.codes.to(self._device)).cpu().numpy().astype(np.float32)
        wave *= min(1.0, PEAK / max(float(np.abs(wave).max(initial=0.0)), PEAK))
        length = round(work.frames * self._codec.sample_rate / FPS)
        return np.pad(wave[:length], (0, max(0, length - len(wave))))
