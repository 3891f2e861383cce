"""Audio of an output and of its reference, made fit for comparison, or refused by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Reference, Unscorable
from bench.metrics.declare import SHORTEST_AUDIO_S

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Samples

_ROUNDING_S = 1e-6


def sounding(media: Media, parameters: Mapping[str, Any]) -> Samples:
    """The audio (N,) at the protocol's ``sample_rate`` by its ``resampler``.

    Raises:
        Unscorable: ``no_audio_stream``, ``too_short``, ``nan``, ``silent_audio``.
    """
    rate = parameters["sample_rate"]
    wave = media.audio(rate, parameters["resampler"])
    if wave.size < SHORTEST_AUDIO_S * rate:
        raise Unscorable("too_short", f"{wave.size} samples at {rate} Hz; at least {SHORTEST_AUDIO_S} s are needed")
    if not np.isfinite(wave).all():
        raise Unscorable("nan", "the audio has samples that are not finite")
    if not wave.any():
        raise Unscorable("silent_audio", "the audio is zero throughout")
    return wave


@contextmanager
def of_reference(truth: Reference) -> Iterator[None]:
    """What fails inside is the reference's fault: absent audio is ``missing_reference``, and the detail says so."""
    try:
        yield
    except Unscorable as error:
        kind = "missing_reference" if error.kind == "no_audio_stream" else error.kind
        raise Unscorable(kind, f"reference of {truth.clip_id}: {error.detail or error.kind}") from error


@dataclass(frozen=True, slots=True)
class SpeechPair:
    """Generated and reference samples (N,) of one length; ``seconds_apart`` is generated minus reference before."""

    generated: Samples
    reference: Samples
    seconds_apart: float

    def parts(self) -> dict[str, float]:
        """The flag and the number that stand beside a score."""
        differs = abs(self.seconds_apart) > _ROUNDING_S
        return {"length_differs": float(differs), "seconds_apart": self.seconds_apart}


def aligned(output: Media, reference: Media, truth: Reference, parameters: Mapping[str, Any]) -> SpeechPair:
    """Both signals at the protocol's rate, cut to the shorter.

    Raises:
        Unscorable: ``length_mismatch`` beyond ``max_length_difference_ms``; what :func:`sounding` raises.
    """
    limit = parameters["max_length_difference_ms"] / 1000.0
    generated = sounding(output, parameters)
    with of_reference(truth):
        expected = sounding(reference, parameters)
    apart = len(output.audio()) / output.audio_rate - len(reference.audio()) / reference.audio_rate
    if abs(apart) > limit + _ROUNDING_S:
        raise Unscorable(
            "length_mismatch", f"the output is {apart:+.3f} s longer than the reference; up to {limit:g} s are allowed"
        )
    n = min(generated.size, expected.size)
    return SpeechPair(generated[:n], expected[:n], apart)
