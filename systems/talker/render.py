"""From pictures to motion codes and from motion codes to pictures (``zhenye234/Talker-T2AV: infer.py``, talker.md 7.7).

The source makes one picture at a time from the same features; here they are made in batches, and converted to whole
numbers where they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.systems.talker.face_view import Box, Picture, View, Whole, seen
from bench.systems.talker.lia import Generator

Frames = NDArray[np.uint8]  # (T, H, W, 3) RGB

_SEEN_AT_ONCE = 32  # pictures that are encoded in one pass, at most
_SEEN_PIXELS = 32 * 128 * 128  # of these pictures: two of 512 px, whose largest maps have 0.8 GB
_KEPT = 31 << 20  # bytes
_IN_MEMORY = 1 << 29  # bytes of frames; more go to a file


@dataclass(frozen=True)
class Identity:
    """A face to be moved: its style code ``z`` (1, S), its maps, its own motion code ``alpha`` (C,), its picture."""

    z: torch.Tensor
    maps: list[torch.Tensor]
    alpha: NDArray[np.float32]
    picture: Picture
    box: Box


class Renderer:
    """A generator at work; :func:`.lia_ops.folded` makes it faster.

    ``view``: what it sees of a picture. ``batch``: pictures that are made at once.
    """

    def __init__(self, generator: Generator, view: View | None = None, batch: int = 8) -> None:
        if batch < 1:
            raise ValueError(f"batches of {batch} pictures cannot be made")
        self._generator = generator.eval()
        self._view = Whole() if view is None else view
        self._batch = batch
        self._size = generator.sizes.size
        self._at_once = max(1, min(_SEEN_AT_ONCE, _SEEN_PIXELS // self._size**2))
        _keep_freed_memory()

    def identity(self, picture: Picture) -> Identity:
        """The face of a portrait, or of a video's first frame (H, W, 3).

        Raises:
            Unscorable: ``no_face``, where the view needs one.
        """
        box = self._view.box(picture)
        with torch.inference_mode():
            z, maps = self._generator.enc.enc_2r(self._input(picture[None], box))
            alpha = self._generator.enc.alpha(z)[0].float().cpu().numpy()
        return Identity(z, maps, alpha, picture, box)

    def motion_of(self, video: Iterable[Frames]) -> NDArray[np.float32]:
        """Motion codes (T, C), not normalised, of a video that comes in pieces (n, H, W, 3), 25 frames a second.

        Raises:
            Unscorable: ``no_face``, where the view needs one in the first frame; ``too_short`` without frames.
        """
        box: Box | None = None
        codes: list[NDArray[np.float32]] = []
        for piece in video:
            for start in range(0, len(piece), self._at_once):
                part = piece[start : start + self._at_once]
                box = self._view.box(part[0]) if box is None else box
                with torch.inference_mode():
                    codes.append(self._generator.get_alpha(self._input(part, box)).float().cpu().numpy())
        if not codes:
            raise Unscorable("too_short", "a video without frames has no motion")
        return np.concatenate(codes)

    def render(self, identity: Identity, motion: NDArray[np.floating]) -> Iterator[Frames]:
        """Frames (b, H, W, 3) for motion codes (T, C), not normalised, in batches; two of them are in memory at a time.

        The code is absolute: nothing of the identity's own motion is subtracted.
        """
        before: _OnItsWay | None = None
        for start in range(0, len(motion), self._batch):
            started = self._start(identity, motion[start : start + self._batch])
            if before is not None:
                yield self._finished(identity, before)
            before = started
        if before is not None:
            yield self._finished(identity, before)

    def video(self, identity: Identity, motion: NDArray[np.floating], folder: Path | None = None) -> Frames:
        """All frames (T, H, W, 3) of :meth:`render`; long videos lie in a file in ``folder``, mapped into memory."""
        room: Frames | None = None
        filled = 0
        for piece in self.render(identity, motion):
            if room is None:
                room = _room((len(motion), *piece.shape[1:]), folder)
            room[filled : filled + len(piece)] = piece
            filled += len(piece)
        if room is None:
            raise Unscorable("too_short", "no motion, no video")
        return room

    def _input(self, pictures: Frames, box: Box) -> torch.Tensor:
        weight = self._generator.dec.input.input
        small = np.stack([seen(picture, box, self._size) for picture in pictures])
        return network_input(small).to(weight.device, weight.dtype)

    def _start(self, identity: Identity, motion: NDArray[np.floating]) -> _OnItsWay:
        """Pictures of some codes, on their way to the host."""
        with torch.inference_mode():
            alpha = torch.from_numpy(np.ascontiguousarray(motion, np.float32)).to(identity.z.device, identity.z.dtype)
            return _OnItsWay(levels(self._generator.move(identity.z, identity.maps, alpha)))

    def _finished(self, identity: Identity, made: _OnItsWay) -> Frames:
        view, picture, box = self._view, identity.picture, identity.box
        return np.stack([view.finished(picture, box, one) for one in made.arrived()])


class _OnItsWay:
    """A tensor that is copied to the host while the device goes on."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._host, self._event = tensor, None
        if tensor.is_cuda:
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(tensor.device))

    def arrived(self) -> Frames:
        """The tensor, once it is here."""
        if self._event is not None:
            self._event.synchronize()
        array: Frames = self._host.numpy()
        return array


def network_input(pictures: Frames) -> torch.Tensor:
    """Pictures (B, S, S, 3) as numbers from -1 to 1, (B, 3, S, S)."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def levels(pictures: torch.Tensor) -> torch.Tensor:
    """A decoder's pictures (B, 3, S, S) as uint8 (B, S, S, 3), on their device; fractions of a level are cut off."""
    scaled = pictures.float().clamp(-1.0, 1.0).add_(1.0).mul_(127.5)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _keep_freed_memory() -> None:
    """Let the C library keep blocks of the size of a stage's maps when they are freed, for the next ones.

    Otherwise each map comes from the system, which fills it with zeros, page by page: a seventh of the time. glibc
    keeps blocks up to the size of the largest one that it has got back, at most 32 MB; others lose nothing.
    """
    torch.empty(_KEPT, dtype=torch.uint8)


def _room(shape: tuple[int, ...], folder: Path | None) -> Frames:
    if folder is None or int(np.prod(shape)) <= _IN_MEMORY:
        return np.empty(shape, np.uint8)
    return np.memmap(folder / "rendered.raw", np.uint8, "w+", shape=shape)
