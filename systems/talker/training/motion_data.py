"""Faces for the tiny motion autoencoder: some frames of each clip, with the demo corpus' landmarks and mouth states.

A clip is decoded when it is first drawn; the cut faces are kept on disk by its content, one file per size. Facts:
specs/talker.md, 14.2 (Data); specs/demo_corpus.md, section 8 (the sidecars).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch

from bench import media
from bench.api import Clip, DataError, Unscorable, UsageError
from bench.datasets.demo.phoneme_times import sidecar
from bench.datasets.demo.visemes import STATE_FIELDS
from bench.systems.talker.face_view import DEMO_SIDE, DEMO_VIEW, seen
from bench.systems.talker.motion_model import MOUTH_STATES
from bench.systems.talker.render import network_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES = 25  # of a clip: the first one, and others at random
_STATE_COLUMNS = tuple(STATE_FIELDS.index(name) for name in MOUTH_STATES)  # of the sidecar's mouth (T, 6)
_LIGHT, _CONTRAST = 0.1, 0.1  # how far a training picture is changed; black is -1, white 1
_VERSION = 1  # of what is kept: a change makes new files


def crop_faces(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The faces of the demo corpus' frames (T, 224, 224, 3), as rendering sees them: (T, size, size, 3)."""
    return np.stack([seen(frame, DEMO_VIEW, size) for frame in frames])


@dataclass(frozen=True, slots=True)
class Truth:
    """What the sidecar says of all T frames of a clip.

    ``points`` (T, 68, 2) landmarks x, y, -1 and 1 being the edges of the cut face; ``mouth`` (T, 6) after
    :data:`..motion_model.MOUTH_STATES`.
    """

    points: NDArray[np.float32]
    mouth: NDArray[np.float32]


def truth_of(clip: Clip) -> Truth:
    """
    Raises:
        UsageError: the clip has no sidecar.
        DataError: it is damaged.
    """
    path = sidecar(clip)
    if path is None:
        raise UsageError(
            f"the motion stages learn from landmarks and mouth states; {clip.id} has none",
            "they learn on the demo corpus alone (--dataset demo), which knows how each face was drawn.",
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            landmarks = np.asarray(arrays["landmarks"], np.float32)
            mouth = np.asarray(arrays["mouth"], np.float32)[:, _STATE_COLUMNS]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path} cannot be read: {error}", "`bench data make demo` makes it again.") from error
    left, top, right, bottom = DEMO_VIEW
    size = np.array([right - left, bottom - top], np.float32)
    points = (landmarks - np.array([left, top], np.float32) + 0.5) * (2.0 / size) - 1.0
    return Truth(points.astype(np.float32), mouth)


class Shot(NamedTuple):
    """A frame: the index of its clip, and its place among the clip's kept frames (0: the clip's first frame)."""

    clip: int
    place: int


class Seen(NamedTuple):
    """Frames with their truth: ``pictures`` (B, 3, S, S) from -1 to 1, ``points`` (B, 68, 2), ``mouth`` (B, 6)."""

    pictures: torch.Tensor
    points: torch.Tensor
    mouth: torch.Tensor


class MotionClips:
    """Frames of ``clips`` at ``size`` px. ``kept``: the folder of the cut faces.

    ``left_out`` is told once of each clip that cannot be decoded.
    """

    def __init__(
        self, clips: Sequence[Clip], size: int, kept: Path, left_out: Callable[[Clip, Unscorable], None]
    ) -> None:
        self._clips, self._size, self._kept, self._left_out = list(clips), size, kept, left_out
        self.truths = [truth_of(clip) for clip in clips]
        self._places = [_places(clip, len(truth.mouth)) for clip, truth in zip(clips, self.truths, strict=True)]
        self._broken: set[int] = set()
        self._faces = lru_cache(maxsize=None)(self._load)  # mapped, not read

    def __len__(self) -> int:
        return len(self._clips)

    def speaker(self, index: int) -> str:
        """Who is shown; a clip without a name is a speaker of its own."""
        return self._clips[index].identity or self._clips[index].id

    def count(self, index: int) -> int:
        """How many frames of the clip are kept."""
        return len(self._places[index])

    def mouths(self, index: int) -> NDArray[np.float32]:
        """The states of the mouth in the clip's kept frames, (n, 6)."""
        found: NDArray[np.float32] = self.truths[index].mouth[self._places[index]]
        return found

    def draw(self, random: np.random.Generator) -> int:
        """A random clip that can be decoded.

        Raises:
            DataError: there is none.
        """
        while len(self._broken) < len(self._clips):
            index = int(random.integers(len(self._clips)))
            if self.usable(index):
                return index
        raise DataError(f"none of {len(self._clips)} clips can be trained on", "see what is left out above.")

    def usable(self, index: int) -> bool:
        """Whether the clip can be decoded."""
        if index in self._broken:
            return False
        try:
            self._faces(index)
        except Unscorable as error:
            self._broken.add(index)
            self._left_out(self._clips[index], error)
            return False
        return True

    def seen(self, shots: Sequence[Shot]) -> Seen:
        """The frames of ``shots``, which must be of usable clips."""
        faces = np.stack([self._faces(shot.clip)[shot.place] for shot in shots])
        truths = [(self.truths[shot.clip], int(self._places[shot.clip][shot.place])) for shot in shots]
        points = np.stack([truth.points[frame] for truth, frame in truths])
        mouth = np.stack([truth.mouth[frame] for truth, frame in truths])
        return Seen(network_input(faces), torch.from_numpy(points), torch.from_numpy(mouth))

    def pictures(self, index: int) -> torch.Tensor:
        """All kept frames of a clip, (n, 3, S, S)."""
        return network_input(np.array(self._faces(index)))

    def _load(self, index: int) -> NDArray[np.uint8]:
        clip = self._clips[index]
        if clip.video is None:
            raise Unscorable("no_video_stream")
        told = [_VERSION, FRAMES, self._size, clip.content_sha256, *astuple(clip.video)[1:]]
        name = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
        path = self._kept / f"{name}.motion-faces.npy"
        if not path.is_file():
            frames = media.decode_video(clip.video).frames
            _save(path, crop_faces(_checked(frames, len(self.truths[index].mouth))[self._places[index]], self._size))
        return cast("NDArray[np.uint8]", np.load(path, mmap_mode="r"))


def altered(pictures: Sequence[torch.Tensor], random: np.random.Generator) -> list[torch.Tensor]:
    """Pictures (B, 3, S, S) each with a contrast and a brightness of its own, equal in all the batches given."""
    size = (len(pictures[0]), 1, 1, 1)
    contrast = torch.from_numpy(random.uniform(1 - _CONTRAST, 1 + _CONTRAST, size).astype(np.float32))
    light = torch.from_numpy(random.uniform(-_LIGHT, _LIGHT, size).astype(np.float32))
    return [batch * contrast + light for batch in pictures]


def _places(clip: Clip, frames: int) -> NDArray[np.int64]:
    """The first frame and others drawn without repetition, in order: a function of the clip's content."""
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(clip.content_sha256.encode()).digest()[:8], "little"))
    others = 1 + random.permutation(frames - 1)[: FRAMES - 1]
    return np.sort(np.concatenate([[0], others])).astype(np.int64)


def _checked(frames: NDArray[np.uint8], wanted: int) -> NDArray[np.uint8]:
    if frames.shape[1:3] != (DEMO_SIDE, DEMO_SIDE):
        raise Unscorable(
            "shape_mismatch", f"{frames.shape[2]} x {frames.shape[1]} px, {DEMO_SIDE} x {DEMO_SIDE} needed"
        )
    if len(frames) != wanted:
        raise Unscorable("length_mismatch", f"{len(frames)} frames, but landmarks of {wanted}")
    return frames


def _save(path: Path, array: NDArray[Any]) -> None:
    """The file appears when it is whole; several processes may write the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.save(file, array)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
