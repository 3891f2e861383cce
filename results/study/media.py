"""What participants see and hear: one mp4 per stimulus, alike in level, rate and coding whatever the system.

Sound is brought to one RMS level and to 48 kHz, so that neither loudness nor the sample rate tells the systems
apart; a file has no title, date or name inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import media
from bench.api import Audio, Source
from bench.media import Media
from bench.metrics.study import PROCEDURE

if TYPE_CHECKING:
    from bench.records import Frames, Samples

RATE_HZ: int = PROCEDURE["rate_hz"]
BLOCKS = 6  # a spoilt picture has so many blocks in a row and in a column
QUALITY = 18  # x264's rate factor: no loss to be seen at the size of a face


def level(samples: Samples) -> Samples:
    """``samples`` (N,) at the RMS of the procedure, lower where the peak would pass its limit; silence stays."""
    exact = samples.astype(np.float64)
    rms, peak = float(np.sqrt(np.mean(exact**2))) if exact.size else 0.0, float(np.abs(exact).max(initial=0.0))
    if rms == 0.0:
        return samples
    gain = min(10 ** (PROCEDURE["level_db"] / 20) / rms, PROCEDURE["peak"] / peak)
    return np.asarray(exact * gain, dtype=np.float32)


def spoilt_sound(samples: Samples, seed: int) -> Samples:
    """White noise as long as ``samples`` (N,), at the level of speech."""
    return level(np.random.default_rng(seed).standard_normal(samples.size).astype(np.float32))


def spoilt_picture(frames: Frames) -> Frames:
    """``frames`` (T, H, W, 3) in :data:`BLOCKS` × :data:`BLOCKS` blocks, backwards."""
    height, width = (int(size) for size in frames.shape[1:3])
    rows = np.minimum(np.arange(height) * BLOCKS // height * height // BLOCKS + height // (2 * BLOCKS), height - 1)
    columns = np.minimum(np.arange(width) * BLOCKS // width * width // BLOCKS + width // (2 * BLOCKS), width - 1)
    return np.ascontiguousarray(frames[::-1][:, rows][:, :, columns])


def write(path: Path, video: Source | None, audio: Source, *, spoilt: bool = False, seed: int = 0) -> None:
    """Write a stimulus: mp4 with picture and sound, or WAV where there is no picture.

    Raises:
        Unscorable: a stream cannot be decoded.
    """
    shown = Media(video, audio, "")
    sound = shown.audio(RATE_HZ)
    sound = spoilt_sound(sound, seed) if spoilt else level(sound)
    if video is None:
        media.write_audio(path, Audio(sound, RATE_HZ))
        return
    frames = shown.frames
    media.write_video(path, spoilt_picture(frames) if spoilt else frames, QUALITY, Audio(sound, RATE_HZ))
