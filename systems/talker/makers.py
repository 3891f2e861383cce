"""Latents of clips for training: which networks make them, and how (see :mod:`.latents`)."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import media
from bench.api import FPS, Clip, DataError, Unscorable, UsageError
from bench.systems.talker.latents import Latents

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records import Audio
    from bench.systems.talker.front import Front

_DIGITS = 16


class Makers:
    """See :class:`bench.shards.Makers`. ``front`` is built when the first clip needs it."""

    def __init__(self, identity: str, front: Callable[[], Front]) -> None:
        self.identity = identity
        self._front = front

    @cached_property
    def front(self) -> Front:
        """The networks."""
        return self._front()

    def make(self, clip: Clip) -> Latents:
        """See :meth:`bench.shards.Makers.make`; audio is cut or padded to the video's length."""
        if clip.audio is None or clip.video is None:
            raise Unscorable("no_audio_stream" if clip.audio is None else "no_video_stream", clip.id)
        frames = media.decode_video(clip.video).frames
        audio = _fitted(media.decode_audio(clip.audio), len(frames))
        front = self.front
        speech = front.speech(audio).numpy()
        first, after = front.span(audio)
        return Latents(
            speech=np.asarray(speech, np.float32),
            motion=front.renderer.motion_of([frames]),
            voice=front.voice(audio).numpy(),
            text=clip.transcript or "",
            span=(min(first, len(speech)), min(after, len(speech))),
        )


def latent_makers(config: str, device: str, vae: str | Path | None = None, motion: str | Path | None = None) -> Makers:
    """The makers of a training configuration (``tiny`` or ``full``).

    ``vae`` and ``motion``: files of ``bench train talker``, tiny alone; else what is shipped.

    Raises:
        UsageError: something is not here, with what to do; official parts with files of one's own.
    """
    from bench.networks import OFFICIAL
    from bench.systems.talker import parts

    if config == "full":
        if vae is not None or motion is not None:
            raise UsageError("configuration full learns from the official VAE and LIA-X", "leave --set vae and motion.")
        return Makers(_named("full", *_official()), lambda: parts.full_front(OFFICIAL, device))
    files = parts.TinyFiles(vae=_path(vae), motion=_path(motion))
    try:
        told = files.identity()
    except DataError as error:
        raise UsageError(f"the training needs the tiny VAE and LIA-X: {error.message}", _TRAIN_THEM) from error
    return Makers(_named("tiny", *told), lambda: parts.tiny_front(files, device))


_TRAIN_THEM = (
    "`bench train talker --stage vae`, then motion-encoder, motion64 and motion; "
    "then --set vae=FOLDER/weights.safetensors --set motion=FOLDER/weights.safetensors."
)


def _official() -> list[str]:
    from bench.systems.talker.weight_files import LIA_X, SPEAKER, VAE
    from bench.weights import source_sha256

    try:
        return [source_sha256(file) for file in (VAE, LIA_X, SPEAKER)]
    except DataError as error:
        raise UsageError(f"the training needs the official networks: {error.message}", error.hint) from error


def _named(config: str, *told: str) -> str:
    return f"{config}-{hashlib.sha256(' '.join(told).encode()).hexdigest()[:_DIGITS]}"


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _fitted(audio: Audio, frames: int) -> Audio:
    length = frames * audio.rate // FPS
    samples = audio.samples[:length]
    return media.Audio(np.pad(samples, (0, length - len(samples))), audio.rate)
