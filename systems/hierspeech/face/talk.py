"""A video whose face speaks: the shared pipeline of Wav2Lip with the talking face in its middle (tfg.md 2.4).

The identity is one frame of the video with its lips closed, encoded once for the clip; every frame of the output
gives the pose. A video that is too short goes forth and back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bench import media
from bench.api import Source
from bench.faces.boxes import Pads
from bench.faces.known import KnownFaces
from bench.faces.paste import crop, to_levels
from bench.faces.redraw import at_once, fill_up, forth_and_back, read_frames, redraw
from bench.faces.tracks import place
from bench.systems.hierspeech.face.generator import masked
from bench.systems.hierspeech.face.reference import N_LANDMARKS, closed_frame
from bench.systems.hierspeech.face.windows import window_indices

if TYPE_CHECKING:
    from bench.faces.detect import Detect
    from bench.faces.tracks import Placed
    from bench.records import Frames
    from bench.systems.hierspeech.face.generator import Maps, TTVFace

Silent = Literal["generator", "closed_frame", "off"]
#: Windows of speech features (b, W, D) for the frames at places (b,).
Heard = Callable[[NDArray[np.intp]], torch.Tensor]
_IDENTITIES_KEPT = 64  # 1.2 MB each at the full size


@dataclass(frozen=True, slots=True)
class Picture:
    """Which face is drawn and how; names as in the system's options. ``face`` None: the best one of each frame."""

    face: int | None
    pads: Pads
    smooth: bool
    feather: int
    batch: int
    silent: Silent


@dataclass(frozen=True, slots=True)
class Shown:
    """A video's ``frames`` (n, H, W, 3), where its face is, and the identity; ``None``: no face is in the picture."""

    frames: Frames
    placed: Placed
    known: Maps | None


class TalkingFace:
    """See :meth:`video`. ``closes_lips`` is the network for ``silent`` = ``generator``."""

    def __init__(self, network: TTVFace, closes_lips: TTVFace | None, detect: Detect, picture: Picture) -> None:
        self._network = network
        self._closes_lips = closes_lips
        self._faces = KnownFaces(detect)
        self._picture = picture
        self._identities: OrderedDict[tuple[object, ...], Maps] = OrderedDict()

    def video(self, features: torch.Tensor, count: int, identity: Path, key: str | None, folder: Path | None) -> Frames:
        """``count`` frames of the video ``identity`` speaking ``features`` (T, D) at 50 Hz, T at least 2.

        ``key`` stands for the video's content (``None``: nothing is kept of it); ``folder`` is for long videos.

        Raises:
            Unscorable: kinds of :mod:`bench.media`; ``no_face``.
        """
        room, filled = read_frames(identity, count, folder)
        shown = self._made_ready(room[:filled], key)  # before the room is filled up
        order = forth_and_back(count, filled)
        fill_up(room, order)
        heard = window_indices(max(len(features), 2 * count), self._network.sizes.window)
        heard = np.minimum(heard, len(features) - 1)  # (N, W)
        self._draw(room, order, shown, lambda places: features[torch.from_numpy(heard[places])])
        return room

    def opened(self, identity: Path, key: str | None, folder: Path | None) -> Shown:
        """The video ``identity`` whole, for :meth:`frames`; the arguments are those of :meth:`video`.

        Raises:
            Unscorable: kinds of :mod:`bench.media`; ``no_face``.
        """
        count = sum(len(piece) for piece in media.iter_video(Source(identity)))
        frames, filled = read_frames(identity, count, folder)
        return self._made_ready(frames[:filled], key)

    def frames(self, shown: Shown, first: int, windows: torch.Tensor) -> Frames:
        """The frames (n, H, W, 3) from ``first`` on that speak ``windows`` (n, W, D) of the features.

        The windows are those of :func:`.windows.window_indices`. A frame is what :meth:`video` makes of it, up to
        rounding, where that has seen the whole video too.
        """
        order = forth_and_back(first + len(windows), len(shown.frames))[first:]
        room = shown.frames[order]
        self._draw(room, order, shown, lambda places: windows[torch.from_numpy(places)])
        return room

    @property
    def window(self) -> int:
        """Vectors of speech that a frame depends on."""
        return self._network.sizes.window

    def _made_ready(self, frames: Frames, key: str | None) -> Shown:
        p = self._picture
        found = self._faces.of(frames, key)
        placed = place(found, (frames.shape[1], frames.shape[2]), p.pads, p.face, p.smooth)
        # a track's boxes may all lie outside the picture
        known = self._identity(frames, placed, key) if placed.present.any() else None
        return Shown(frames, placed, known)

    def _draw(self, room: Frames, order: NDArray[np.intp], shown: Shown, heard: Heard) -> None:
        """Paint the faces into ``room``, whose frame i is frame ``order[i]`` of the video."""
        p, known = self._picture, shown.known
        if known is None:
            return

        def make(crops: Frames, places: NDArray[np.intp]) -> Frames:
            return self._made(crops, heard(places), known)

        size, batch = self._network.sizes.image, at_once(p.batch, self._network.feat_mean.device.type)
        redraw(room, order, shown.placed, make, size=size, batch=batch, feather=p.feather)

    def _identity(self, frames: Frames, placed: Placed, key: str | None) -> Maps:
        """The identity's maps (1, C, H, W), by the frame and box that they are taken from."""
        index = self._reference_frame(frames, placed)
        box = placed.boxes[index]
        name = (key, index, *box.tolist())
        found = None if key is None else self._identities.pop(name, None)
        made = self._encoded(crop(frames[index], box, self._network.sizes.image)) if found is None else found
        if key is not None:
            self._identities[name] = made
            while len(self._identities) > _IDENTITIES_KEPT:
                self._identities.popitem(last=False)
        return made

    def _reference_frame(self, frames: Frames, placed: Placed) -> int:
        if self._picture.silent != "closed_frame":
            return int(placed.present.argmax())
        from bench.metrics.faces import landmarks

        points = np.zeros((len(frames), N_LANDMARKS, 2), np.float64)
        for index in np.flatnonzero(placed.present):
            x1, y1, x2, y2 = (int(edge) for edge in placed.boxes[index])
            points[index] = landmarks(np.ascontiguousarray(frames[index]), (x1, y1, x2, y2))
        return closed_frame(points, placed.present)

    @torch.inference_mode()
    def _encoded(self, face: Frames) -> Maps:
        picture = self._input(face[None])
        if self._closes_lips is not None:
            picture = self._closes_lips.silenced(picture)
        maps: Maps = self._network.identity_encoder(picture)
        return maps

    @torch.inference_mode()
    def _made(self, crops: Frames, speech: torch.Tensor, known: Maps) -> Frames:
        """RGB crops (b, S, S, 3) and windows (b, W, D) to RGB faces (b, S, S, 3)."""
        pose = self._network.pose_encoder(masked(self._input(crops)))
        weight = self._network.feat_mean
        heard = self._network.hear(speech.to(weight.device, weight.dtype))
        made = self._network.decode(pose, known, heard)
        return to_levels(made.float().cpu().numpy(), rounded=True)

    def _input(self, crops: Frames) -> torch.Tensor:
        """Faces uint8 (b, S, S, 3) as (b, 3, S, S) in 0…1."""
        weight = self._network.feat_mean
        seen = torch.from_numpy(np.ascontiguousarray(crops)).to(weight.device).permute(0, 3, 1, 2)
        return (seen.to(torch.float32) / 255.0).to(weight.dtype)
