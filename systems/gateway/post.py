"""What is done to an official script's video before it is stored.

``fps25``: the 25 fps grid (decoding puts every video on it; naming it says that the script's own
rate differs). ``crop_right_half``: the right half of the picture. ``resize_to_input``: the size of
the video or portrait that was given. ``trim_to_audio``: cut to the length of the driving audio; a
shorter video stays as it is, no frame is invented. ``mux_audio``: the sound is the given audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench import media
from bench.api import FPS, Output, Request, Source, Unscorable

if TYPE_CHECKING:
    from bench.records import Frames
    from bench.systems.gateway.config import Post
    from bench.systems.gateway.runner import Collected


def finish(collected: Collected, request: Request, steps: Sequence[Post]) -> Output:
    """The output of a request.

    Raises:
        Unscorable: a file cannot be decoded, or a step has nothing to work on.
    """
    audio = collected.audio
    if "mux_audio" in steps and audio is not None:
        audio = request.audio or audio
    video: Path | Frames | None = collected.video
    changes = [step for step in steps if step not in {"mux_audio", "fps25"}]
    if collected.video is not None and changes:
        frames = media.decode_video(Source(collected.video)).frames
        for step in changes:
            frames = _apply(step, frames, request)
        video = np.ascontiguousarray(frames)
    return Output(video=video, audio=audio)


def _apply(step: Post, frames: Frames, request: Request) -> Frames:
    if step == "crop_right_half":
        return frames[:, :, frames.shape[2] // 2 :]
    if step == "resize_to_input":
        return _resized(frames, _input_size(request))
    return frames[: _length(request)]


def _input_size(request: Request) -> tuple[int, int]:
    """(height, width) of the given face or video."""
    given = request.video or request.identity
    if given is None:
        raise Unscorable("missing_reference", "resize_to_input: the request has no picture")
    if given.suffix == ".png":
        height, width = media.read_png(given).shape[:2]
        return height, width
    facts = media.probe(given)
    return facts.height, facts.width


def _resized(frames: Frames, size: tuple[int, int]) -> Frames:
    height, width = size
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = height < frames.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([np.asarray(cv2.resize(f, (width, height), interpolation=method), np.uint8) for f in frames])


def _length(request: Request) -> int | None:
    """Frames of the driving audio; ``None`` where there is none."""
    if request.n_frames is not None or request.audio is None:
        return request.n_frames
    audio = media.decode_audio(Source(request.audio))
    return max(1, round(len(audio.samples) / audio.rate * FPS))
