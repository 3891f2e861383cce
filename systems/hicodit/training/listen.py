"""What the harness' own metrics say of speech that was made in training: word error rate, likeness of the voice.

The metrics are those of ``bench run``; one that cannot work here, or that does not suit the clips (a closed vocabulary
that lacks their words), is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import media
from bench.api import Audio, Clip, Failure, Metric, Reference, Score, Source, Unscorable
from bench.media import Media

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS, VOICE = "wer/pocketsphinx-grid@1", "secs/resemblyzer@1"


class Listener:
    """Scores speech against what clips say and how their speakers sound."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._metrics = dict(_usable([clip.transcript or "" for clip in clips]))

    def figures(self, said: Sequence[tuple[Clip, NDArray[np.float32]]], rate: int) -> dict[str, float]:
        """``wer``, over all words, and ``secs``, the mean cosine; what no clip has is left out.

        ``wer_failed``, ``secs_failed``: how many clips have none, where there are such.
        """
        found: dict[str, list[Score]] = {WORDS: [], VOICE: []}
        for clip, samples in said:
            for protocol, score in self.scores(clip, samples, rate).items():
                found[protocol].append(score)
        words, told = found[WORDS], {}
        if total := sum(score.parts["ref_words"] for score in words):
            told["wer"] = sum(score.parts["edits"] for score in words) / total
        if found[VOICE]:
            told["secs"] = float(np.mean([score.values["secs"] for score in found[VOICE]]))
        for name, protocol in (("wer", WORDS), ("secs", VOICE)):
            if protocol in self._metrics and (failed := len(said) - len(found[protocol])):
                told[f"{name}_failed"] = float(failed)
        return told

    def scores(self, clip: Clip, samples: NDArray[np.float32], rate: int) -> dict[str, Score]:
        """The score of each metric that has one for ``samples`` (N,), said in the place of ``clip``."""
        truth = Reference(clip.id, clip.content_sha256, None, clip.audio, clip.transcript)
        told: dict[str, Score] = {}
        with tempfile.TemporaryDirectory(prefix="bench-heard-") as folder:
            path = Path(folder) / "speech.wav"
            media.write_audio(path, Audio(samples, rate))
            made, own = Media(None, Source(path), ""), Media(None, clip.audio, clip.content_sha256)
            for protocol, metric in self._metrics.items():
                try:
                    score = metric.score([protocol], made, own, truth)[protocol]
                except Unscorable:
                    continue
                if not isinstance(score, Failure):
                    told[protocol] = score
        return told


def _usable(transcripts: Sequence[str]) -> Iterator[tuple[str, Metric]]:
    from bench.metrics.secs import Secs
    from bench.metrics.wer import Wer

    words, voice = Wer(), Secs()
    if not words.missing(WORDS) and not words.unsuited(WORDS, transcripts):
        words.load("cpu")
        yield WORDS, words
    if not voice.missing(VOICE):
        voice.load("cpu")
        yield VOICE, voice
