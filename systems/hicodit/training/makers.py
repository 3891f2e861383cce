"""Records of clips for training: which networks make them, and how (see :mod:`.records`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.api import Audio, Clip, DataError, Unscorable, UsageError
from bench.media import Media
from bench.systems.hicodit.emotion import CLASSES
from bench.systems.hicodit.training.clip_audio import SAMPLE_RATE, clip_audio
from bench.systems.hicodit.training.records import ClipRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.systems.hicodit.codec import Codec
    from bench.systems.hicodit.extract import Extractor
    from bench.systems.hicodit.options import CodecName

_DIGITS = 16
EMOTION = "emotion"  # what a data set calls the class of a clip
_NEUTRAL = 0
_TINY = "tiny-1"  # the version of crops, faces and voices


@dataclass(frozen=True)
class Listeners:
    """What sees and hears a clip besides the codec: lips and face; the voice of levelled speech at 16 kHz."""

    extractor: Extractor
    voice: Callable[[Audio], NDArray[np.float32]]


class Makers:
    """See :class:`bench.shards.Makers`. ``listeners`` are built when the first clip needs them.

    ``told`` names their weights and settings.
    """

    def __init__(self, codec: Codec, listeners: Callable[[], Listeners], told: str, device: str = "cpu") -> None:
        self.codec, self._listeners, self._device = codec, listeners, device
        digest = hashlib.sha256(f"{codec.hash()} {told}".encode()).hexdigest()
        self.identity = f"{codec.name}-{digest[:_DIGITS]}"

    @cached_property
    def listeners(self) -> Listeners:
        """The networks."""
        return self._listeners()

    def make(self, clip: Clip) -> ClipRecord:
        """See :meth:`bench.shards.Makers.make`."""
        if clip.video is None:
            raise Unscorable("no_video_stream", clip.id)
        seen = self.listeners.extractor.extract(Media(clip.video, None, ""))
        speech = clip_audio(clip, SAMPLE_RATE)
        wave = speech if self.codec.sample_rate == SAMPLE_RATE else clip_audio(clip, self.codec.sample_rate)
        codes = self.codec.encode(torch.from_numpy(wave).to(self._device))
        return ClipRecord(
            codes=codes.cpu().numpy().astype(np.int16),
            lip=seen.lip if seen.lip.dtype == np.uint8 else seen.lip.astype(np.float16),
            face=seen.face,
            voice=self.listeners.voice(Audio(speech, SAMPLE_RATE)),
            emotion=np.array(emotion_of(clip), np.int8),
        )


def emotion_of(clip: Clip) -> int:
    """The class that the data set gives the clip's speech; neutral where it gives none.

    Raises:
        DataError: a class that the model does not know.
    """
    named = clip.extra.get(EMOTION)
    if named is None:
        return _NEUTRAL
    if named not in CLASSES:
        raise DataError(f"clip {clip.id}: emotion {named!r}", f"the model knows {', '.join(CLASSES)}.")
    return CLASSES.index(named)


def record_makers(config: str, device: str, codec: str | None = None, tokens: CodecName = "dac_16k") -> Makers:
    """The makers of a training configuration (``tiny`` or ``full``).

    ``codec``: a file of the stage ``codec``; else what is shipped, or in full size the official one. ``tokens``: which
    codec of full size.

    Raises:
        UsageError: something is not here, with what to do.
    """
    path = None if codec is None else Path(codec)
    try:
        return _tiny_makers(device, path) if config == "tiny" else _full_makers(device, path, tokens)
    except DataError as error:
        raise UsageError(f"the training needs what makes its data: {error.message}", error.hint) from error


def _tiny_makers(device: str, path: Path | None) -> Makers:
    from bench.systems.hicodit import parts

    return Makers(parts.tiny_codec(path, device), _tiny, _TINY, device)


def _full_makers(device: str, path: Path | None, tokens: CodecName) -> Makers:
    from bench.networks import OFFICIAL
    from bench.systems.hicodit import parts
    from bench.systems.hicodit.weight_files import ARCFACE, AV_HUBERT

    codec = _maskgct(device) if tokens == "maskgct" and path is None else parts.full_codec(path, device, tokens)
    told = " ".join(OFFICIAL.identity(file) for file in (AV_HUBERT, ARCFACE))
    return Makers(codec, lambda: parts.full_listeners(device), told, device)


def _maskgct(device: str) -> Codec:
    """With its encoder, which speaking does without."""
    from bench.networks import OFFICIAL
    from bench.systems.hicodit.codec.maskgct import MaskgctCodec, MaskgctDecoder, MaskgctEncoder
    from bench.systems.hicodit.weight_files import MASKGCT_DECODER, MASKGCT_ENCODER

    decoder, encoder = MaskgctDecoder(), MaskgctEncoder()
    OFFICIAL.fill(decoder, MASKGCT_DECODER)
    OFFICIAL.fill(encoder, MASKGCT_ENCODER)
    return MaskgctCodec(decoder.to(device), encoder.to(device))


def _tiny() -> Listeners:
    from bench.systems.hicodit.extract import TinyExtractor
    from bench.systems.hicodit.identity import voice_statistics

    return Listeners(TinyExtractor(), voice_statistics)
