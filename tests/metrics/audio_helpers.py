"""Waves, files and media for the tests of the audio metrics."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import Reference, Source
from bench.media import Media

SENTENCES = ("bin blue at f two now", "set red by k nine please", "lay green in b zero soon")


@lru_cache(maxsize=16)
def speech(sentence: str = SENTENCES[0], voice: str = "f2", pitch: int = 50) -> Any:
    """Three seconds of espeak's speech at 16 kHz, silence around it; read-only."""
    from bench import espeak
    from bench.media import resample

    if lacking := espeak.available():
        pytest.skip(lacking[0])
    audio = espeak.Synthesiser(voice, pitch, 130).speak(sentence).audio
    said = resample(audio.samples, audio.rate, 16000)[:43000]
    wave = np.zeros(48000, np.float32)
    wave[4000 : 4000 + len(said)] = 0.9 * said
    wave.setflags(write=False)
    return wave


def noise(n: int, level: float = 0.1, seed: int = 0) -> Any:
    return (level * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def media(folder: Path, wave: Any, rate: int = 16000, subtype: str = "FLOAT", **more: Any) -> Media:
    """A medium with the wave as its only stream, from a WAV file."""
    import soundfile

    path = folder / f"wave{len(list(folder.iterdir()))}.wav"
    soundfile.write(path, wave, rate, subtype=subtype)
    return Media(None, Source(path), path.name, **more)


def nothing() -> Media:
    """A medium without any stream."""
    return Media(None, None, "none")


def truth(transcript: str | None = SENTENCES[0], task: Any = "vts") -> Reference:
    return Reference("clip", "0" * 64, None, None, transcript, task=task)


def score_one(metric: Any, protocol_id: str, output: Media, reference: Media, clip: Reference | None = None) -> Any:
    """The result of one protocol; a failure raised for all protocols alike becomes the result."""
    from bench.api import Failure, Unscorable

    try:
        return metric.score([protocol_id], output, reference, clip or truth())[protocol_id]
    except Unscorable as error:
        return Failure(error.kind, error.detail)
