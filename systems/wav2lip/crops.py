"""Faces and speech of training clips, each clip decoded once and kept on disk.

As ``Rudrabha/Wav2Lip: preprocess.py`` (tfg.md 1.9): every frame's most certain face, its box neither padded nor
smoothed; frames without a face are missing. Faces are kept at the networks' size, in OpenCV's order of channels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from bench import media
from bench.api import Clip, DataError, Unscorable
from bench.systems.wav2lip.boxes import Pads, padded, whole
from bench.systems.wav2lip.mel import RATE, driving_mel
from bench.systems.wav2lip.paste import crop

if TYPE_CHECKING:
    from bench.progress import Progress
    from bench.systems.wav2lip.detect import Detect

#: Clips with fewer frames that show a face are not used (``3 * syncnet_T`` in the source, and one more).
LEAST_FRAMES = 16
_VERSION = 1  # of what is kept: a change makes new files


@dataclass(frozen=True)
class Cut:
    """How faces are cut: to ``size`` px, where ``detector`` (with its weights' hash) finds them, or always at ``box``.

    ``box``: top, bottom, left, right in pixels, as the official ``--box``; -1 is the picture's end.
    """

    size: int
    detector: str
    box: tuple[int, int, int, int] | None = None

    def key(self, clip: Clip) -> str:
        """The name of a clip's files: equal where content and cut are."""
        parts = [astuple(stream)[1:] if stream is not None else None for stream in (clip.video, clip.audio)]
        told = json.dumps([_VERSION, clip.content_sha256, parts, astuple(self)])
        return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class FaceClip:
    """A clip as files: ``frames`` (n,) are the video's frames that show a face, in order.

    :meth:`faces` (n, S, S, 3) uint8, blue first; :meth:`mel` (80, columns) float32.
    """

    stem: Path
    frames: NDArray[np.int64]
    columns: int

    def faces(self) -> NDArray[np.uint8]:
        """Mapped, not read."""
        return cast("NDArray[np.uint8]", np.load(_faces_file(self.stem), mmap_mode="r"))

    def mel(self) -> NDArray[np.float32]:
        """Mapped, not read."""
        return cast("NDArray[np.float32]", np.load(_mel_file(self.stem), mmap_mode="r"))


@dataclass
class Prepared:
    """Usable clips in the order of their ids, and how many are left out, by reason."""

    clips: list[FaceClip] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """A line for people; empty where nothing is left out."""
        if not self.left_out:
            return ""
        reasons = ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))
        return f"{self.left_out.total()} of {len(self.clips) + self.left_out.total()} clips are left out: {reasons}"


def prepare(
    clips: Sequence[Clip], folder: Path, cut: Cut, detector: Callable[[], Detect], progress: Progress
) -> Prepared:
    """Cut what is not kept in ``folder`` yet; ``detector`` is made when the first clip needs it.

    Raises:
        DataError: no clip is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ready = Prepared()
    maker = _Maker(cut, detector)
    with progress.stage(f"faces at {cut.size} px", len(clips)) as bar:
        for clip in clips:
            stem = folder / cut.key(clip)
            try:
                ready.clips.append(_usable(_kept(stem) or maker.make(clip, stem)))
            except Unscorable as error:
                ready.left_out[error.kind] += 1
                progress.detail(f"left out: {clip.id}: {error}")
            bar.advance()
    if clips and not ready.clips:
        raise DataError(f"no clip can be trained on: {ready.told()}", "-v names them; see `bench data check`.")
    if ready.left_out:
        progress.say(ready.told())
    return ready


def _faces_file(stem: Path) -> Path:
    return stem.with_suffix(".faces.npy")


def _mel_file(stem: Path) -> Path:
    return stem.with_suffix(".mel.npy")


def _usable(clip: FaceClip) -> FaceClip:
    if len(clip.frames) == 0:
        raise Unscorable("no_face", "no frame shows a face")
    if len(clip.frames) < LEAST_FRAMES:
        raise Unscorable("too_short", f"{len(clip.frames)} frames with a face, {LEAST_FRAMES} are needed")
    return clip


def _kept(stem: Path) -> FaceClip | None:
    """What an earlier call has written; the note is written last."""
    try:
        note = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not (_faces_file(stem).is_file() and _mel_file(stem).is_file()):
        return None
    return FaceClip(stem, np.array(note["frames"], np.int64), int(note["columns"]))


class _Maker:
    """Decodes a clip and finds its faces."""

    def __init__(self, cut: Cut, detector: Callable[[], Detect]) -> None:
        self._cut, self._detector = cut, detector
        self._detect: Detect | None = None

    def make(self, clip: Clip, stem: Path) -> FaceClip:
        """The clip's files.

        Raises:
            Unscorable: a stream is missing or broken.
        """
        if clip.video is None:
            raise Unscorable("no_video_stream")
        if clip.audio is None:
            raise Unscorable("no_audio_stream")
        sound = media.decode_audio(clip.audio)
        mel = driving_mel(media.resample(sound.samples, sound.rate, RATE))
        frames: list[int] = []
        faces: list[NDArray[np.uint8]] = []
        first = 0
        for piece in media.iter_video(clip.video):
            for index, box in enumerate(self._boxes(piece)):
                if box is not None:
                    frames.append(first + index)
                    faces.append(crop(piece[index], box, self._cut.size)[..., ::-1])
            first += len(piece)
        _save(_faces_file(stem), np.stack(faces) if faces else np.zeros((0, self._cut.size, self._cut.size, 3), "u1"))
        _save(_mel_file(stem), mel)
        with _appearing(stem.with_suffix(".json")) as file:
            file.write(json.dumps({"frames": frames, "columns": mel.shape[1]}).encode())
        return FaceClip(stem, np.array(frames, np.int64), mel.shape[1])

    def _boxes(self, piece: NDArray[np.uint8]) -> Iterator[NDArray[np.int64] | None]:
        """The box in each frame, ``None`` without a face."""
        height, width = piece.shape[1:3]
        if self._cut.box is not None:
            top, bottom, left, right = self._cut.box
            given = np.array([left, top, right if right >= 0 else width, bottom if bottom >= 0 else height], np.float64)
            found = [given[None]] * len(piece)
        else:
            self._detect = self._detect or self._detector()
            found = self._detect(piece)
        for faces in found:
            yield _inside(np.asarray(faces, np.float64)[:1, :4], (height, width)) if len(faces) else None


def _inside(box: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64] | None:
    """A box (1, 4) in whole pixels of the picture; ``None`` where nothing is left of it."""
    edges: NDArray[np.int64] = padded(whole(box), Pads(0, 0, 0, 0), size)[0]
    return edges if edges[2] > edges[0] and edges[3] > edges[1] else None


def _save(path: Path, array: NDArray[Any]) -> None:
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
