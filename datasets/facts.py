"""What decoding a clip tells: sizes, counts, level, and what is broken. Frames are not kept.

All decoding is :mod:`bench.media`'s, so that counts are those that systems and metrics meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import FPS, Source, Unscorable

if TYPE_CHECKING:
    from bench.media import Probe

#: Raised when a rule of this module changes, so that kept facts are made anew.
VERSION = 1
FROZEN_LEVELS = 0.1  # mean absolute difference in grey levels below which frames are the same
_STILL_LINES = 256  # of larger pictures only about so many lines (and as sparse columns) are compared
_CUT_SLACK = 1  # frames that a cut may fall short of its times


@dataclass(frozen=True, slots=True)
class Facts:
    """``n_frames`` frames of the file at ``fps``, ``n_grid`` of them on the 25 fps grid (of a cut: both).

    ``rms`` is the root mean square of the samples, ``None`` where audio was not decoded.
    ``code`` (``undecodable``, ``truncated``, ``manifest`` or empty) and ``detail`` say what is broken.
    """

    has_video: bool = False
    has_audio: bool = False
    width: int = 0
    height: int = 0
    fps: float = 0.0
    claimed: int = 0
    n_frames: int = 0
    n_grid: int = 0
    n_samples: int = 0
    sample_rate: int = 0
    channels: int = 0
    rms: float | None = None
    frozen: bool = False
    code: str = ""
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``Facts(**d)`` is the way back."""
        return asdict(self)


def header_facts(path: Path, audio: Path | None = None) -> Facts:
    """What the header claims (and whether one frame decodes)."""
    try:
        facts = _from_probe(_probe(path))
        return facts if audio is None else _with_audio_header(facts, _probe(audio))
    except Unscorable as error:
        return Facts(code="undecodable", detail=error.detail)


def full_facts(video: Source, audio: Path | None = None) -> Facts:
    """Decode all of ``video`` and its sound (that of the file ``audio`` where given)."""
    facts = header_facts(video.path, audio)
    if facts.code:
        return facts
    if video.crop is not None and not _inside(video.crop, facts):
        return replace(facts, code="manifest", detail=f"crop {video.crop} lies outside {facts.width}x{facts.height}")
    if facts.has_video:
        facts = _with_frames(facts, video)
    if facts.has_audio:
        sound = Source(audio or video.path, video.start, video.end)
        facts = _with_samples(facts, sound)
    return facts


def _inside(crop: tuple[int, int, int, int], facts: Facts) -> bool:
    x, y, width, height = crop
    return x + width <= facts.width and y + height <= facts.height


def _probe(path: Path) -> Probe:
    from bench.media import probe

    return probe(path)


def _from_probe(known: Probe) -> Facts:
    return Facts(
        has_video=known.has_video,
        has_audio=known.has_audio,
        width=known.width,
        height=known.height,
        fps=known.fps,
        claimed=known.frames,
        sample_rate=known.sample_rate,
        channels=known.channels,
    )


def _with_audio_header(facts: Facts, known: Probe) -> Facts:
    return replace(facts, has_audio=known.has_audio, sample_rate=known.sample_rate, channels=known.channels)


def _with_frames(facts: Facts, video: Source) -> Facts:
    from bench.media.video import GridReader

    reader = GridReader(video)
    still = _Stillness()
    try:
        for picture, _ in reader.pictures():
            still.see(picture)
    except Unscorable as error:
        detail = error.detail
        if facts.claimed and reader.n_frames:
            detail = f"{reader.n_frames} frames decoded, {facts.claimed} claimed"
        return replace(facts, n_grid=reader.n_frames, n_frames=reader.n_frames, code="truncated", detail=detail)
    facts = replace(facts, n_grid=reader.n_frames, frozen=still.frozen, width=still.width, height=still.height)
    if video.start is not None or video.end is not None:
        return _checked_cut(replace(facts, n_frames=reader.n_frames, fps=float(FPS)), video)
    if not reader.fps_converted:
        return replace(facts, n_frames=reader.n_frames, fps=float(FPS))
    # bench.media holds whole files to the header's count, so that count was decoded
    return replace(facts, n_frames=facts.claimed or round(reader.n_frames * facts.fps / FPS))


def _checked_cut(facts: Facts, video: Source) -> Facts:
    if video.end is None:
        return facts
    wanted = math.floor((video.end - (video.start or 0.0)) * FPS + 1e-6)
    if facts.n_frames >= wanted - _CUT_SLACK:
        return facts
    return replace(facts, code="truncated", detail=f"{facts.n_frames} frames decoded, the cut asks for {wanted}")


def _with_samples(facts: Facts, audio: Source) -> Facts:
    import numpy as np

    from bench.media import decode_audio

    try:
        sound = decode_audio(audio)
    except Unscorable as error:
        if error.kind == "too_short":
            return replace(facts, n_samples=0, rms=0.0)
        if error.kind == "no_audio_stream":
            return replace(facts, has_audio=False)
        code = "undecodable" if error.kind == "nan" else "truncated"
        return facts if facts.code else replace(facts, code=code, detail=f"audio: {error.detail}")
    rms = float(np.sqrt(np.mean(np.square(sound.samples, dtype=np.float64))))
    return replace(facts, n_samples=len(sound.samples), sample_rate=sound.rate, rms=rms)


class _Stillness:
    """Mean absolute difference of successive pictures.

    Its mean over the clip is what counts: encoders sharpen a still picture over its first frames,
    so single differences of a frozen video exceed any useful bound.
    """

    def __init__(self) -> None:
        self._last: Any = None
        self._sum = 0.0
        self._steps = 0
        self.width = self.height = 0

    def see(self, picture: Any) -> None:
        import numpy as np

        self.height, self.width = picture.shape[:2]
        step = max(1, self.height // _STILL_LINES)
        small = picture[::step, ::step].astype(np.int16)
        if self._last is not None:
            self._sum += float(np.abs(small - self._last).mean())
            self._steps += 1
        self._last = small

    @property
    def frozen(self) -> bool:
        """Whether several pictures were seen and they were all the same."""
        return self._steps > 0 and self._sum / self._steps < FROZEN_LEVELS


def in_threads(work: Callable[[Any], Any], things: list[Any], threads: int) -> Any:
    """Results of ``work`` in order, computed by a few threads; PyAV decodes outside Python's lock.

    At most a few results wait to be fetched, so memory does not grow with the number of things.
    """
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(max_workers=max(1, threads))
    waiting: deque[Future[Any]] = deque()
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
