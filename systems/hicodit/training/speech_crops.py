"""Random excerpts of clips' sound, for the training of a waveform codec; decoded when first drawn, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bench.api import Clip, Unscorable, UsageError
from bench.systems.hicodit.training.clip_audio import clip_audio

if TYPE_CHECKING:
    from bench.systems.hicodit.codec.loudness import Samples

_IN_MEMORY = 2000  # clips: 200 kB each at 3 s


class SpeechCrops:
    """The clips that have audio, at ``rate`` Hz and one loudness; those that cannot be decoded are left out as they
    are met, and named to ``say``."""

    def __init__(self, clips: Sequence[Clip], rate: int, say: Callable[[str], None]) -> None:
        self._clips = [clip for clip in clips if clip.audio is not None]
        self._rate, self._say = rate, say
        self._kept = lru_cache(_IN_MEMORY)(self._read)

    def __len__(self) -> int:
        """How many clips have audio."""
        return len(self._clips)

    def clip(self, index: int) -> Samples | None:
        """A clip's samples ``(N,)``; None where they cannot be decoded."""
        return self._kept(index)

    def crop(self, random: np.random.Generator, samples: int) -> Samples:
        """``(samples,)`` at a random place of a random clip, all its phases turned alike; short clips end in silence.

        Raises:
            UsageError: there is no clip with audio that can be decoded.
        """
        whole = self._drawn(random)
        first = int(random.integers(max(1, len(whole) - samples + 1)))
        part = whole[first : first + samples]
        return turned(np.pad(part, (0, samples - len(part))), float(random.uniform(-np.pi, np.pi)))

    def _drawn(self, random: np.random.Generator) -> Samples:
        left = len(self)
        index = int(random.integers(max(1, left)))
        while left:
            found = self.clip(index)
            if found is not None:
                return found
            index, left = (index + 1) % len(self), left - 1
        raise UsageError("no clip has audio to learn from", "see `bench data check`.")

    def _read(self, index: int) -> Samples | None:
        try:
            return clip_audio(self._clips[index], self._rate)
        except Unscorable as error:
            self._say(f"left out: {self._clips[index].id}: {error}")
            return None


def turned(samples: Samples, angle: float) -> Samples:
    """``samples`` ``(N,)`` with ``angle`` added to the phase of every frequency, and no peak above 1."""
    spectrum = np.fft.rfft(samples) * np.exp(1j * angle)
    made = np.fft.irfft(spectrum, len(samples))
    return (made / max(1.0, float(np.abs(made).max(initial=0.0)))).astype(np.float32)
