"""Teacher forcing: a batch of whole clips through the backbone, and what each state should predict.

The layout of ``zhenye234/Talker-T2AV: speech_llm.py``: the task embedding, the text, and the clip's patches over the
placeholders behind it. A state predicts the patch of the slot that follows: those pairs are rows of :class:`Pairs`,
item after item, patch after patch, so that a trainer may draw some (:meth:`Pairs.select`), repeat them, or add
losses on the states.

    out = model.teacher(batch)
    some = out.speech.select(torch.randperm(len(out.speech))[:n]).repeated(2)
    loss = model.speech_cfm.loss(some.target, some.mu, some.cond, some.global_cond, generator)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.systems.talker.layout import patched, patches_and_histories, predictions, slots_taken
from bench.systems.talker.stop import stop_labels, stop_loss

if TYPE_CHECKING:
    from bench.systems.talker.flow_matching import Draws
    from bench.systems.talker.speech_llm import SpeechLLM


@dataclass(frozen=True, slots=True)
class TeacherBatch:
    """Clips padded on the right.

    Attributes:
        input_ids: (B, N) int64: text, then a placeholder for each slot; what is there does not matter where a patch
            takes its place.
        attention_mask: (B, N), true for tokens that exist.
        speech_span: (B, 2) int64: the first placeholder, and the token behind the last.
        speech: (B, L, speech_dim) latents; the first ``speech_len`` (B,) frames count.
        motion: (B, M, motion_dim) normalised; the first ``motion_len`` (B,) count, 0: no motion, text to speech.
        speaker: (B, speaker_dim) voices.
        task: (B,) rows of the task embedding; None: 1 where there is motion, else 0.
    """

    input_ids: Tensor
    attention_mask: Tensor
    speech_span: Tensor
    speech: Tensor
    speech_len: Tensor
    motion: Tensor
    motion_len: Tensor
    speaker: Tensor
    task: Tensor | None = None

    def tasks(self) -> Tensor:
        """(B,) rows of the task embedding."""
        return (self.motion_len > 0).long() if self.task is None else self.task


@dataclass(frozen=True, slots=True)
class Pairs:
    """R predictions of one stream.

    Attributes:
        target: (R, C, P) the patch.
        cond: (R, C, P · context) the frames before it, zeros where there are none.
        mu: (R, D) the state that predicts it.
        global_cond: (R, G) the item's voice, or its first motion frame.
        item, patch, position: (R,) of the batch, of the item, and of the state in ``Teacher.hidden``.
    """

    target: Tensor
    cond: Tensor
    mu: Tensor
    global_cond: Tensor
    item: Tensor
    patch: Tensor
    position: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def select(self, rows: Tensor) -> Pairs:
        """The given rows, by number or by a mask (R,)."""
        return Pairs(*(getattr(self, name)[rows] for name in self.__slots__))

    def repeated(self, times: int) -> Pairs:
        """Each row ``times`` times in a row, for as many draws of time and noise."""
        return self if times == 1 else self.select(torch.arange(len(self)).repeat_interleave(times))


@dataclass(frozen=True, slots=True)
class Teacher:
    """What comes out.

    Attributes:
        inputs_embeds, hidden: (B, T, D) with T = N + 1: the task embedding is position 0. Positions that do not
            exist hold something.
        stop_logits: (B, T).
        starts, slots, taken: (B,) position of slot 0, room in slots, slots that hold patches.
        speech, motion: the pairs; motion's are empty where no item has any.
        stop_targets: (B, T) labels: 1, 0, or -100 for positions that do not count.
    """

    inputs_embeds: Tensor
    hidden: Tensor
    stop_logits: Tensor
    starts: Tensor
    slots: Tensor
    taken: Tensor
    speech: Pairs
    motion: Pairs
    stop_targets: Tensor

    def stop_loss(self) -> Tensor:
        """Cross-entropy of the stop predictor."""
        return stop_loss(self.stop_logits, self.stop_targets)


def teach(model: SpeechLLM, batch: TeacherBatch) -> Teacher:
    """See :meth:`SpeechLLM.teacher`."""
    config = model.config
    speech_len = batch.speech_len.clamp(max=batch.speech.shape[1])
    motion_len = batch.motion_len.clamp(max=batch.motion.shape[1])
    batch = replace(batch, speech_len=speech_len, motion_len=motion_len)
    starts = batch.speech_span[:, 0] + 1
    slots = batch.speech_span[:, 1] - batch.speech_span[:, 0]
    taken = slots_taken(speech_len, motion_len, slots, config.patch_size, config.delay)
    embedded = _embedded(model, batch, starts, taken)
    mask = torch.cat((torch.ones_like(batch.attention_mask[:, :1]), batch.attention_mask), 1)
    hidden = model.llm.model(embedded, mask)
    labels = stop_labels(starts, slots, hidden.shape[1], config.fps, config.patch_size)
    first = batch.motion[:, 0] if batch.motion.shape[1] else batch.motion.new_zeros(len(starts), config.motion_dim)
    return Teacher(
        inputs_embeds=embedded,
        hidden=hidden,
        stop_logits=model.head_stop(hidden),
        starts=starts,
        slots=slots,
        taken=taken,
        speech=_pairs(model, hidden, starts, batch.speech, speech_len, batch.speaker, 0),
        motion=_pairs(model, hidden, starts, batch.motion, motion_len, first, config.delay),
        stop_targets=labels,
    )


def _embedded(model: SpeechLLM, batch: TeacherBatch, starts: Tensor, taken: Tensor) -> Tensor:
    """Task, text and patches, (B, N + 1, D)."""
    task = model.task_embedding(batch.tasks())[:, None]
    embedded = torch.cat((task, model.text(batch.input_ids).to(task.dtype)), 1)
    slot = torch.arange(int(taken.max()), device=taken.device)
    item, number = (slot < taken[:, None]).nonzero(as_tuple=True)  # (R,) each
    speech = model.speech_tokens(*_slot_frames(batch.speech, batch.speech_len, item, number, model.config.patch_size))
    place, shown = (item, starts[item] + number), batch.motion_len[item] > 0
    motion = model.motion_pad_emb[0].to(speech.dtype).expand(len(item), -1)
    if bool(shown.any()):
        behind = number[shown] - model.config.delay
        frames = _slot_frames(batch.motion, batch.motion_len, item[shown], behind, model.config.patch_size)
        tokens = model.motion_tokens(*frames)
        motion = motion.to(tokens.dtype).index_put((shown,), tokens)
    return embedded.index_put(place, (speech + motion).to(embedded.dtype))


def _slot_frames(frames: Tensor, lengths: Tensor, item: Tensor, patch: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Patches (R, P, C) and whether each frame exists (R, P); a patch below 0 or behind the end has none."""
    blocks = patched(frames, size)
    at = patch[:, None] * size + torch.arange(size, device=patch.device)
    inside = (at >= 0) & (at < lengths[item][:, None])
    return blocks[item, patch.clamp(0, blocks.shape[1] - 1)], inside


def _pairs(
    model: SpeechLLM, hidden: Tensor, starts: Tensor, frames: Tensor, lengths: Tensor, told: Tensor, delay: int
) -> Pairs:
    size = model.config.patch_size
    places = predictions(-(-lengths // size), starts, hidden.shape[1], delay)
    target, cond = patches_and_histories(frames, lengths, places, size, model.config.context_patches)
    item = places.item
    return Pairs(target, cond, hidden[item, places.position], told[item], item, places.patch, places.position)


@dataclass(frozen=True, slots=True)
class JointLosses:
    """The three losses, 0-d each, and their weighted sum."""

    speech: Tensor
    motion: Tensor
    stop: Tensor
    total: Tensor


def joint_losses(
    model: SpeechLLM,
    out: Teacher,
    speech_draws: Draws | torch.Generator,
    motion_draws: Draws | torch.Generator,
    *,
    repeats: int = 2,
    motion_weight: float = 10.0,
    stop_weight: float = 1.0,
) -> JointLosses:
    """The official sum, with all pairs; a batch without pairs of a stream has loss 0 there."""

    def of(pairs: Pairs, head: str, draws: Draws | torch.Generator) -> Tensor:
        if not len(pairs):
            return out.hidden.float().sum() * 0
        many = pairs.repeated(repeats)
        loss: Tensor = getattr(model, head).loss(many.target, many.mu, many.cond, many.global_cond, draws)
        return loss

    speech, motion = of(out.speech, "speech_cfm", speech_draws), of(out.motion, "motion_cfm", motion_draws)
    stop = out.stop_loss()
    return JointLosses(speech, motion, stop, speech + motion_weight * motion + stop_weight * stop)
