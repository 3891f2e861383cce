"""What requests refer to, as the model takes it: voices, faces, driving sound and driving video, kept by content."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch

from bench import media
from bench.api import FPS, Audio, Source, Unscorable

if TYPE_CHECKING:
    from bench.records import Frames
    from bench.systems.talker.front import Front
    from bench.systems.talker.render import Identity

_KEPT, _KEPT_FACES = 1024, 4  # a face at 512 px has 230 MB of maps
_PNG = ".png"
_Value = TypeVar("_Value")


class _Kept(Generic[_Value]):
    """The last results, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, _Value] = OrderedDict()

    def of(self, key: str | None, make: Callable[[], _Value]) -> _Value:
        """What ``key`` has, made now if it is not here. ``None``: nothing is kept."""
        if key is None:
            return make()
        found = self._known.pop(key) if key in self._known else make()
        self._known[key] = found
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found


class References:
    """See the methods; all tensors are on the CPU. ``seconds``: so much of a reference counts.

    ``motion``: raw codes that take the place of those of every reference video.
    """

    def __init__(self, front: Front, seconds: float, motion: torch.Tensor | None = None) -> None:
        self._front, self._seconds, self._given = front, seconds, motion
        self._voices: _Kept[torch.Tensor] = _Kept(_KEPT)
        self._spoken: _Kept[torch.Tensor] = _Kept(_KEPT)
        self._faces: _Kept[Identity] = _Kept(_KEPT_FACES)
        self._motions: _Kept[torch.Tensor] = _Kept(_KEPT)
        self._lengths: _Kept[int] = _Kept(_KEPT)

    def voice(self, path: Path | None, key: str | None) -> torch.Tensor:
        """The speaker condition ``(G,)`` of a sound file.

        Raises:
            Unscorable: ``missing_reference``, ``silent_audio``, ``too_short``, and kinds of :mod:`bench.media`.
        """
        if path is None:
            raise Unscorable("missing_reference", "no voice reference")
        return self._voices.of(key, lambda: self._front.voice(heard(path, self._seconds)))

    def spoken(self, path: Path | None, key: str | None) -> torch.Tensor:
        """Latents ``(L, C)`` of a voice reference; raises as :meth:`voice`."""
        if path is None:
            raise Unscorable("missing_reference", "no voice reference")
        return self._spoken.of(key, lambda: self._front.speech(heard(path, self._seconds)))

    def face(self, path: Path | None, key: str | None) -> Identity:
        """The face of a portrait, or of a video's first frame.

        Raises:
            Unscorable: ``missing_reference``, ``no_face``, and kinds of :mod:`bench.media`.
        """
        if path is None:
            raise Unscorable("missing_reference", "no face to move")
        return self._faces.of(key, lambda: self._front.renderer.identity(_first_picture(path)))

    def motion(self, path: Path | None, key: str | None) -> torch.Tensor:
        """Raw motion codes ``(T, C)`` of a reference video; a portrait has one, ``motion_file`` those of the file.

        Raises:
            Unscorable: as :meth:`face`.
        """
        if self._given is not None:
            return self._given
        if path is None:
            raise Unscorable("missing_reference", "no face to move")
        if path.suffix.lower() == _PNG:
            return torch.from_numpy(self.face(path, key).alpha)[None]
        return self._motions.of(key, lambda: self.driving_motion(path, round(self._seconds * FPS)))

    def motion_frames(self, path: Path | None, key: str | None) -> int:
        """How many codes :meth:`motion` has, without looking at the pictures.

        Raises:
            Unscorable: ``missing_reference``, and kinds of :mod:`bench.media`.
        """
        if self._given is not None:
            return len(self._given)
        if path is None:
            raise Unscorable("missing_reference", "no face to move")
        if path.suffix.lower() == _PNG:
            return 1
        return self._lengths.of(key, lambda: media.count_frames(Source(path, end=round(self._seconds * FPS) / FPS)))

    def given_or(self, motion: torch.Tensor) -> torch.Tensor:
        """The codes of ``motion_file`` where there is one, else ``motion``."""
        return motion if self._given is None else self._given

    def driving_motion(self, path: Path | None, most: int | None = None) -> torch.Tensor:
        """Raw motion codes ``(T, C)`` of a video, of its first ``most`` frames.

        Raises:
            Unscorable: ``missing_reference``, ``no_face``, and kinds of :mod:`bench.media`.
        """
        if path is None:
            raise Unscorable("missing_reference", "no video to follow")
        end = None if most is None else most / FPS
        return torch.from_numpy(self._front.renderer.motion_of(media.iter_video(Source(path, end=end))))


def _first_picture(path: Path) -> Frames:
    if path.suffix.lower() == _PNG:
        return media.read_png(path)
    pieces = media.iter_video(Source(path), chunk_bytes=1)
    first = next(iter(pieces), None)
    if first is None:
        raise Unscorable("too_short", f"{path.name}: no frame")
    picture: Frames = first[0]
    return picture


def heard(path: Path, seconds: float | None = None) -> Audio:
    """A sound file, its first ``seconds``.

    Raises:
        Unscorable: kinds of :mod:`bench.media`; ``too_short`` for no sample, ``nan``.
    """
    audio = media.decode_audio(Source(path))
    if not len(audio.samples):
        raise Unscorable("too_short", f"{path.name}: no sample")
    if not np.isfinite(audio.samples).all():
        raise Unscorable("nan", f"{path.name}: samples that are not finite")
    return audio if seconds is None else Audio(audio.samples[: round(seconds * audio.rate)], audio.rate)
