"""Faces and speech of training clips: found and cut when a clip is first asked for, and kept on disk.

As ``Rudrabha/Wav2Lip: preprocess.py`` (tfg.md 1.9): every frame's most certain face; frames without one are missing.
Boxes are kept apart from what is cut with them, so that trainings that want other sizes, pads or smoothing share
the search. Their key is the clip's content, so that a training that goes on decodes no video; runs, whose videos are
staged for a request, keep theirs by pixels (:mod:`.kept_faces`). Faces are kept in OpenCV's order of channels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from bench import media
from bench.api import Clip, Source, Unscorable
from bench.faces.boxes import NO_PADS, Boxes, Pads, padded, smoothed, whole
from bench.faces.paste import crop
from bench.faces.tracks import stretches
from bench.systems.wav2lip.mel import RATE, driving_mel

if TYPE_CHECKING:
    from bench.faces.detect import Detect

#: Clips with fewer frames that show a face are not used (``3 * syncnet_T`` in the source, and one more).
LEAST_FRAMES = 16
_VERSION = 2  # of what is kept: a change makes new files


@dataclass(frozen=True)
class Search:
    """Where faces are: where ``detector`` (named with its weights' hash) finds them, or always at ``box``.

    ``box``: top, bottom, left, right in pixels, as the official ``--box``; -1 is the picture's end.
    """

    detector: str
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Cut:
    """How faces are cut: boxes grown by ``pads``, averaged over five frames where ``smooth``, squeezed to ``size`` px.

    As ``preprocess.py`` by default; inference has pads (0, 10, 0, 0) and smooths.
    """

    size: int
    pads: Pads = NO_PADS
    smooth: bool = False


@dataclass(frozen=True)
class FaceClip:
    """A clip as files: ``frames`` (n,) are the video's frames that show a face, in order; ``columns`` of its speech.

    :meth:`faces` (n, S, S, 3) uint8, blue first; :meth:`mel` (80, columns) float32.
    """

    faces_file: Path
    mel_file: Path
    frames: NDArray[np.int64]
    columns: int

    def faces(self) -> NDArray[np.uint8]:
        """Mapped, not read."""
        return cast("NDArray[np.uint8]", np.load(self.faces_file, mmap_mode="r"))

    def mel(self) -> NDArray[np.float32]:
        """Mapped, not read."""
        return cast("NDArray[np.float32]", np.load(self.mel_file, mmap_mode="r"))


class Faces:
    """The faces of clips, kept in ``folder``; ``detector`` is made when the first clip needs it."""

    def __init__(self, folder: Path, search: Search, detector: Callable[[], Detect]) -> None:
        self._folder, self._search, self._maker = folder, search, detector
        self._detect: Detect | None = None

    def clip(self, clip: Clip, cut: Cut) -> FaceClip:
        """Faces and speech; computes what is not kept yet.

        Raises:
            Unscorable: a stream is missing or broken; no face, or in too few frames.
        """
        boxes = self.boxes(clip)
        frames = np.flatnonzero(boxes[:, 2] > boxes[:, 0])
        if len(frames) == 0:
            raise Unscorable("no_face", "no frame shows a face")
        if len(frames) < LEAST_FRAMES:
            raise Unscorable("too_short", f"{len(frames)} frames with a face, {LEAST_FRAMES} are needed")
        mel = self._mel(clip)
        told = [astuple(self._search), astuple(cut), _content(clip, _video(clip))]
        file = self._folder / f"{_digest(told)}.faces.npy"
        if not file.is_file():
            _save(file, _faces(_video(clip), boxes, cut))
        return FaceClip(file, mel, frames, int(np.load(mel, mmap_mode="r").shape[1]))

    def boxes(self, clip: Clip) -> Boxes:
        """The most certain face of each frame, (T, 4) in whole pixels of the picture; zeros without a face.

        Raises:
            Unscorable: there is no video, or it is broken.
        """
        video = _video(clip)
        file = self._folder / f"{_digest([astuple(self._search), _content(clip, video)])}.boxes.npy"
        if not file.is_file():
            found = [box for piece in media.iter_video(video) for box in self._searched(piece)]
            _save(file, np.array(found, np.int64).reshape(-1, 4))
        return cast("Boxes", np.load(file))

    def _searched(self, piece: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
        height, width = piece.shape[1:3]
        if self._search.box is not None:
            top, bottom, left, right = self._search.box
            given = np.array([left, top, right if right >= 0 else width, bottom if bottom >= 0 else height], np.float64)
            found = [given[None]] * len(piece)
        else:
            self._detect = self._detect or self._maker()
            found = self._detect(piece)
        for faces in found:
            yield _inside(np.asarray(faces, np.float64)[:1, :4], (height, width))

    def _mel(self, clip: Clip) -> Path:
        if clip.audio is None:
            raise Unscorable("no_audio_stream")
        file = self._folder / f"{_digest(_content(clip, clip.audio))}.mel.npy"
        if not file.is_file():
            sound = media.decode_audio(clip.audio)
            _save(file, driving_mel(media.resample(sound.samples, sound.rate, RATE)))
        return file


def _video(clip: Clip) -> Source:
    if clip.video is None:
        raise Unscorable("no_video_stream")
    return clip.video


def _content(clip: Clip, stream: Source) -> list[Any]:
    """What a stream holds, wherever it lies."""
    return [clip.content_sha256, *astuple(stream)[1:]]


def _digest(told: list[Any]) -> str:
    return hashlib.sha256(json.dumps([_VERSION, *told]).encode()).hexdigest()[:32]


def _faces(video: Source, boxes: Boxes, cut: Cut) -> NDArray[np.uint8]:
    """(n, S, S, 3), blue first, of the frames with a box."""
    faces: list[NDArray[np.uint8]] = []
    placed: Boxes | None = None
    first = 0
    for piece in media.iter_video(video):
        placed = _placed(boxes, cut, piece.shape[1:3]) if placed is None else placed
        for frame, box in zip(piece, placed[first : first + len(piece)], strict=True):
            if box[2] > box[0]:
                faces.append(crop(frame, box, cut.size)[..., ::-1])
        first += len(piece)
    return np.stack(faces)


def _placed(boxes: Boxes, cut: Cut, size: tuple[int, ...]) -> Boxes:
    """Boxes as they are cut: padded, and smoothed stretch by stretch."""
    out = boxes.copy()
    for stretch in stretches(boxes[:, 2] > boxes[:, 0]):
        grown = padded(boxes[stretch], cut.pads, (size[0], size[1]))
        out[stretch] = smoothed(grown) if cut.smooth else grown
    return out


def _inside(box: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
    """A box (1 or 0, 4) in whole pixels of the picture; zeros (4,) where nothing is left of it."""
    nothing = np.zeros(4, np.int64)
    if len(box) == 0:
        return nothing
    edges: NDArray[np.int64] = padded(whole(box), NO_PADS, size)[0]
    return edges if edges[2] > edges[0] and edges[3] > edges[1] else nothing


def _save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _appearing(path) as file:
        np.save(file, array)


@contextmanager
def _appearing(path: Path) -> Iterator[Any]:
    """A file that appears under its name when it is whole; several processes may write the same one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
