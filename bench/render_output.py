"""What a system returned, checked and written in the stored form: H.264 at 25 fps and 16-bit WAV."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import Unscorable
from bench.records import FPS, MADE, Audio, Output, Request, Source

if TYPE_CHECKING:
    from bench.records import Frames

MIN_RATE, MAX_RATE = 4_000, 192_000  # Hz


@dataclass(frozen=True, slots=True)
class Written:
    """The files of one output (in a temporary folder) and their facts."""

    sha256: str
    video: Path | None
    audio: Path | None
    n_frames: int | None
    n_samples: int | None
    sample_rate: int | None

    @property
    def media_seconds(self) -> float:
        """Seconds of generated media: the audio's where there is any, else the video's."""
        if self.n_samples is not None and self.sample_rate:
            return self.n_samples / self.sample_rate
        return (self.n_frames or 0) / FPS


def write_output(output: Output, request: Request, folder: Path, trusted: bool) -> Written:
    """Check the streams that the task must make and write them into ``folder``.

    ``trusted`` outputs (controls) may name any file; those of systems must lie in the request's
    ``workdir``.

    Raises:
        Unscorable: ``missing_output`` (a stream is absent), ``shape_mismatch`` (wrong shape or type),
            ``nan``, ``too_short`` (nothing in it), ``model_error`` (a file outside the folder),
            ``decode_error``.
    """
    if output is None:
        raise Unscorable("missing_output", "the system returned None")
    if not isinstance(output, Output):
        raise Unscorable("shape_mismatch", f"the system returned {type(output).__name__}, not bench.api.Output")
    made = MADE[request.task]
    folder.mkdir(parents=True, exist_ok=True)
    video = audio = None
    n_frames = n_samples = rate = None
    from bench import media

    if "video" in made:
        video = folder / "output.mp4"
        n_frames = _write_video(video, _pieces(output.video, request, trusted))
    if "audio" in made:
        sound = _sound(output.audio, request, trusted)
        audio, n_samples, rate = folder / "output.wav", len(sound.samples), sound.rate
        media.write_audio(audio, sound)
    return Written(output_sha256(video, audio), video, audio, n_frames, n_samples, rate)


def output_sha256(video: Path | None, audio: Path | None) -> str:
    """The content hash of an output: over the hashes of its files, video first."""
    from bench import media

    return hashlib.sha256("".join(media.file_sha256(path) for path in (video, audio) if path).encode()).hexdigest()


def _inside(path: Path, request: Request, trusted: bool) -> Source:
    if not path.is_file():
        raise Unscorable("missing_output", f"{path.name}: the system names a file that does not exist")
    folder = request.workdir
    if not trusted and (folder is None or not path.resolve().is_relative_to(folder.resolve())):
        raise Unscorable("model_error", f"{path.name}: the system wrote outside its folder")
    return Source(path)


def _write_video(path: Path, pieces: Iterable[Frames]) -> int:
    """Encode pieces of a video, one at a time in memory; returns the number of frames."""
    from bench import media

    count = 0

    def counted() -> Iterator[Frames]:
        nonlocal count
        for piece in pieces:
            count += len(piece)
            yield piece

    media.write_video(path, counted())
    return count


def _pieces(video: object, request: Request, trusted: bool) -> Iterable[Frames]:
    """The video that a system returned, as it is or, where it is a file, decoded piece by piece."""
    import numpy as np

    if video is None:
        raise Unscorable("missing_output", "the system returned no video")
    if isinstance(video, Path):
        from bench import media

        return media.iter_video(_inside(video, request, trusted))
    if not isinstance(video, np.ndarray) or video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3:
        shape = f"{getattr(video, 'dtype', type(video).__name__)} {getattr(video, 'shape', '')}".strip()
        raise Unscorable("shape_mismatch", f"video must be uint8 (T, H, W, 3) RGB; the system returned {shape}")
    if 0 in video.shape:
        raise Unscorable("too_short", f"video of shape {video.shape}")
    return [video]


def _sound(audio: object, request: Request, trusted: bool) -> Audio:
    import numpy as np

    if audio is None:
        raise Unscorable("missing_output", "the system returned no audio")
    if isinstance(audio, Path):
        from bench import media

        found = media.decode_audio(_inside(audio, request, trusted))
        _check_rate(found.rate)
        return found
    samples = getattr(audio, "samples", None)
    rate: Any = getattr(audio, "rate", None)
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        shape = f"{getattr(samples, 'dtype', type(samples).__name__)} {getattr(samples, 'shape', '')}".strip()
        raise Unscorable("shape_mismatch", f"audio must be float32 (N,); the system returned {shape}")
    _check_rate(rate)
    if len(samples) == 0:
        raise Unscorable("too_short", "audio of 0 samples")
    if not np.isfinite(samples).all():
        raise Unscorable("nan", f"{int((~np.isfinite(samples)).sum())} of {len(samples)} samples are not finite")
    return Audio(np.ascontiguousarray(samples, dtype=np.float32), int(rate))


def _check_rate(rate: object) -> None:
    import numpy as np

    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or not MIN_RATE <= rate <= MAX_RATE:
        raise Unscorable("shape_mismatch", f"sample rate {rate!r} Hz; possible: whole numbers {MIN_RATE} to {MAX_RATE}")
