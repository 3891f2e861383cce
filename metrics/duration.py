"""Duration error (``duration/abs@1``): |duration of the output - duration of the ground truth|, seconds.

The duration is that of the decoded audio (samples / rate); of video without audio, frames / 25. An
output's audio counts where the task generated it: in ``a2v`` the audio is the one that the system was
given, so there the generated video's length is held against the driving audio's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.api import FPS, MADE, Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import ANY_STREAM, mean

if TYPE_CHECKING:
    from bench.media import Media


class Duration(Metric):
    """Whether the output is as long as it should be."""

    name = "duration"
    summary = "absolute difference between the durations of output and ground truth"
    protocols = (
        Protocol(
            id="duration/abs@1",
            values=(mean("duration", "DurErr", "lower", "s", low=0.0),),
            judges=ANY_STREAM,
            judges_either=True,
            needs=frozenset({"reference_audio"}),
            status="offline-canonical",
            parameters={
                "value": "|duration of generated - duration of reference|",
                "duration": "decoded samples / sample rate of the audio; without audio, frames / 25",
            },
            source="formula",
            default=True,
            failures=("missing_output", "missing_reference", "decode_error"),
            cost_hint_s=0.005,
        ),
    )

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        ours = _audio_seconds(output) if "audio" in MADE[truth.task] else _video_seconds(output)
        theirs = _reference_seconds(reference)
        score = Score(values={"duration": abs(ours - theirs)}, parts={"seconds": ours, "reference_seconds": theirs})
        return dict.fromkeys(protocol_ids, score)


def _audio_seconds(media: Media) -> float:
    return len(media.audio()) / media.audio_rate


def _video_seconds(media: Media) -> float:
    return media.n_frames / FPS


def _reference_seconds(reference: Media) -> float:
    for seconds, absent in ((_audio_seconds, "no_audio_stream"), (_video_seconds, "no_video_stream")):
        try:
            return seconds(reference)
        except Unscorable as error:
            if error.kind != absent:
                raise
    raise Unscorable("missing_reference", "the ground truth has neither audio nor video")
