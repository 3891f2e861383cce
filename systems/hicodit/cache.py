"""The network for sampling: everything that conditions and times decide is computed once, ahead of the steps.

Same numbers as :meth:`bench.systems.hicodit.model.HiCoDiT.forward` with drop flags, up to rounding. Settings of the
conditions (:data:`bench.systems.hicodit.guidance.BRANCHES`) lie on the batch axis, outermost. The low stack does not
see the emotion, so it runs once for settings that differ in it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.systems.hicodit.batch import Batch, Frames
from bench.systems.hicodit.blocks import per_frame
from bench.systems.hicodit.guidance import BRANCHES, Guidance
from bench.systems.hicodit.model import EMOTION, FRAMES_PER_PICTURE, IDENTITY, LIP, HiCoDiT
from bench.systems.hicodit.stack_cache import EmotionTimes, StackCache

#: Logits ``(M, K)`` of a level's wanted positions under each setting.
Logits = dict[str, Tensor]
_Front = tuple[bool, bool]


class Prepared:
    """The network with a batch's conditions, for the passes of one stage.

    Args:
        model: in evaluation mode.
        batch: the clips.
        guidance: tells which settings of the conditions are needed.
        levels: the levels that the stage makes.
        low_times: time of the low levels in each pass.
        high_times: time of the high levels in each pass.
    """

    def __init__(
        self,
        model: HiCoDiT,
        batch: Batch,
        guidance: Guidance,
        levels: range,
        low_times: Sequence[float],
        high_times: Sequence[float],
    ) -> None:
        self.model, self.batch, self.sizes = model, batch, model.sizes
        self._low_names = guidance.branches(low=True) if levels.start in model.low_range else ()
        self._high_names = guidance.branches() if levels[-1] in model.high_range else ()
        early, late = self._times(low_times), self._times(high_times)
        if model.sizes.hierarchy:
            #: Settings of the low stack; those of the high stack that differ in the emotion alone share one.
            self._fronts = list(dict.fromkeys(_front(name) for name in (*self._low_names, *self._high_names)))
            self._low = StackCache(model.low, model.final_low, *self._identities(), early)
            if self._high_names:
                self._high = StackCache(model.high, model.final_high, *self._emotions(), late, self._factors(late))
        else:
            self._fronts = [_front(name) for name in self._high_names]
            (identities, i_rows), (emotions, e_rows) = self._identities(), self._emotions()
            vectors = identities[i_rows] + emotions[e_rows]
            rows = torch.arange(len(vectors), device=vectors.device)
            self._high = StackCache(model.high, model.final_high, vectors, rows, early + late, self._factors(late))
        self._lip = self._lip_inputs()
        self._kept: Tensor | None = None

    def logits(self, turn: int, tokens: Tensor, flags: Tensor, places: Mapping[int, Tensor]) -> dict[int, Logits]:
        """Logits at the wanted positions of each level; a stack of which nothing is wanted may be left out.

        Args:
            turn: which of the stage's times.
            tokens: ``(B, levels, L)``.
            flags: wanted positions ``(B, levels, L)`` bool.
            places: the same as clips and frames ``(2, M)`` of each level of the stage, in order.
        """
        x = tokens.to(self._lip.device)
        low, high = self.model.low_range, self.model.high_range
        wanted_low, wanted_high = (flags[:, levels.start : levels.stop].any(1).to(x.device) for levels in (low, high))
        late = bool(wanted_high.any())
        out: dict[int, Logits] = {}
        h = self._front_input(x)
        if self.sizes.hierarchy:
            early = Frames(wanted_low) if self._low_names else None
            h = self._low_output(turn, h, None if late else early)
            if early is not None and bool(wanted_low.any()):
                read = early.taken(h, len(self._fronts)) if late else h
                out |= self._read(self._low.normed(turn, read), self._low_places(), early, places, low)
            if not late:
                return out
            h = self._high_input(x, h)
        frames, settings = Frames(wanted_high), len(self._high_names)
        h = self._high.run(turn, h, self.batch.keys(settings), frames.index(settings))
        named = dict(zip(self._high_names, range(settings), strict=True))
        return out | self._read(self._high.normed(turn, h), named, frames, places, high)

    def _low_places(self) -> dict[str, int]:
        """Where the low stack has each setting whose logits are wanted of it."""
        return {name: self._fronts.index(_front(name)) for name in self._low_names}

    def _read(
        self, h: Tensor, named: Mapping[str, int], frames: Frames, places: Mapping[int, Tensor], levels: range
    ) -> dict[int, Logits]:
        """Logits of some levels from the heads' input ``(settings * B, Q, C)``."""
        by_setting = h.view(-1, len(self.batch.frames), *h.shape[1:])
        if len(named) < len(by_setting):
            by_setting = by_setting[list(named.values())]
            named = dict(zip(named, range(len(named)), strict=True))
        out = {}
        for level in (level for level in places if level in levels):
            clips, at = places[level].to(h.device)
            z = self.model.heads[level](by_setting[:, clips, frames.places(clips, at)]).float()
            out[level] = {name: z[place] for name, place in named.items()}
        return out

    def _front_input(self, x: Tensor) -> Tensor:
        """Input ``(S * B, L, C)`` of the first stack: the tokens' share is the same for all settings."""
        levels = self.model.low_range or self.model.high_range
        fuse, width = self.model.fuse_lip, self.sizes.width
        return (F.linear(self.model.tokens(x, levels), fuse.weight[:, :width]) + self._lip).flatten(0, 1)

    def _low_output(self, turn: int, h: Tensor, frames: Frames | None) -> Tensor:
        """The low stack's output; once in a stage that leaves the low levels as they are."""
        settings = len(self._fronts)
        if self._low_names:
            index = None if frames is None else frames.index(settings)
            return self._low.run(turn, h, self.batch.keys(settings), index)
        if self._kept is None:
            self._kept = self._low.run(turn, h, self.batch.keys(settings))
        return self._kept

    def _high_input(self, x: Tensor, h: Tensor) -> Tensor:
        """Input ``(R, L, C)`` of the high stack from the low stack's output ``(S * B, L, C)``."""
        fuse, width = self.model.fuse_high, self.sizes.width
        share = F.linear(h, fuse.weight[:, :width], fuse.bias).view(len(self._fronts), -1, *h.shape[1:])
        chosen = share[[self._fronts.index(_front(name)) for name in self._high_names]]
        tokens = F.linear(self.model.tokens(x, self.model.high_range), fuse.weight[:, width:])
        return (chosen + tokens).flatten(0, 1)

    def _times(self, times: Sequence[float]) -> Tensor:
        """Features ``(N, C)`` of times."""
        out: Tensor = self.model.time(torch.tensor(times, device=self.batch.lip.device))
        return out

    def _lip_inputs(self) -> Tensor:
        """The lip features' share of the first stack's input, bias included: ``(S, B, L, C)``."""
        lip, fuse, width = self.model.lip, self.model.fuse_lip, self.sizes.width
        frames = torch.arange(self.batch.longest, device=self.batch.lip.device) // FRAMES_PER_PICTURE
        null = F.linear(lip.null, fuse.weight[:, width:], fuse.bias)
        given = F.linear(lip.mlp(self.batch.lip), fuse.weight[:, width:], fuse.bias)[:, frames]
        return torch.stack([null.expand_as(given) if front[LIP] else given for front in self._fronts])

    def _identities(self) -> tuple[Tensor, Tensor]:
        """Identity vectors of the clips, last that of none ``(B + 1, C)``, and which of them each row has."""
        identity = self.model.identity
        vectors = identity.proj(torch.cat((self.batch.identity, identity.null[None])))
        return vectors, self._rows([front[IDENTITY] for front in self._fronts])

    def _emotions(self) -> tuple[Tensor, Tensor]:
        """Mean emotion vectors of the clips, last that of none ``(B + 1, C)``, and which of them each row has."""
        steps = self.model.emotion_steps(self.batch.emotion)
        null = self._emotion_table()[-1:]
        vectors = torch.cat((self.model.pooled(steps, self.batch.lengths), null))
        return vectors, self._rows([BRANCHES[name][EMOTION] for name in self._high_names])

    def _rows(self, dropped: Sequence[bool]) -> Tensor:
        """For each setting and clip the place of the clip's vector, or of the last one where it is dropped."""
        clips = torch.arange(len(self.batch.frames), device=self.batch.lip.device)
        return torch.cat([clips.new_full(clips.shape, len(clips)) if drop else clips for drop in dropped])

    def _factors(self, late: Tensor) -> EmotionTimes:
        """What the temporal factors depend on."""
        given = per_frame(self.batch.emotion, self.sizes.stride, self.batch.longest)
        none = torch.full_like(given, self.sizes.null_class)
        classes = torch.cat([none if BRANCHES[name][EMOTION] else given for name in self._high_names])
        return EmotionTimes(self._emotion_table(), late, classes)

    def _emotion_table(self) -> Tensor:
        """A vector for each class, the null class last ``(classes + 1, C)``."""
        every = torch.arange(self.sizes.classes + 1, device=self.batch.lip.device)
        return self.model.emotion_steps(every[None])[0]


def _front(name: str) -> _Front:
    """Whether a setting drops lip motion and identity."""
    dropped = BRANCHES[name]
    return dropped[LIP], dropped[IDENTITY]
