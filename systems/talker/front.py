"""What stands around the backbone: sound to latents and back, pictures to motion codes and back, and who speaks.

The official networks (:mod:`.front_full`) and the small ones (:mod:`.front_tiny`) do the same by one interface, at
25 frames a second on both sides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from bench.api import Unscorable

if TYPE_CHECKING:
    import torch

    from bench.records import Audio, Samples
    from bench.systems.talker.motion_stats import MotionStats
    from bench.systems.talker.render import Renderer

#: Audio that is nowhere louder is silent: -80 dB of full scale.
SILENT_PEAK = 1e-4


class Front(ABC):
    """``rate``: samples a second of :meth:`sound`; ``hop``: samples of a frame; ``stats``: of raw motion codes."""

    rate: int
    hop: int
    speech_dim: int
    voice_size: int
    stats: MotionStats

    @abstractmethod
    def speech(self, audio: Audio) -> torch.Tensor:
        """Latents ``(L, speech_dim)`` of whole frames of ``audio`` (any rate), at least one; on the CPU."""

    @abstractmethod
    def sound(self, latents: torch.Tensor) -> Samples:
        """``(hop * L,)`` samples of latents ``(L, speech_dim)``."""

    @abstractmethod
    def voice(self, audio: Audio) -> torch.Tensor:
        """The speaker condition ``(voice_size,)``. Raises :class:`Unscorable`: ``silent_audio``, ``too_short``."""

    @abstractmethod
    def span(self, audio: Audio) -> tuple[int, int]:
        """First frame of the speech, and the one after its last; all of it where that is not known."""

    def mouth_span(self, codes: torch.Tensor) -> tuple[int, int] | None:
        """First frame in which the mouth moves, and the one after the last, by raw codes ``(T, C)``; ``None``: not
        known."""
        return None

    @property
    @abstractmethod
    def renderer(self) -> Renderer:
        """Pictures to raw motion codes ``(T, C)`` and back."""


def check_heard(audio: Audio) -> None:
    """Raises :class:`Unscorable` for no sample, or silence."""
    if not len(audio.samples):
        raise Unscorable("too_short", "a voice reference without a sample")
    if float(np.abs(audio.samples).max()) < SILENT_PEAK:
        raise Unscorable("silent_audio", "the voice reference is silent")
