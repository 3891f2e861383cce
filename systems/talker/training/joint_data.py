"""What a step of joint training sees: kept latents of clips, cut, with text or without, padded to a batch.

Facts: specs/talker.md 9.1, 9.2, 14.3, 14.6.2. Most of the tiny configuration's items are trimmed to their speech and
teach when to stop; the others are whole, with whatever silence there is, as the videos are that it is to dub. A mark in
place of the start of the text tells them apart: without it, when speech begins would be a matter of chance, and what
is sampled with little noise would never leave the silence.

Of items without a text one stream is given, the mouth or the sound; it is some patches ahead, so that a state knows the
part of it that the next patch of the other stream goes with. Two more marks say which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.api import Clip, DataError, Unscorable, UsageError
from bench.datasets.demo.phoneme_times import PhonemeTimes, phoneme_times, sidecar
from bench.progress import Progress
from bench.systems.talker.latents import Latents
from bench.systems.talker.layout import patches_in
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.speech_llm import SpeechLLMConfig
from bench.systems.talker.teacher import TeacherBatch
from bench.systems.talker.text import TextTable, for_whole_clip
from bench.systems.talker.training.joint_options import Recipe

MAX_SECONDS = 30.0
MAX_LENGTH = 1000  # positions, the task's among them
NEVER = 1 << 30
_LEAD = (0.08, 0.24)  # seconds of silence before the speech of a trimmed item
_TAIL = 0.08  # and at least so many after it
_LEAST_PATCHES = 2
_IN_MEMORY = 1024  # clips


@dataclass(frozen=True, slots=True)
class JointItem:
    """One clip of a batch, n tokens of text, L frames.

    Attributes:
        ids: (n,) int64, the tokens before the first patch.
        speech: (L, 32) latents.
        motion: (M, C), normalised; M is 0 for text to speech.
        voice: (G,).
        phonemes: (L,) int64, what is spoken in each frame; empty where nobody asks.
        stops_until: the first patch whose stop label says nothing; `NEVER` where the item ends as speech does.
        makes: whether speech is learned from it, and whether motion is; what is not is given.
    """

    ids: Tensor
    speech: Tensor
    motion: Tensor
    voice: Tensor
    phonemes: Tensor
    stops_until: int = NEVER
    makes: tuple[bool, bool] = (True, True)


@dataclass(frozen=True, slots=True)
class JointBatch:
    """``teacher``: what the model reads; ``phonemes`` (B, L), L as in ``teacher.speech``, 0 in the padding, or
    (B, 0); ``stops_until`` (B,); ``makes`` (B, 2) bool, of speech and motion."""

    teacher: TeacherBatch
    phonemes: Tensor
    stops_until: Tensor
    makes: Tensor

    def to(self, device: torch.device) -> JointBatch:
        """On ``device``."""
        given = {field.name: getattr(self.teacher, field.name) for field in fields(TeacherBatch)}
        moved = {name: tensor.to(device) for name, tensor in given.items() if tensor is not None}
        own = (part.to(device) for part in (self.phonemes, self.stops_until, self.makes))
        return JointBatch(replace(self.teacher, **moved), *own)


class JointClips:
    """Items of ``clips``, made when they are drawn; ``load`` gives a clip's latents.

    Raises:
        UsageError: phonemes are asked for, and the clips do not say when which is spoken.
        DataError: there are no clips.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        load: Callable[[Clip], Latents],
        table: TextTable,
        stats: MotionStats,
        recipe: Recipe,
        progress: Progress,
    ) -> None:
        if not clips:
            raise DataError("there is no clip to train on", "see `bench data check`.")
        self._clips, self._table, self._stats, self._recipe = clips, table, stats, recipe
        self._progress = progress
        if recipe.phoneme_weight > 0:
            _demand_phonemes(clips)
        timed = recipe.phoneme_weight > 0
        self._loaded = lru_cache(_IN_MEMORY)(
            lambda index: (load(clips[index]), phoneme_times(clips[index]) if timed else None)
        )
        self._unusable: set[int] = set()

    def __len__(self) -> int:
        return len(self._clips)

    def lengths(self) -> list[int]:
        """About how many positions each clip has; loads nothing."""
        size = self._recipe.sizes.patch_size
        return [len(self._table.ids(c.transcript or "")) + patches_in(c.n_frames, size) for c in self._clips]

    def item(self, index: int, random: np.random.Generator) -> JointItem:
        """An item of the clip, or of the next one that is usable, whatever was drawn before.

        Raises:
            DataError: none is.
        """
        for place in range(index, index + len(self)):
            place %= len(self)
            if place in self._unusable:
                continue
            try:
                latents, times = self._loaded(place)
                self._demand_length(latents)
            except Unscorable as error:
                self._unusable.add(place)
                self._progress.say(f"left out: {self._clips[place].id}: {error}")
                continue
            return self._made(latents, times, random)
        raise DataError("no clip can be trained on", "see `bench data check`.")

    def batch(self, indices: Sequence[int], random: np.random.Generator) -> JointBatch:
        """Items of these clips."""
        return collated([self.item(index, random) for index in indices], self._recipe.sizes)

    def _demand_length(self, latents: Latents) -> None:
        sizes = self._recipe.sizes
        if latents.frames < _LEAST_PATCHES * sizes.patch_size:
            raise Unscorable("too_short", f"{latents.frames} frames")
        if self._recipe.whole_share is not None and latents.frames > MAX_SECONDS * sizes.fps:
            raise Unscorable("too_long", f"{latents.frames} frames")  # its text would not fit a part of it
        if len(self._table.ids(latents.text)) + _LEAST_PATCHES + 1 > MAX_LENGTH:
            raise Unscorable("too_long", f"a text of {len(latents.text)} characters")

    def _made(self, latents: Latents, times: PhonemeTimes | None, random: np.random.Generator) -> JointItem:
        recipe = self._recipe
        silent, still, whole = random.uniform(size=3) < (recipe.text_drop, recipe.tts_share, recipe.whole_share or 0)
        part = self._part(latents, bool(whole), random)
        if silent and recipe.ahead:
            return self._driven(latents, times, part, by_sound=float(random.random()) < recipe.sound_share)
        centres = (np.arange(part.first, part.first + part.speech, dtype=np.float64) + 0.5) / recipe.sizes.fps
        spoken = () if times is None else times.at(centres)
        ids = self._table.ids("" if silent else latents.text)
        motion = latents.motion[part.first : part.first + (0 if still else part.motion)]
        return JointItem(
            ids=torch.tensor(for_whole_clip(ids) if part.stops_until < NEVER else ids),
            speech=torch.from_numpy(latents.speech[part.first : part.first + part.speech]),
            motion=self._stats.normalised(torch.from_numpy(motion)),
            voice=torch.from_numpy(latents.voice),
            phonemes=torch.from_numpy(np.asarray(spoken, np.int64)),
            stops_until=part.stops_until,
        )

    def _driven(self, latents: Latents, times: PhonemeTimes | None, part: _Part, by_sound: bool) -> JointItem:
        """The given stream is ahead: the other one begins as much later, and the given one stands still in the end.

        A mouth is given from where ``part`` begins, sound from the clip's first frame; where the clip has no frame, its
        first or last one is repeated.
        """
        sizes, size = self._recipe.sizes, self._recipe.sizes.patch_size
        late = self._recipe.ahead * size
        first, frames = (0, latents.frames // size * size) if by_sound else (part.first, part.motion)
        given = np.minimum(np.arange(first, first + frames + late), latents.frames - 1)
        made = np.maximum(np.arange(first - late, first + frames), 0)
        speech, motion = (given, made) if by_sound else (made, given)
        spoken = () if times is None else times.at((speech.astype(np.float64) + 0.5) / sizes.fps)
        return JointItem(
            ids=torch.tensor(self._table.driven_ids(by_mouth=not by_sound)),
            speech=torch.from_numpy(latents.speech[speech]),
            motion=self._stats.normalised(torch.from_numpy(latents.motion[motion])),
            voice=torch.from_numpy(latents.voice),
            phonemes=torch.from_numpy(np.asarray(spoken, np.int64)),
            stops_until=0,
            makes=(not by_sound, by_sound),
        )

    def _part(self, latents: Latents, whole: bool, random: np.random.Generator) -> _Part:
        """Which frames; both streams end with a whole patch, but for speech in full size."""
        size, fps = self._recipe.sizes.patch_size, self._recipe.sizes.fps
        if self._recipe.whole_share is None:
            most = int(MAX_SECONDS * fps)
            first = int(random.integers(max(0, latents.frames - most) + 1))
            frames = min(latents.frames, most)
            return _Part(first, frames, frames // size * size)
        lead = int(random.integers(round(_LEAD[0] * fps), round(_LEAD[1] * fps) + 1))
        tail, (begins, ends) = round(_TAIL * fps), latents.span
        if whole:
            frames = latents.frames // size * size
            return _Part(0, frames, frames, patches_in(ends + tail, size))
        wanted = patches_in(ends + tail - max(0, begins - lead), size) * size
        frames = min(max(wanted, _LEAST_PATCHES * size), latents.frames // size * size)
        first = min(max(0, begins - lead), latents.frames - frames)
        return _Part(first, frames, frames)


@dataclass(frozen=True, slots=True)
class _Part:
    first: int
    speech: int
    motion: int
    stops_until: int = NEVER


def collated(items: Sequence[JointItem], sizes: SpeechLLMConfig) -> JointBatch:
    """Items padded on the right; behind the text of each, a placeholder for every slot it needs."""
    rows, spans = [], []
    for item in items:
        begin, end = len(item.ids), min(len(item.ids) + _slots(item, sizes), MAX_LENGTH - 1)
        rows.append(torch.cat((item.ids, item.ids.new_zeros(end - begin))))
        spans.append((begin, end))
    teacher = TeacherBatch(
        input_ids=_padded(rows),
        attention_mask=_padded([torch.ones(len(row), dtype=torch.bool) for row in rows]),
        speech_span=torch.tensor(spans),
        speech=_padded([item.speech for item in items]),
        speech_len=torch.tensor([len(item.speech) for item in items]),
        motion=_padded([item.motion for item in items]),
        motion_len=torch.tensor([len(item.motion) for item in items]),
        speaker=torch.stack([item.voice for item in items]),
    )
    until, makes = (torch.tensor([getattr(item, name) for item in items]) for name in ("stops_until", "makes"))
    return JointBatch(teacher, _padded([item.phonemes for item in items]), until, makes)


def with_other_texts(items: Sequence[JointItem]) -> list[JointItem]:
    """Each item with the text of the one before it: how much does the model listen to the text?"""
    return [replace(item, ids=items[place - 1].ids) for place, item in enumerate(items)]


def _slots(item: JointItem, sizes: SpeechLLMConfig) -> int:
    speech = patches_in(len(item.speech), sizes.patch_size)
    return max(speech, patches_in(len(item.motion), sizes.patch_size) + sizes.delay) if len(item.motion) else speech


def _padded(items: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(items), batch_first=True)


def phonemes_of_patches(phonemes: Tensor, item: Tensor, patch: Tensor, size: int) -> Tensor:
    """(R, size): what is spoken in each frame of the given patches, of ``phonemes`` (B, L); 0 behind the end."""
    at = patch[:, None] * size + torch.arange(size, device=patch.device)
    found: Tensor = torch.nn.functional.pad(phonemes, (0, size))[item[:, None], at]
    return found


def _demand_phonemes(clips: Sequence[Clip]) -> None:
    without = [clip.id for clip in clips if sidecar(clip) is None]
    if without:
        raise UsageError(
            f"one of the losses needs to know when which phoneme is spoken; {len(without)} clips do not say so, "
            f"as {without[0]}",
            "train on the demo corpus (--dataset demo), or with --set phoneme_weight=0.",
        )
