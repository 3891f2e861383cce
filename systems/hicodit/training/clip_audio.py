"""The sound of a clip as training hears it: 16 kHz, as long as the picture, at one loudness (specs/hicodit.md, E.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench import media
from bench.api import Clip, Unscorable
from bench.systems.hicodit.codec.loudness import levelled

if TYPE_CHECKING:
    from bench.systems.hicodit.codec.loudness import Samples

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 640


def clip_audio(clip: Clip, rate: int = SAMPLE_RATE) -> Samples:
    """``(N,)`` float32 at ``rate``; N is ``clip.n_frames`` video frames where that is known (cut, or silence added).

    Raises:
        Unscorable: the clip has no audio, or it cannot be decoded.
    """
    if clip.audio is None:
        raise Unscorable("no_audio_stream", clip.id)
    sound = media.decode_audio(clip.audio)
    samples = np.asarray(media.resample(sound.samples, sound.rate, rate), np.float32)
    if clip.n_frames:
        length = clip.n_frames * SAMPLES_PER_FRAME * rate // SAMPLE_RATE
        samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    return levelled(samples, rate)
