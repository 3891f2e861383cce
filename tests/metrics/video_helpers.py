"""Pictures, media and references for the tests of the video metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Reference, Source, Unscorable
from bench.media import Media

SOMEWHERE = Source(Path("reference.mp4"))


class ArrayMedia(Media):
    """A medium whose decoded streams are given; features are shared and kept as by any medium."""

    def __init__(
        self,
        frames: Any = None,
        audio: Any = None,
        *,
        chunk: int | None = None,
        converted: bool = False,
        stored: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(None, None, "0" * 64, stored)
        self._pictures, self._wave, self._chunk, self._converted = frames, audio, chunk, converted

    @property
    def n_frames(self) -> int:
        return len(self.frames)

    @property
    def fps_converted(self) -> bool:
        return self._converted

    @property
    def frames(self) -> Any:
        if self._pictures is None:
            raise Unscorable("no_video_stream", "there is no video")
        return self._pictures

    def frame_chunks(self, chunk_bytes: int = 0) -> Iterator[tuple[int, Any]]:
        step = self._chunk or len(self.frames)
        for start in range(0, len(self.frames), step):
            yield start, self.frames[start : start + step]

    def audio(self, rate: int | None = None, method: str = "soxr_hq") -> Any:
        if self._wave is None:
            raise Unscorable("no_audio_stream", "there is no audio")
        return self._wave


def truth(own_length: bool = True, video: Source | None = SOMEWHERE) -> Reference:
    return Reference("clip", "0" * 64, video, None, None, own_length=own_length)


@lru_cache(maxsize=1)
def portrait() -> Any:
    """scikit-image's astronaut, 150x150 px, read-only."""
    import cv2
    from skimage import data

    face = cv2.resize(data.astronaut()[20:260, 100:340], (150, 150), interpolation=cv2.INTER_AREA)
    face.setflags(write=False)
    return face


def clip(n: int = 11, seed: int = 0, noise: float = 3.0) -> Any:
    """``n`` frames of the portrait, shifted and noisy, uint8 (n, 150, 150, 3)."""
    rng = np.random.default_rng(seed)
    frames = [
        np.roll(portrait(), rng.integers(-3, 4, 2), (0, 1)) + rng.normal(0, noise, (150, 150, 3)) for _ in range(n)
    ]
    return np.clip(np.round(frames), 0, 255).astype(np.uint8)


def textures(n: int = 4, shape: tuple[int, int] = (40, 52), seed: int = 0) -> Any:
    """Smooth random pictures, uint8 (n, *shape, 3)."""
    import cv2

    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 8, 9, 3)).astype(np.uint8)
    frames = [cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_CUBIC) for picture in small]
    return np.stack(frames)


def disturbed(frames: Any, level: float = 12.0, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return np.clip(np.round(frames + rng.normal(0, level, frames.shape)), 0, 255).astype(np.uint8)


def face_feature(landmarks: Any, found: Any = None, size: tuple[int, int] = (150, 150)) -> dict[str, Any]:
    """The arrays of ``dlib-faces@1`` for given landmarks (T, 68, 2)."""
    n = len(landmarks)
    seen = np.ones(n, bool) if found is None else np.asarray(found, bool)
    return {
        "boxes": np.tile(np.array([20, 30, 119, 129], np.int32), (n, 1)) * seen[:, None],
        "landmarks": np.asarray(landmarks).astype(np.int32) * seen[:, None, None],
        "n_faces": seen.astype(np.int32),
        "picture": np.array([*size, 0], np.int32),
    }


def face_points(opening: Any) -> Any:
    """Landmarks (T, 68, 2) of a still face whose inner lips are ``opening`` (T,) pixels apart."""
    rng = np.random.default_rng(3)
    points = np.tile(rng.integers(30, 120, (68, 2)), (len(opening), 1, 1)).astype(np.float64)
    points[:, 36:42], points[:, 42:48] = (50, 60), (150, 60)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        points[:, upper] = (100, 100)
        points[:, lower, 0] = 100
        points[:, lower, 1] = 100 + np.asarray(opening)
    return points
