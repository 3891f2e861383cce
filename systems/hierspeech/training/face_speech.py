"""What the talking face hears in training: features of the real audio, or what text-to-vec makes of them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench import media
from bench.api import Clip, DataError, Unscorable
from bench.systems.hierspeech.mel import log_mel
from bench.systems.hierspeech.training.face_helpers import fingerprint, still
from bench.systems.hierspeech.training.feature_source import FeatureSource
from bench.systems.hierspeech.ttv import TextToVec
from bench.train import step_seed

RATE = 16_000
_VERSION = 1  # of what is kept: a change makes new files
_NO_STEP = 0
_MEASURED = 200  # clips, for the statistics


class RealSpeech:
    """Features (T, D) of a clip's audio, float32, computed once and kept in ``folder``."""

    def __init__(self, source: FeatureSource, folder: Path) -> None:
        self._source, self._folder = source, folder
        self.name = source.identity

    def __call__(self, clip: Clip) -> NDArray[np.floating]:
        """Mapped, not read.

        Raises:
            Unscorable: there is no audio, or it is broken.
        """
        return _kept(self._folder, clip, self.name, lambda: self.heard(audio(clip)))

    def heard(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, D) of samples (N,) at 16 kHz."""
        made: NDArray[np.float32] = self._source.of(torch.from_numpy(samples)).T.numpy()
        return made


class ReconstructedSpeech:
    """The same through text-to-vec's posterior encoder and decoder, in the voice of the clip itself.

    The posterior is sampled, as in text-to-vec's own training: one draw per clip, by ``seed`` and the clip's content.
    """

    def __init__(self, real: RealSpeech, ttv: TextToVec, folder: Path, seed: int, device: str) -> None:
        self._real, self._folder, self._seed = real, folder, seed
        self._device = torch.device(device)
        self._ttv = still(ttv, device)
        self.name = f"{real.name}-{fingerprint(ttv)}"

    def __call__(self, clip: Clip) -> NDArray[np.floating]:
        """Mapped, not read.

        Raises:
            Unscorable: there is no audio, or it is broken.
        """
        return _kept(self._folder, clip, f"{self.name}-{self._seed}", lambda: self._made(clip))

    @torch.inference_mode()
    def _made(self, clip: Clip) -> NDArray[np.float32]:
        features = torch.from_numpy(np.array(self._real(clip), np.float32)).T[None].to(self._device)  # (1, D, T)
        mel = log_mel(torch.from_numpy(audio(clip))[None]).to(self._device)
        style = self._ttv.style(mel, torch.tensor([mel.shape[2]], device=self._device))
        seed = step_seed(self._seed, _NO_STEP, int(clip.content_sha256[:12], 16))
        shape = (1, self._ttv.config.inter_channels, features.shape[2])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self._device)
        lengths = torch.tensor([features.shape[2]], device=self._device)
        made: NDArray[np.float32] = self._ttv.reconstruct(features, lengths, style, noise).w2v[0].T.cpu().numpy()
        return made


def statistics(speech: RealSpeech, clips: Sequence[Clip]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (D,) over at most 200 clips, evenly spaced; those without speech are passed over.

    Raises:
        DataError: none has speech.
    """
    sums: list[torch.Tensor] = []
    squares: list[torch.Tensor] = []
    count = 0
    for clip in clips[:: max(1, len(clips) // _MEASURED)]:
        with suppress(Unscorable):
            features = torch.from_numpy(np.array(speech(clip), np.float64))
            sums.append(features.sum(0))
            squares.append(features.square().sum(0))
            count += len(features)
    if not count:
        raise DataError(f"none of {len(clips)} clips has speech", "see `bench data check`.")
    mean = torch.stack(sums).sum(0) / count
    return mean.float(), (torch.stack(squares).sum(0) / count - mean.square()).clamp_min(0).sqrt().float()


def audio(clip: Clip) -> NDArray[np.float32]:
    """Samples (N,) at 16 kHz.

    Raises:
        Unscorable: there is no audio, or it is broken.
    """
    if clip.audio is None:
        raise Unscorable("no_audio_stream")
    sound = media.decode_audio(clip.audio)
    return np.asarray(media.resample(sound.samples, sound.rate, RATE), np.float32)


def _kept(folder: Path, clip: Clip, name: str, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.floating]:
    stream = list(astuple(clip.audio)[1:]) if clip.audio is not None else None
    told = json.dumps([_VERSION, clip.content_sha256, stream, name])
    file = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.npy"
    if not file.is_file():
        made = make()
        folder.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npy")
        np.save(part, made)
        part.replace(file)
    return np.asarray(np.load(file, mmap_mode="r"))
