"""Voices of references, for the mode in which a speech clip gives the voice; kept by content."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import media
from bench.api import Audio, Source, Unscorable

if TYPE_CHECKING:
    import torch

    from bench.systems.hicodit.front import Front

_KEPT = 1024
_LEAST_SECONDS = 0.1
_SILENT = 1e-4  # greatest sample of a reference in which nobody speaks


class Voices:
    """The voice vectors ``(voice,)`` of sound files; each is made once."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._known: OrderedDict[str, torch.Tensor] = OrderedDict()

    def of(self, path: Path | None, key: str | None) -> torch.Tensor:
        """The vector of a file, whose content ``key`` names (``None``: it is not kept).

        Raises:
            Unscorable: ``missing_reference``, ``too_short``, ``silent_audio``, ``nan``, and those of decoding.
        """
        if path is None:
            raise Unscorable("missing_reference", "mode=audio has no voice without a reference")
        if key is not None and key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        made = self._front.voice(heard(path))
        if key is not None:
            self._known[key] = made
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return made


def heard(path: Path) -> Audio:
    """A sound file in which there is something.

    Raises:
        Unscorable: see :meth:`Voices.of`.
    """
    audio = media.decode_audio(Source(path))
    if len(audio.samples) < _LEAST_SECONDS * audio.rate:
        raise Unscorable("too_short", f"{path.name}: {len(audio.samples) / audio.rate:.2f} s of a voice")
    if not np.isfinite(audio.samples).all():
        raise Unscorable("nan", f"{path.name}: samples that are not finite")
    if np.abs(audio.samples).max() < _SILENT:
        raise Unscorable("silent_audio", f"{path.name}: nothing is heard")
    return audio
