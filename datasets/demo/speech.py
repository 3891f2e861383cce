"""Speech of the corpus at 16 kHz with the times of its phonemes and words.

:mod:`bench.espeak` speaks every sentence in a process of its own: espeak-ng keeps state from one
utterance to the next, so that otherwise the same sentence would sound slightly different.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.demo.speakers import Voice
from bench.datasets.demo.visemes import Timed
from bench.errors import DataError
from bench.espeak import Synthesiser
from bench.media import resample

if TYPE_CHECKING:
    from bench.records import Samples

RATE = 16_000  # Hz of the corpus
WORDS_PER_MINUTE = 130

#: What is given to the synthesiser where it would read the written word as another one: it takes the
#: letter of "at a two" for the article; "eh" it reads as the letter's name.
SPOKEN = {"a": "eh"}


@dataclass(frozen=True, slots=True)
class Utterance:
    """A spoken sentence: ``samples`` float32 (N,) in [-1, 1] at 16 kHz, times from its start."""

    samples: Samples
    phonemes: tuple[Timed, ...]
    words: tuple[Timed, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of sound."""
        return self.samples.size / RATE


def speak(voice: Voice, words: Sequence[str]) -> Utterance:
    """One sentence with its times; equal arguments give equal sound.

    Raises:
        UsageError: espeakng-loader is absent.
        DataError: espeak-ng failed, or does not give one time per word.
    """
    text = " ".join(SPOKEN.get(word, word) for word in words)
    speech = Synthesiser(voice.variant, voice.pitch, WORDS_PER_MINUTE).speak(text)
    if len(speech.words) != len(words):
        raise DataError(
            f"espeak-ng gave {len(speech.words)} word times for the {len(words)} words of {text!r}",
            "reinstall espeakng-loader (0.2 and 0.2.4 are known to work).",
        )
    samples = resample(speech.audio.samples, speech.audio.rate, RATE)
    return Utterance(
        samples=np.clip(samples, -1.0, 1.0).astype(np.float32),
        phonemes=tuple(Timed(p.name, p.start_s, p.end_s) for p in speech.phonemes),
        words=tuple(Timed(word, w.start_s, w.end_s) for word, w in zip(words, speech.words, strict=True)),
    )
