"""One medium, decoded lazily and once, shared by all metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bench.errors import Unscorable
from bench.media.resample import ResampleMethod, resample
from bench.media.sound import decode_audio
from bench.media.video import CHUNK_BYTES, GridReader, Video, decode_video, decode_within, iter_video

if TYPE_CHECKING:
    from bench.records import Array, Audio, Frames, Samples, Source

CACHE_BYTES = 512 * 2**20  # decoded frames of a clip are kept up to this size
_T = TypeVar("_T")


class Media:
    """The video and audio of one item, for metrics.

    ``sha256`` identifies the content. ``stored`` are features found in the store; ``cost`` is what
    an output cost (``seconds``, ``peak_mib``, ``media_seconds``). Arrays handed out are shared and
    read-only. Every getter raises :class:`Unscorable` when its stream is missing or broken, each
    time with the same reason and without decoding again.
    """

    def __init__(
        self,
        video: Source | None,
        audio: Source | None,
        sha256: str,
        stored: Mapping[str, Mapping[str, Array]] | None = None,
        cost: Mapping[str, float] | None = None,
    ) -> None:
        self._video = video
        self._audio = audio
        self._stored = stored if stored is not None else {}  # may look things up lazily: not copied
        self._memo: dict[object, Any] = {}
        self._features: dict[str, Mapping[str, Array]] = {}
        self.sha256 = sha256
        self.cost: Mapping[str, float] = dict(cost or {})

    @property
    def n_frames(self) -> int:
        """Length on the 25 fps grid."""
        return self._video_facts()[0]

    @property
    def fps_converted(self) -> bool:
        """Whether frames were dropped or repeated to reach 25 fps."""
        return self._video_facts()[1]

    @property
    def frames(self) -> Frames:
        """The whole clip, uint8 RGB (T, H, W, 3): for short clips; :meth:`frame_chunks` has no such limit.

        A clip of more than :data:`CACHE_BYTES` is decoded anew by every call.
        """
        cached = self._cached_video()
        return cached.frames if cached is not None else decode_video(self._need_video()).frames

    def frame_chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, Frames]]:
        """``(index of the first frame, frames (n, H, W, 3))`` in order, in bounded memory."""
        cached = self._cached_video()
        if cached is not None:
            yield 0, cached.frames
            return
        first = 0
        for frames in iter_video(self._need_video(), chunk_bytes):
            yield first, frames
            first += len(frames)

    @property
    def audio_rate(self) -> int:
        """The native sample rate in Hz."""
        return self._native().rate

    def audio(self, rate: int | None = None, method: ResampleMethod = "soxr_hq") -> Samples:
        """Mono float32 (N,), resampled by ``method`` when ``rate`` is not the native one."""
        native = self._native()
        if rate is None or rate == native.rate:
            return native.samples
        return self._once(("audio", rate, method), lambda: _frozen(resample(native.samples, native.rate, rate, method)))

    def feature(self, key: str, compute: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """The arrays of ``key``: from the store, or computed once.

        A key begins with the stream that it is computed from: ``video:dlib-faces@1``,
        ``audio:resemblyzer-embedding@1``. Features follow their stream, wherever it is used.

        Raises ``ValueError`` for another key, ``TypeError`` for what is no array of numbers, and
        whatever ``compute`` raises.
        """
        if not key.startswith(("video:", "audio:")):
            raise ValueError(f"feature key {key!r} must begin with 'video:' or 'audio:'")
        if key in self._stored:
            return self._stored[key]

        def keep() -> Mapping[str, Array]:
            found = dict(compute())
            for name, array in found.items():
                if np.asarray(array).dtype.kind not in "biuf":
                    raise TypeError(f"feature {key!r}: {name!r} is no array of numbers")
            self._features[key] = found
            return self._features[key]

        return self._once(("feature", key), keep)

    @property
    def new_features(self) -> Mapping[str, Mapping[str, Array]]:
        """The features that were computed here, to be kept by the harness."""
        return dict(self._features)

    def _need_video(self) -> Source:
        if self._video is None:
            raise Unscorable("no_video_stream", "there is no video")
        return self._video

    def _native(self) -> Audio:
        return self._once("audio", self._decode_audio)

    def _decode_audio(self) -> Audio:
        if self._audio is None:
            raise Unscorable("no_audio_stream", "there is no audio")
        audio = decode_audio(self._audio)
        _frozen(audio.samples)
        return audio

    def _cached_video(self) -> Video | None:
        return self._once("video", self._decode_small_video)

    def _decode_small_video(self) -> Video | None:
        """The clip if it is small enough to keep, else ``None``."""
        video = decode_within(self._need_video(), CACHE_BYTES)
        if video is not None:
            _frozen(video.frames)
        return video

    def _video_facts(self) -> tuple[int, bool]:
        cached = self._cached_video()
        if cached is not None:
            return len(cached.frames), cached.fps_converted
        return self._once("facts", self._count)

    def _count(self) -> tuple[int, bool]:
        reader = GridReader(self._need_video())
        for _ in reader.runs():
            pass
        return reader.n_frames, reader.fps_converted

    def _once(self, key: object, make: Callable[[], _T]) -> _T:
        """``make()`` the first time; afterwards its result, or the failure that it ended in."""
        if key not in self._memo:
            try:
                self._memo[key] = make()
            except Unscorable as failure:
                # A fresh one: the raised one's traceback would keep decoders and pictures alive.
                self._memo[key] = Unscorable(failure.kind, failure.detail)
        found = self._memo[key]
        if isinstance(found, Unscorable):
            raise Unscorable(found.kind, found.detail)
        return found  # type: ignore[no-any-return]


_A = TypeVar("_A", bound=np.ndarray[Any, Any])


def _frozen(array: _A) -> _A:
    array.setflags(write=False)
    return array
