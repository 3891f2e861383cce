"""What one row of a generation is asked for: text, what is known of each stream, noise, and how long at most.

Four tasks differ only in this. ``t2av`` makes both streams, ``tts`` speech alone, ``a2v`` motion to known speech,
``v2a`` speech to known motion. :class:`Planner` counts as the official script does (``zhenye234/Talker-T2AV:
infer.py``; for A2V and V2A, of which there is no code, as the paper tells, arXiv 2604.23586 section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from bench.systems.talker.layout import Accounting, account, patches_in
from bench.systems.talker.speech_llm import SpeechLLMConfig

Task = Literal["t2av", "tts", "a2v", "v2a"]
#: Where the task embedding goes: before the text, as in training; onto the first known slot, as the official script
#: does, which leaves it out where there is none; nowhere.
TaskToken = Literal["prepend", "add_to_prefix", "none"]


#: Known slots, patches to make at most, known frames of speech and of motion.
_Layout = tuple[int, int, Tensor, Tensor | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to generate; the defaults are those of the official command line.

    Attributes:
        steps, temperature, cfg, sway, zero_star: of the flow-matching samplers.
        use_stop: whether the stop predictor is asked; else every row goes on to its bound.
        stop_threshold: probability from which a patch counts as the last.
        stop_k: how many such in a row end the speech; the patches between are kept.
        min_patches: before so many patches nobody is asked.
        margin: t2av and tts: how many patches more than the reference has may be made.
        max_patches: t2av and tts: bound that takes the place of the reference's length plus margin.
        prefix_seconds: how much of the reference the sequence begins with.
        task_token: see :data:`TaskToken`.
        round_motion: reference motion goes through bfloat16 before it conditions anything, as in the official script.
        autocast: patch encoders and stop predictor in bfloat16, as the official script has it on CUDA.
        max_frames: of a reference.
    """

    steps: int = 10
    temperature: float = 0.3
    cfg: float = 2.0
    sway: float = 1.0
    zero_star: bool = True
    use_stop: bool = True
    stop_threshold: float = 0.5
    stop_k: int = 3
    min_patches: int = 7
    margin: int = 15
    max_patches: int | None = None
    prefix_seconds: float = 0.5
    task_token: TaskToken = "add_to_prefix"
    round_motion: bool = True
    autocast: bool = False
    max_frames: int = 750


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard normal draws, one row a patch: ``speech`` (N, Cs, P), ``motion`` (M, Cm, P); None: not made."""

    speech: Tensor | None
    motion: Tensor | None

    @classmethod
    def draw(cls, config: SpeechLLMConfig, task: Task, steps: int, generator: torch.Generator) -> Noise:
        """In the order of the official loop: patch by patch, speech before motion."""

        def one(channels: int) -> Tensor:
            return torch.randn(1, channels, config.patch_size, generator=generator, device=generator.device)

        speech, motion = [], []
        for step in range(steps):
            if task != "a2v":
                speech.append(one(config.speech_dim))
            if task in ("t2av", "a2v") and step >= config.delay:
                motion.append(one(config.motion_dim))
        return cls(torch.cat(speech) if speech else None, torch.cat(motion) if motion else None)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a row takes its voice, its face and its beginning from.

    Attributes:
        speech: (L, speech_dim) latents; empty where nothing is known.
        motion: (M, motion_dim) normalised; the same.
        speaker: (speaker_dim,).
        first_motion: (motion_dim,) what the motion head is told; None: the first of ``motion``.
    """

    speech: Tensor
    motion: Tensor
    speaker: Tensor
    first_motion: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One row, all of its tensors on the model's device or the CPU.

    Attributes:
        ids: (S,) int64, the tokens before the first slot.
        task: what is made.
        known_slots: how many slots begin the sequence with what is known of both streams.
        speech: (L, speech_dim) known frames; for a2v those of the whole clip.
        motion: (M, motion_dim) the same; None: the known slots have no motion in them.
        speaker, first_motion: global conditions of the two heads.
        motion_history: whether known motion is also what the motion head sees before its first patch.
        steps: how many patches are made at most.
        noise: for at least so many as are made.
        key: for whoever asks.
    """

    ids: Tensor
    task: Task
    known_slots: int
    speech: Tensor
    motion: Tensor | None
    speaker: Tensor
    first_motion: Tensor
    steps: int
    noise: Noise
    motion_history: bool = True
    key: Any = None

    @property
    def makes_speech(self) -> bool:
        """Whether the speech head runs."""
        return self.task != "a2v"

    @property
    def makes_motion(self) -> bool:
        """Whether the motion head runs."""
        return self.task in ("t2av", "a2v")

    @property
    def ends_itself(self) -> bool:
        """Whether the stop predictor has a say; what is driven is as long as what drives it."""
        return self.task in ("t2av", "tts")

    @property
    def may_stop(self) -> bool:
        """Whether the stop predictor may end it; otherwise what is known gives the duration."""
        return self.task in ("t2av", "tts")

    @property
    def length(self) -> int:
        """Positions of the backbone at most: task, text, slots."""
        return 1 + len(self.ids) + self.known_slots + self.steps


class Planner:
    """Turns text and reference into a :class:`Job`, for one model and one set of settings."""

    def __init__(self, config: SpeechLLMConfig, settings: Settings) -> None:
        self.config, self.settings = config, settings

    def plan(
        self, task: Task, ids: Tensor, reference: Reference, noise: Noise | torch.Generator, key: Any = None
    ) -> Job:
        """A row.

        Args:
            task: what is made. For a2v and v2a all of the known stream is in ``reference``; the other one's prefix,
                of as many slots as ``prefix_seconds`` gives, too, if it has frames.
            ids: (S,) tokens before the first slot.
            reference: see :class:`Reference`.
            noise: recorded, or a generator of this row alone.
            key: handed back with the result.
        """
        lay_out = {"t2av": self._both, "tts": self._speech_alone, "a2v": self._motion_to, "v2a": self._speech_to}
        known, steps, speech, motion = lay_out[task](reference.speech, self._rounded(reference.motion))
        drawn = Noise.draw(self.config, task, steps, noise) if isinstance(noise, torch.Generator) else noise
        first = self._first(reference)
        return Job(ids, task, known, speech, motion, reference.speaker, first, steps, drawn, key=key)

    def _both(self, speech: Tensor, motion: Tensor) -> _Layout:
        counts = self.counts(len(speech), len(motion))
        known = counts.prefix_total_patches
        steps = self._bound(counts.max_new_patches)
        return known, steps, speech[: known * self.config.patch_size], motion[: counts.prefix_frames]

    def _speech_alone(self, speech: Tensor, motion: Tensor) -> _Layout:
        """As the class's own generator counts: the prefix need not be whole patches."""
        held = speech[: max(0, round(self.settings.prefix_seconds * self.config.fps))]
        known, whole = (patches_in(len(stream), self.config.patch_size) for stream in (held, speech))
        return known, self._bound(whole - known + self.settings.margin), held, None

    def _motion_to(self, speech: Tensor, motion: Tensor) -> _Layout:
        size = self.config.patch_size
        known = self._known_of_both(speech, motion)
        steps = patches_in(len(speech), size) + self.config.delay - known
        return known, max(0, steps), speech, motion[: known * size]

    def _speech_to(self, speech: Tensor, motion: Tensor) -> _Layout:
        size = self.config.patch_size
        known = self._known_of_both(speech, motion)
        return known, max(0, patches_in(len(motion), size) - known), speech[: known * size], motion

    def _known_of_both(self, speech: Tensor, motion: Tensor) -> int:
        """Slots of the prefix that both streams have."""
        frames = self.counts(len(speech), len(motion)).prefix_frames
        return min(len(speech), len(motion), frames) // self.config.patch_size

    def counts(self, speech_frames: int, motion_frames: int) -> Accounting:
        """The official counts for a reference of so many frames."""
        return account(
            speech_frames,
            motion_frames,
            self.settings.prefix_seconds,
            patch_size=self.config.patch_size,
            delay=self.config.delay,
            fps=self.config.fps,
            max_frames=self.settings.max_frames,
            margin=self.settings.margin,
        )

    def _bound(self, official: int) -> int:
        return official if self.settings.max_patches is None else self.settings.max_patches

    def _rounded(self, motion: Tensor) -> Tensor:
        return motion.bfloat16().float() if self.settings.round_motion else motion

    def _first(self, reference: Reference) -> Tensor:
        if reference.first_motion is not None:
            return self._rounded(reference.first_motion)
        if len(reference.motion):
            return self._rounded(reference.motion[0])
        return reference.motion.new_zeros(self.config.motion_dim)
