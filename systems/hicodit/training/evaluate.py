"""What is measured on held-out clips while the model learns: does it listen to the lips, and how likely is the speech?

The control of a clip is the video of another clip of the same speaker with another text (hicodit.md E.2, E.6): a model
that looks at the mouth finds its own video's speech likelier under the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import Clip
from bench.systems.hicodit.joined import Joined
from bench.systems.hicodit.training.clips import Drawn
from bench.systems.hicodit.training.data import Batch, Item, collated
from bench.systems.hicodit.training.objective import score_at, settings
from bench.systems.hicodit.training.options import Recipe

_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
_ROWS = 8  # clips at a time


@dataclass(frozen=True, slots=True)
class Pair:
    """A clip, and the lip stream of its control, of the same length."""

    right: Item
    control: Tensor


class Judge:
    """Measures a network on the first ``recipe.eval_clips`` usable clips of ``clips``."""

    def __init__(self, clips: Drawn, recipe: Recipe) -> None:
        self._clips, self._recipe = clips, recipe
        self._controls = controls(clips.records.clips)

    @torch.no_grad()
    def __call__(self, joined: Joined, device: torch.device) -> dict[str, float]:
        """Figures by name; ``joined`` is in evaluation mode.

        ``eval_score``: the loss at fixed times with fixed masks, voice given. ``eval_level<n>`` and
        ``eval_level<n>_control``: cross entropy in nats with everything masked, under the right video and under the
        control's, the speaker known by the face alone; ``eval_better``: the share of clips whose first level is
        likelier under the right one.
        """
        pairs = self._pairs()
        if not pairs:
            return {}
        scores: list[float] = []
        right: list[Tensor] = []
        control: list[Tensor] = []
        for first in range(0, len(pairs), _ROWS):
            some = pairs[first : first + _ROWS]
            batch = collated([pair.right for pair in some]).to(device)
            scores.append(self._score(joined, batch) * len(some))
            right.append(likelihoods(joined, batch, batch.lip))
            control.append(likelihoods(joined, batch, _stacked([pair.control for pair in some]).to(device)))
        return {"eval_score": sum(scores) / len(pairs), **_compared(torch.cat(right), torch.cat(control))}

    def _pairs(self) -> list[Pair]:
        found: list[Pair] = []
        for index in range(len(self._clips.records)):
            if len(found) == self._recipe.eval_clips:
                break
            right, other = self._clips.whole(index), self._clips.whole(self._controls[index])
            if right is not None and other is not None:
                found.append(Pair(right, as_long(other.lip, len(right.lip))))
        return found

    def _score(self, joined: Joined, batch: Batch) -> float:
        sizes = self._recipe.sizes
        generator = torch.Generator().manual_seed(0)
        total = 0.0
        for time in _TIMES:
            uniforms = torch.rand(batch.tokens.shape, generator=generator).to(batch.tokens.device)
            times = torch.full((len(batch.tokens), sizes.levels), time, device=batch.tokens.device)
            total += float(score_at(joined, batch, batch.voice, times, uniforms, settings(self._recipe)).total)
        return total / len(_TIMES)


def likelihoods(joined: Joined, batch: Batch, lip: Tensor) -> Tensor:
    """(B, levels): mean cross entropy over a clip's frames with everything masked, the face in the voice's place."""
    tokens, sizes = batch.tokens, joined.dit.sizes
    now = torch.ones(len(tokens), device=tokens.device)
    masked = torch.full_like(tokens, sizes.mask)
    voice = joined.dit.visual_identity(batch.face)
    logits = joined.dit(masked, now, now, joined.lip(lip, batch.frames), voice, batch.emotion, None, batch.lengths)
    losses = F.cross_entropy(logits.float().permute(0, 3, 1, 2), tokens, reduction="none")
    return (losses * batch.valid[:, None]).sum(-1) / batch.lengths[:, None]


def controls(clips: Sequence[Clip]) -> list[int]:
    """For each clip the next one in the order of ids, in a circle, of the same speaker and with another text.

    Where the speaker has none, that of another speaker; the clip itself where all say the same.
    """
    order = sorted(range(len(clips)), key=lambda index: clips[index].id.encode())
    found = list(range(len(clips)))
    for place, index in enumerate(order):
        own = clips[index]
        after = order[place + 1 :] + order[:place]
        others = [other for other in after if clips[other].transcript != own.transcript or own.transcript is None]
        same = [other for other in others if clips[other].identity == own.identity]
        found[index] = (same or others or [index])[0]
    return found


def as_long(lip: Tensor, frames: int) -> Tensor:
    """``lip`` (T, …) cut to ``frames``, or with its last frame repeated."""
    return torch.cat([lip[:frames], lip[-1:].expand(max(0, frames - len(lip)), *lip.shape[1:])])


def _stacked(streams: Sequence[Tensor]) -> Tensor:
    padded: Tensor = torch.nn.utils.rnn.pad_sequence(list(streams), batch_first=True)
    return padded


def _compared(right: Tensor, control: Tensor) -> dict[str, float]:
    found = {"eval_better": float((right[:, 0] < control[:, 0]).float().mean())}
    for level in range(right.shape[1]):
        found[f"eval_level{level + 1}"] = float(right[:, level].mean())
        found[f"eval_level{level + 1}_control"] = float(control[:, level].mean())
    return found
