"""What a video says to the model, made once per clip and kept on disk (hicodit.md E.4.7).

    found = clip_conditions(Source(path), folder, TinyExtractor())
    found.lip                                           # uint8 (F, 44, 44), what LipFront reads
    found.face                                          # float32 (64,)

Tiny: grey mouths of 44 pixels and the blurred picture; landmarks are always dlib's, found on the video itself, in
training as in use. Full: AV-HuBERT's last hidden states (F, 1024) and ArcFace (512,). With an emotion extractor, class
probabilities (F, 7) besides. A clip is one safetensors file, in a folder named by who made it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bench.api import Source, charge
from bench.media import Media
from bench.systems.hicodit.identity import aligned_faces, face_frames, face_identity, tiny_face
from bench.systems.hicodit.landmarks import Frames, Points, find_points
from bench.systems.hicodit.lip_front import SIDE
from bench.systems.hicodit.mouth_crop import CropPlan, filled, grey, plan_crops, shrunk

if TYPE_CHECKING:
    from bench.metrics.csim.arcface_net import IResNet
    from bench.systems.hicodit.avhubert import LipReader
    from bench.systems.hicodit.emotion import EmotionExtractor

_VERSION = 1  # of landmarks, crops and vectors: a change makes new files
_FACTS = "facts"


@dataclass(frozen=True, slots=True)
class ClipConditions:
    """A video of F frames at 25 Hz.

    ``lip``: uint8 (F, 44, 44) or float32 (F, 1024); ``face`` float32 (64,) or (512,); ``emotion`` float32 (F, 7)
    probabilities, ``None`` where nobody was asked. ``lost``: frames whose landmarks were filled in.
    """

    lip: NDArray[np.uint8] | NDArray[np.float32]
    face: NDArray[np.float32]
    emotion: NDArray[np.float32] | None
    lost: int
    fps_converted: bool

    @property
    def frames(self) -> int:
        """F."""
        return len(self.lip)


class Extractor(Protocol):
    """Turns videos into :class:`ClipConditions`."""

    @property
    def identity(self) -> str:
        """A folder's name: differs where the numbers may."""

    def extract(self, video: Media) -> ClipConditions:
        """The conditions of a video. Raises :class:`bench.api.Unscorable`: ``no_face`` and the kinds of decoding."""


def clip_conditions(
    video: Source, folder: Path | None, extractor: Extractor, content: str | None = None
) -> ClipConditions:
    """The conditions of ``video``: from ``folder``, else made now and kept there (``None``: nothing is kept).

    ``content`` names the file's content where that is known, else the file is read through for it. Whoever finds
    something kept is charged the seconds that it took.

    Raises:
        Unscorable: ``no_face``: no frame has a face with a mouth; or the video cannot be decoded.
    """
    path = None if folder is None else folder / extractor.identity / f"{_key(video, content)}.safetensors"
    kept = None if path is None else _read(path)
    if kept is not None:
        found, seconds = kept
        charge(seconds)
        return found
    begin = time.perf_counter()
    found = extractor.extract(Media(video, None, ""))
    if path is not None:
        _write(path, found, time.perf_counter() - begin)
    return found


@dataclass(frozen=True)
class TinyExtractor:
    """Mouths for the small lip reader, and the blurred picture; ``emotion``: who tells expressions, if anybody."""

    emotion: EmotionExtractor | None = None

    @property
    def identity(self) -> str:
        """See :class:`Extractor`."""
        return f"tiny-{_VERSION}{_told(self.emotion)}"

    def extract(self, video: Media) -> ClipConditions:
        """See :class:`Extractor`."""
        points = find_points(_chunks(video))
        plan = plan_crops(points)
        lip = np.concatenate([shrunk(crops, SIDE) for crops in _grey_crops(video, plan)])
        face = tiny_face(_chunks(video))
        return ClipConditions(lip, face, _emotion(self.emotion, video, points), plan.lost, video.fps_converted)


@dataclass(frozen=True)
class FullExtractor:
    """AV-HuBERT and ArcFace. ``weights`` names the files that they were filled from."""

    lips: LipReader
    faces: IResNet
    weights: str
    emotion: EmotionExtractor | None = None

    @property
    def identity(self) -> str:
        """See :class:`Extractor`."""
        return f"full-{_VERSION}-{self.weights}{_told(self.emotion)}"

    def extract(self, video: Media) -> ClipConditions:
        """See :class:`Extractor`."""
        points = find_points(_chunks(video))
        plan = plan_crops(points)
        lip = self.lips.features(np.concatenate(list(_grey_crops(video, plan))))
        rounded = lip.astype(np.float16).astype(np.float32)  # what comes back from the file
        face = face_identity(self.faces, list(aligned_faces(_chosen(video, points), points)))
        return ClipConditions(rounded, face, _emotion(self.emotion, video, points), plan.lost, video.fps_converted)


def _told(emotion: EmotionExtractor | None) -> str:
    return "" if emotion is None else f"-{emotion.identity}"


def _emotion(extractor: EmotionExtractor | None, video: Media, points: Points) -> NDArray[np.float32] | None:
    if extractor is None:
        return None
    whole = filled(points)
    pieces = ((frames, whole[start : start + len(frames)]) for start, frames in video.frame_chunks())
    return np.concatenate([extractor.probabilities(frames, where) for frames, where in pieces])


def _chunks(video: Media) -> Iterator[Frames]:
    return (frames for _, frames in video.frame_chunks())


def _grey_crops(video: Media, plan: CropPlan) -> Iterator[NDArray[np.uint8]]:
    """Grey mouths (n, S, S), piece by piece."""
    for start, frames in video.frame_chunks():
        yield grey(np.stack([plan.cut(frame, at) for at, frame in enumerate(frames, start)]))


def _chosen(video: Media, points: Points) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The frames whose face is looked at, with their numbers."""
    wanted = set(face_frames(points).tolist())
    for start, frames in video.frame_chunks():
        yield from ((at, frame) for at, frame in enumerate(frames, start) if at in wanted)


def _key(video: Source, content: str | None) -> str:
    if content is None:
        with video.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(json.dumps([content, astuple(video)[1:]]).encode()).hexdigest()[:32]


def _write(path: Path, found: ClipConditions, seconds: float) -> None:
    """The file appears whole or not at all; without room or right to write, nothing is kept."""
    half = found.lip if found.lip.dtype == np.uint8 else found.lip.astype(np.float16)
    tensors: dict[str, NDArray[np.generic]] = {"lip": np.ascontiguousarray(half), "face": found.face}
    if found.emotion is not None:
        tensors["emotion"] = np.ascontiguousarray(found.emotion)
    facts = {"lost": found.lost, "fps_converted": found.fps_converted, "seconds": seconds}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError, SafetensorError):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, part, metadata={_FACTS: json.dumps(facts)})
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _read(path: Path) -> tuple[ClipConditions, float] | None:
    """What is kept, and the seconds that it took; ``None`` where there is no file, or a damaged one."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            facts = json.loads(file.metadata()[_FACTS])
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            lip = parts["lip"] if parts["lip"].dtype == np.uint8 else parts["lip"].astype(np.float32)
            found = ClipConditions(
                lip, parts["face"], parts.get("emotion"), int(facts["lost"]), bool(facts["fps_converted"])
            )
            return found, max(0.0, float(facts["seconds"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        return None
