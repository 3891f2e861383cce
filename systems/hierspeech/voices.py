"""The voice of a reference clip, kept by its content: decoded, denoised where asked for, and encoded once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench import media
from bench.api import Source, Unscorable
from bench.systems.hierspeech.cascade import Style, style_of
from bench.systems.hierspeech.prompt import prompt_rows, repeated
from bench.systems.hierspeech.resample import resample

if TYPE_CHECKING:
    from bench.systems.hierspeech.parts import Networks

#: A reference that is nowhere louder is silent: -80 dB of full scale.
SILENT_PEAK = 1e-4
_VOICES_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Voice:
    """``style`` as the networks take it; ``peak``: greatest magnitude of the reference."""

    style: Style
    peak: float


class Voices:
    """See :meth:`of`. ``seconds``: so much of a clip counts; one below 3 s is put ``repeats`` times in a row."""

    def __init__(self, networks: Networks, denoise_ratio: float, seconds: float, repeats: int) -> None:
        self._networks = networks
        self._ratio = denoise_ratio
        self._seconds = seconds
        self._repeats = repeats
        self._known: OrderedDict[str, Voice] = OrderedDict()

    def of(self, path: Path, key: str | None) -> Voice:
        """The voice of a sound file. ``key`` stands for its content; ``None``: the voice is not kept.

        A clipped reference is taken as it is.

        Raises:
            Unscorable: kinds of :mod:`bench.media`; ``nan``; ``silent_audio``; ``too_short`` for less than 40 ms.
        """
        found = None if key is None else self._known.pop(key, None)
        made = found or self._made(path)
        if key is not None:
            self._known[key] = made
            while len(self._known) > _VOICES_KEPT:
                self._known.popitem(last=False)
        return made

    def _made(self, path: Path) -> Voice:
        networks = self._networks
        audio = heard(path, networks.sizes.mel.sample_rate)[:, : round(self._seconds * networks.sizes.mel.sample_rate)]
        least = networks.sizes.mel.n_fft // 2 + 1
        if audio.shape[1] < least:
            raise Unscorable("too_short", f"voice reference of {audio.shape[1]} samples; {least} are needed")
        if float(audio.abs().max()) < SILENT_PEAK:
            raise Unscorable("silent_audio", "the voice reference is silent")
        denoise = networks.denoiser.denoise if self._ratio > 0 else None
        prompt = prompt_rows(repeated(audio, times=self._repeats).to(networks.device), denoise, networks.sizes.mel)
        return Voice(style_of(networks.ttv, networks.synthesizer, prompt.mel, self._ratio), prompt.peak)


def heard(path: Path, rate: int) -> torch.Tensor:
    """Samples (1, N) of a sound file at ``rate``.

    Raises:
        Unscorable: kinds of :mod:`bench.media`; ``nan``; ``too_short`` for no sample.
    """
    audio = media.decode_audio(Source(path))
    if not len(audio.samples):
        raise Unscorable("too_short", f"{path.name}: no sample")
    if not np.isfinite(audio.samples).all():
        raise Unscorable("nan", f"{path.name}: samples that are not finite")
    return resample(torch.from_numpy(np.array(audio.samples, np.float32))[None], audio.rate, rate)
