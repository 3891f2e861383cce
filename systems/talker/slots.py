"""The state of a batch of rows that are being generated, one slot each, and one step of all of them.

Everything that a step needs lies in tensors of fixed shape: caches, the states that condition the heads, histories,
noise, and what has been made. So a step is the same few calls whatever rows there are, without work per row on the
host, and can be captured as a CUDA graph. Rows in use are always the first ones; a row that ends gives its slot to
the next job, or to the last row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.systems.talker.backbone import Cache
from bench.systems.talker.flow_matching import Schedule
from bench.systems.talker.jobs import Job, Settings
from bench.systems.talker.layout import last_frames, patched
from bench.systems.talker.speech_llm import TASK_T2AV, TASK_TTS, SpeechLLM


@dataclass(frozen=True, slots=True)
class Makers:
    """Which rows get a patch of each stream, (m,) of the slots in use; None: all, an empty tensor: none."""

    speech: Tensor | None
    motion: Tensor | None


class Slots:
    """Tensors of ``count`` rows for up to ``positions`` of the backbone and ``steps`` patches.

    Attributes:
        hidden: (S, D) float32, the state that conditions the next patch.
        position, step, streak, checked, ended: (S,) int64: where the next token goes; patches made; probable ends in
            a row; last step at which the stop predictor was asked; patches at which it ended the row, -1 if not.
        asked_from: (S,) int64, the step from which it is asked; rows of known duration never get there.
        speech_before, motion_before: (S, C, P · context) what the heads see.
        speaker, first_motion: (S, G), (S, Cm).
        given: (S, N, D) what is added to each slot's token: vectors of the known stream, or the padding's.
        speech_noise, motion_noise, speech_out, motion_out: (S, N, C, P).
        states, logits: (S, N, D), (S, N), if they are recorded.
    """

    def __init__(self, model: SpeechLLM, settings: Settings, count: int, positions: int, steps: int) -> None:
        self.model, self.settings, self.count = model, settings, count
        self.positions, self.steps = positions, steps
        config, backbone = model.config, model.llm.model
        width, frames = config.backbone.hidden_size, config.patch_size
        history = frames * config.context_patches
        self.cache = Cache(config.backbone, count, positions, backbone.dtype, model.device)
        self.hidden, self.speaker = self._empty(width), self._empty(config.speaker_dim)
        self.position, self.step, self.streak = (self._empty().long() for _ in range(3))
        self.checked, self.ended = self._empty().long() - 1, self._empty().long() - 1
        self.asked_from = self._empty().long()
        self.speech_before = self._empty(config.speech_dim, history)
        self.motion_before = self._empty(config.motion_dim, history)
        self.first_motion = self._empty(config.motion_dim)
        self.given = self._empty(steps, width)
        self.speech_noise, self.speech_out = (self._empty(steps, config.speech_dim, frames) for _ in range(2))
        self.motion_noise, self.motion_out = (self._empty(steps, config.motion_dim, frames) for _ in range(2))
        self.states, self.logits = self._empty(steps, width), self._empty(steps)
        self._rows = torch.arange(count, device=model.device)
        self._schedules = {head: self._schedule(head) for head in ("speech_cfm", "motion_cfm")}

    def _empty(self, *shape: int) -> Tensor:
        return torch.zeros(self.count, *shape, device=self.model.device)

    def _schedule(self, head: str) -> Schedule:
        made: Schedule = getattr(self.model, head).schedule(
            self.settings.steps, self.settings.sway, self.settings.zero_star
        )
        return made

    def _tensors(self) -> list[Tensor]:
        return [value for value in vars(self).values() if isinstance(value, Tensor) and value is not self._rows]

    def with_room(self, positions: int, steps: int) -> Slots:
        """Itself, or larger slots with all that is in these."""
        if positions <= self.positions and steps <= self.steps:
            return self
        larger = Slots(self.model, self.settings, self.count, max(positions, self.positions), max(steps, self.steps))
        kept = (*self._tensors(), self.cache.keys, self.cache.values)
        for old, new in zip(kept, (*larger._tensors(), larger.cache.keys, larger.cache.values), strict=True):
            new[tuple(slice(0, size) for size in old.shape)] = old
        return larger

    def autocast(self) -> torch.autocast:
        """The settings' precision for patch encoders and stop predictor."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.settings.autocast)

    def move(self, source: int, target: int, length: int) -> None:
        """Row ``source``, whose cache is ``length`` long, takes the place of row ``target``."""
        self.cache.move(source, target, length)
        for tensor in self._tensors():
            tensor[target] = tensor[source]

    def admit(self, jobs: list[Job], slots: list[int]) -> list[int]:
        """Fill rows and read their beginnings in one batch; how many positions each takes."""
        prompts = [self._prompt(job) for job in jobs]
        lengths = [len(prompt) for prompt in prompts]
        at = torch.tensor(slots, device=self.model.device)
        padded = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
        states = self.model.llm.model.prefill(padded, self.cache, at)
        last = torch.tensor(lengths, device=self.model.device)
        self.hidden[at] = states[torch.arange(len(jobs), device=last.device), last - 1].float()
        self.position[at] = last
        for tensor, value in ((self.step, 0), (self.streak, 0), (self.checked, -1), (self.ended, -1)):
            tensor[at] = value
        for job, slot in zip(jobs, slots, strict=True):
            self._set_conditions(job, slot)
        return lengths

    def _prompt(self, job: Job) -> Tensor:
        """Task, text and known slots (T, D)."""
        model, token = self.model, self.settings.task_token
        task = model.task_embedding.weight[TASK_TTS if job.task == "tts" else TASK_T2AV]
        parts = [model.text(job.ids.to(model.device))]
        if token == "prepend":
            parts.insert(0, task[None].float())
        if job.known_slots:
            with self.autocast():
                tokens = self._known_tokens(job)
            if token == "add_to_prefix":
                tokens = torch.cat((tokens[:1] + task, tokens[1:]))
            parts.append(tokens.float())
        return torch.cat(parts)

    def _known_tokens(self, job: Job) -> Tensor:
        model, count = self.model, job.known_slots
        tokens = model.stream_tokens(job.speech.to(model.device), count, 0, motion=False)
        if job.task == "tts":
            return tokens + model.motion_pad_emb[0]
        if job.motion is None:
            return tokens
        return tokens + model.stream_tokens(job.motion.to(model.device), count, model.config.delay, motion=True)

    def _set_conditions(self, job: Job, slot: int) -> None:
        config = self.model.config
        self.speaker[slot], self.first_motion[slot] = job.speaker, job.first_motion
        self.asked_from[slot] = self.settings.min_patches if job.may_stop else job.steps + 1
        self.speech_before[slot] = self._history(job.speech[: job.known_slots * config.patch_size], config.speech_dim)
        seen = job.motion[: job.known_slots * config.patch_size] if job.motion is not None else None
        shown = seen if job.motion_history else None
        self.motion_before[slot] = self._history(shown, config.motion_dim)
        self._set_noise(self.speech_noise[slot], job.noise.speech, 0)
        self._set_noise(self.motion_noise[slot], job.noise.motion, config.delay)
        self.given[slot] = 0
        if job.task == "tts":
            self.given[slot] = self.model.motion_pad_emb[0, 0]
        elif job.task != "t2av":
            self.given[slot, : job.steps] = self._given_tokens(job)

    def _history(self, frames: Tensor | None, channels: int) -> Tensor:
        """The last frames (C, P · context) before the first patch, whole patches, zeros where there is none."""
        size, count = self.model.config.patch_size, self.model.config.context_patches
        held = torch.zeros(0, channels) if frames is None else patched(frames[None], size)[0].flatten(0, 1)
        return last_frames(held, size * count)

    @staticmethod
    def _set_noise(room: Tensor, noise: Tensor | None, shift: int) -> None:
        if noise is not None:
            held = noise[: len(room) - shift]
            room[shift : shift + len(held)] = held

    def _given_tokens(self, job: Job) -> Tensor:
        """Vectors (steps, D) of the known stream for the slots to come."""
        motion = job.task == "v2a"
        frames = job.motion if motion and job.motion is not None else job.speech
        shift = self.model.config.delay if motion else 0
        with self.autocast():
            tokens = self.model.stream_tokens(
                frames.to(self.model.device), job.known_slots + job.steps, shift, motion=motion
            )
        return tokens[job.known_slots :].float()

    def check(self, n: int) -> None:
        """Ask the stop predictor about the first ``n`` rows, once a step; who ended is in :attr:`ended`."""
        rule = self.settings
        step, streak, ended = self.step[:n], self.streak[:n], self.ended[:n]
        with self.autocast():
            logits = self.model.head_stop(self.hidden[:n][:, None])[:, 0].float()
        asked = (step >= self.asked_from[:n]) & (self.checked[:n] < step)
        longer = torch.where(torch.sigmoid(logits) >= rule.stop_threshold, streak + 1, 0)
        streak.copy_(torch.where(asked, longer, streak))
        self.checked[:n].copy_(step)
        ended.copy_(torch.where((ended < 0) & (streak >= rule.stop_k), step, ended))
        self.logits[self._rows[:n], step] = logits

    def advance(self, n: int, span: int, makers: Makers) -> None:
        """A patch of each row's streams, and the backbone's state behind it.

        Args:
            n: rows in use.
            span: more than any row's position.
            makers: who makes what.
        """
        rows, step = self._rows[:n], self.step[:n]
        self.states[rows, step] = self.hidden[:n]
        token = self.given[rows, step]
        for stream, which in (("speech", makers.speech), ("motion", makers.motion)):
            if which is None or len(which):
                made = self._make(stream, rows, step, which)
                token = token + made if which is None else token.index_add(0, which, made)
        self.hidden[:n] = self.model.llm.model.step(token, self.cache, self.position[:n], span).float()
        self.position[:n] += 1
        step += 1

    def _make(self, stream: str, rows: Tensor, step: Tensor, which: Tensor | None) -> Tensor:
        """One patch of a stream for some rows, kept; their vectors (m, D)."""
        at, step = (rows, step) if which is None else (which, step[which])
        head = f"{stream}_cfm"
        before: Tensor = getattr(self, f"{stream}_before")
        told = self.speaker if stream == "speech" else self.first_motion
        noise, out = getattr(self, f"{stream}_noise"), getattr(self, f"{stream}_out")
        patch = getattr(self.model, head).sample(
            self.hidden[at],
            self.settings.steps,
            noise[at, step],
            before[at],
            told[at],
            self.settings.cfg,
            self.settings.sway,
            self.settings.zero_star,
            self.settings.temperature,
            self._schedules[head],
        )
        out[at, step] = patch
        before[at] = torch.cat((before[at], patch), dim=2)[:, :, patch.shape[2] :]
        with self.autocast():
            tokens: Tensor = getattr(self.model, f"{stream}_tokens")(patch.transpose(1, 2))
        return tokens.float()
