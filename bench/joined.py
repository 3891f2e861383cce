"""The two media of a score: the truth, and the output joined with the stream that it was given.

A task that makes speech alone is judged with the video that it was given, and one that makes
video with its driving audio. Those given streams are often the truth's own: they are then
decoded once, and their features (faces, landmarks) are computed once for all systems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.media import Media, ResampleMethod, file_sha256
from bench.records import Reference, Source
from bench.store_features import FeatureFolder

if TYPE_CHECKING:
    from bench.records import Array, Frames, Samples


class Payload(Protocol):
    """The part of a scoring payload that media are made from."""

    @property
    def truth(self) -> Reference: ...
    @property
    def video_key(self) -> str: ...
    @property
    def audio_key(self) -> str: ...
    @property
    def output_sha256(self) -> str: ...
    @property
    def video(self) -> Source | None: ...
    @property
    def audio(self) -> Source | None: ...
    @property
    def cost(self) -> Mapping[str, float]: ...
    @property
    def store(self) -> str: ...


class Kept(Mapping[str, "Mapping[str, Array]"]):
    """The features that a store keeps of one clip, read when they are asked for."""

    def __init__(self, root: Path, sha256: str) -> None:
        self._folder = FeatureFolder(root)
        self._sha256 = sha256
        self._found: dict[str, Mapping[str, Mapping[str, Array]]] = {}

    def __getitem__(self, key: str) -> Mapping[str, Array]:
        return self._read(key)[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._read(key)  # a damaged file counts as missing

    def _read(self, key: str) -> Mapping[str, Mapping[str, Array]]:
        if key not in self._found:
            self._found[key] = self._folder.get(self._sha256, [key])
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        raise TypeError("kept features are looked up by key")

    def __len__(self) -> int:
        raise TypeError("kept features are looked up by key")


class Joined(Media):
    """One medium from the video of one and the audio of another, sharing what they decoded."""

    def __init__(self, video: Media, audio: Media, sha256: str, cost: Mapping[str, float] | None = None) -> None:
        super().__init__(None, None, sha256, cost=cost)
        self.of_video = video
        self.of_audio = audio

    @property
    def n_frames(self) -> int:
        """Length on the 25 fps grid."""
        return self.of_video.n_frames

    @property
    def fps_converted(self) -> bool:
        """Whether frames were dropped or repeated to reach 25 fps."""
        return self.of_video.fps_converted

    @property
    def frames(self) -> Frames:
        """The whole clip, uint8 RGB (T, H, W, 3)."""
        return self.of_video.frames

    def frame_chunks(self, chunk_bytes: int = 128 * 2**20) -> Iterator[tuple[int, Frames]]:
        """``(index of the first frame, frames)`` in order, in bounded memory."""
        return self.of_video.frame_chunks(chunk_bytes)

    @property
    def audio_rate(self) -> int:
        """The native sample rate in Hz."""
        return self.of_audio.audio_rate

    def audio(self, rate: int | None = None, method: ResampleMethod = "soxr_hq") -> Samples:
        """Mono float32 (N,)."""
        return self.of_audio.audio(rate, method)

    def feature(self, key: str, compute: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """The feature of the stream that the key begins with."""
        owners = {"audio": self.of_audio, "video": self.of_video}
        stream = key.partition(":")[0]
        if stream not in owners:
            raise ValueError(f"feature key {key!r} must begin with 'video:' or 'audio:'")
        return owners[stream].feature(key, compute)


def reference_media(payload: Payload) -> Joined:
    """The truth, with the features that the store has of its two streams."""
    truth, root = payload.truth, Path(payload.store)
    video = Media(truth.video, None, payload.video_key, Kept(root, payload.video_key))
    audio = Media(None, truth.audio, payload.audio_key, Kept(root, payload.audio_key))
    return Joined(video, audio, truth.sha256)


class Streams:
    """Streams of outputs, by the hash of their file: equal ones (the truth's in ``tts`` and ``t2av``, say)
    are decoded once and share their features. Keeps the ``size`` latest."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._kept: dict[str, Media] = {}

    def video(self, source: Source | None) -> Media:
        """The medium of a video file."""
        return self._medium("video", source)

    def audio(self, source: Source | None) -> Media:
        """The medium of an audio file."""
        return self._medium("audio", source)

    def _medium(self, stream: str, source: Source | None) -> Media:
        sha = file_sha256(source.path) if source is not None and source.path.is_file() else ""
        key = f"{stream}:{sha}"
        if not sha or key not in self._kept:
            made = Media(source, None, sha) if stream == "video" else Media(None, source, sha)
            if not sha:
                return made
            while len(self._kept) >= self._size:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = made
        return self._kept[key]


def output_media(payload: Payload, reference: Joined, streams: Streams) -> Joined:
    """The output; a given stream that is the truth's own shares the truth's medium."""
    truth = payload.truth
    video = reference.of_video if payload.video == truth.video else streams.video(payload.video)
    audio = reference.of_audio if payload.audio == truth.audio else streams.audio(payload.audio)
    return Joined(video, audio, payload.output_sha256, payload.cost)


def reference_features(payload: Payload, reference: Joined) -> dict[str, Mapping[str, Mapping[str, Array]]]:
    """Features of the truth that were computed here, by the content hash of their clip."""
    found: dict[str, dict[str, Mapping[str, Array]]] = {}
    for sha, media in ((payload.video_key, reference.of_video), (payload.audio_key, reference.of_audio)):
        if media.new_features:
            found.setdefault(sha, {}).update(media.new_features)
    return {sha: dict(features) for sha, features in found.items()}
