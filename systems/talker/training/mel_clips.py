"""Log-mel frames of clips, for the training of the tiny audio VAE; decoded when they are first drawn, then kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench import media
from bench.api import Clip, Unscorable, UsageError
from bench.media import log_mel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.progress import Progress
    from bench.systems.talker.mel_vae import MelVAEConfig

    Frames = NDArray[np.float32]

_IN_MEMORY = 4000  # clips: 100 kB each at 3 s


class MelClips:
    """Log-mel frames ``(T, n_mels)`` of the clips that have audio; T is a multiple of the VAE's ``stack``.

    Clips that cannot be decoded are left out as they are met.
    """

    def __init__(self, clips: Sequence[Clip], config: MelVAEConfig) -> None:
        self._sources = [clip.audio for clip in clips if clip.audio is not None]
        self._config = config
        self._made = lru_cache(_IN_MEMORY)(self._make)

    def __len__(self) -> int:
        """How many clips have audio."""
        return len(self._sources)

    def all(self, progress: Progress, what: str) -> Iterator[Frames]:
        """Each clip's frames in turn; treat as constant."""
        with progress.stage(what, len(self)) as bar:
            for index in range(len(self)):
                mel = self._made(index)
                if mel is not None:
                    yield mel
                bar.advance()

    def crop(self, random: np.random.Generator, frames: int) -> Frames:
        """``(frames, n_mels)`` at a random place of a random clip; short clips go on in silence.

        Raises:
            UsageError: there is no clip with audio that can be decoded.
        """
        mel = self._drawn(random)
        first = int(random.integers(max(1, len(mel) - frames + 1)))
        part = mel[first : first + frames]
        silence = np.float32(self._config.mel.silence)
        return np.pad(part, ((0, frames - len(part)), (0, 0)), constant_values=silence)

    def _drawn(self, random: np.random.Generator) -> Frames:
        left = len(self)
        index = int(random.integers(max(1, left)))
        while left:
            mel = self._made(index)
            if mel is not None:
                return mel
            index, left = (index + 1) % len(self), left - 1
        raise UsageError("no clip has audio to learn from", "see `bench data check`.")

    def _make(self, index: int) -> Frames | None:
        config = self._config
        try:
            sound = media.decode_audio(self._sources[index])
        except Unscorable:
            return None
        samples = media.resample(sound.samples, sound.rate, config.mel.sample_rate)
        audio = log_mel.padded(torch.from_numpy(np.asarray(samples, np.float32)), config.hop)
        return log_mel.log_mel(audio[None], config.mel)[0].numpy()
