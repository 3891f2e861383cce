"""The conditioners at work on requests: the small ones, which are shipped, and the full-size ones of official files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.api import Audio, Source, Unscorable
from bench.media.resample import resample
from bench.systems.hicodit.codec.loudness import levelled
from bench.systems.hicodit.emotion import CLASSES, NEUTRAL
from bench.systems.hicodit.extract import clip_conditions
from bench.systems.hicodit.front import Seen
from bench.systems.hicodit.identity import voice_identity, voice_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.metrics.speaker_net import VoiceEncoder
    from bench.systems.hicodit.extract import ClipConditions, Extractor
    from bench.systems.hicodit.joined import Joined

RATE = 16_000  # Hz at which voices are heard


class TinyFront:
    """Grey mouths through the jointly trained lip reader; voices as standardised statistics of their spectrum.

    ``folder``: where extracted conditions are kept from run to run.
    """

    def __init__(self, joined: Joined, extractor: Extractor, folder: Path | None) -> None:
        self._joined, self._extractor, self._folder = joined, extractor, folder

    @torch.inference_mode()
    def seen(self, video: Path, frames: int | None) -> Seen:
        """See :class:`.front.Front`."""
        found = _conditions(video, self._folder, self._extractor)
        mouths = torch.from_numpy(_exactly(found.lip, frames))
        device = next(self._joined.parameters()).device
        lip = self._joined.lip(mouths[None].to(device))[0].float().cpu()
        return _seen(lip, found)

    @torch.inference_mode()
    def voice(self, audio: Audio) -> torch.Tensor:
        """See :class:`.front.Front`."""
        if self._joined.voice is None:
            raise RuntimeError("a network without a front has no voice statistics")
        statistics = voice_statistics(Audio(levelled(_at_rate(audio), RATE), RATE))
        return torch.from_numpy(self._joined.voice.vector(statistics))


class FullFront:
    """AV-HuBERT's features and ArcFace's vector; voices by GE2E, which is loaded when one is first heard."""

    def __init__(self, extractor: Extractor, encoder: Callable[[], VoiceEncoder], folder: Path | None) -> None:
        self._extractor, self._encoder, self._folder = extractor, encoder, folder

    def seen(self, video: Path, frames: int | None) -> Seen:
        """See :class:`.front.Front`."""
        found = _conditions(video, self._folder, self._extractor)
        return _seen(torch.from_numpy(_exactly(found.lip, frames)).float(), found)

    def voice(self, audio: Audio) -> torch.Tensor:
        """See :class:`.front.Front`."""
        heard = Audio(levelled(_at_rate(audio), RATE), RATE)
        return torch.from_numpy(np.asarray(voice_identity(self._encoder(), heard), np.float32))


def _conditions(video: Path, folder: Path | None, extractor: Extractor) -> ClipConditions:
    try:
        return clip_conditions(Source(video), folder, extractor)
    except FileNotFoundError as error:
        raise Unscorable("decode_error", f"{video.name}: no such file") from error


def _seen(lip: torch.Tensor, found: ClipConditions) -> Seen:
    return Seen(lip, torch.from_numpy(found.face), _classes(found, len(lip)), found.lost)


def _classes(found: ClipConditions, frames: int) -> NDArray[np.float32]:
    """Probabilities (frames, 7): those that were found, else neutral throughout."""
    if found.emotion is not None:
        return np.asarray(_exactly(found.emotion, frames), np.float32)
    neutral = np.zeros((frames, len(CLASSES)), np.float32)
    neutral[:, NEUTRAL] = 1.0
    return neutral


def _exactly(rows: NDArray[np.generic], frames: int | None) -> NDArray[np.generic]:
    """Rows of a video's frames, cut to ``frames`` or with the last one repeated."""
    if frames is None or frames == len(rows):
        return rows
    return rows[np.minimum(np.arange(frames), len(rows) - 1)]


def _at_rate(audio: Audio) -> NDArray[np.float32]:
    return audio.samples if audio.rate == RATE else resample(audio.samples, audio.rate, RATE)
