"""A low anchor, as listening tests have one: the truth, plainly degraded.

Audio: low-passed at 3.5 kHz (the low-quality anchor of ITU-R BS.1534-3, section 5.1: at most 0.1 dB
of ripple in the pass band, at least 25 dB of attenuation at 4 kHz, 50 dB at 4.5 kHz).
Video: at a quarter of the resolution and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.api import MADE, TASKS, Audio, Control, Failure, Output, Reference, Request, Source, Unscorable

if TYPE_CHECKING:
    from bench.records import Frames, Samples

PASS_HZ, STOP_HZ = 3_500.0, 4_000.0
ATTENUATION_DB = 60.0  # of the Kaiser window: ripple 0.009 dB below 3.5 kHz, -60 dB from 4 kHz on


class Anchor(Control):
    """The truth's audio low-passed at 3.5 kHz and its video at a quarter of the resolution."""

    name = "anchor"
    version = "1"
    tasks = TASKS
    summary = "low anchor: the truth low-passed at 3.5 kHz, pictures at a quarter of the resolution"
    source = "ITU-R BS.1534-3 (MUSHRA), low-quality anchor"

    def generate_from_truth(
        self, requests: Sequence[Request], truths: Sequence[Reference]
    ) -> Sequence[Output | Failure]:
        """The degraded streams of the task."""
        return [_degraded(request, truth) for request, truth in zip(requests, truths, strict=True)]


def _degraded(request: Request, truth: Reference) -> Output | Failure:
    made = MADE[request.task]
    try:
        video = _video(truth.video, request.n_frames if request.task == "a2v" else None) if "video" in made else None
        audio = _audio(truth.audio) if "audio" in made else None
    except Unscorable as error:
        return Failure(error.kind, error.detail)
    return Output(video=video, audio=audio)


def _video(source: Source | None, n_frames: int | None) -> Frames:
    from bench import media
    from bench.systems.baselines.pictures import fit_length, quarter_and_back

    if source is None:
        raise Unscorable("no_video_stream", "the clip has none")
    return quarter_and_back(fit_length(media.decode_video(source).frames, n_frames))


def _audio(source: Source | None) -> Audio:
    from bench import media

    if source is None:
        raise Unscorable("no_audio_stream", "the clip has none")
    audio = media.decode_audio(source)
    return Audio(low_pass(audio.samples, audio.rate), audio.rate)


def low_pass(samples: Samples, rate: int) -> Samples:
    """``samples`` without what lies above 3.5 kHz, by a linear-phase filter whose delay is removed.

    Audio of a rate that cannot hold 4 kHz is returned as it is.
    """
    import numpy as np
    from scipy import signal

    if rate / 2 <= STOP_HZ:
        return samples
    taps, beta = signal.kaiserord(ATTENUATION_DB, (STOP_HZ - PASS_HZ) / (rate / 2))
    taps |= 1  # an odd number of taps delays by whole samples
    window = signal.firwin(taps, (PASS_HZ + STOP_HZ) / 2, window=("kaiser", beta), fs=rate)
    full = signal.fftconvolve(samples.astype(np.float64), window)
    delay = taps // 2
    passed: Samples = np.clip(full[delay : delay + len(samples)], -1.0, 1.0).astype(np.float32)
    return passed
