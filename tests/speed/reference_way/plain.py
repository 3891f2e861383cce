"""What the scripts of the reference way share: their job, weights from ``.pth`` files, files of media.

The scripts follow published ones step by step (metrics.md 1 to 9 and 13) and are started as processes. Their networks
are this project's classes in their published form: nothing folded, one layout, no batches but the
published ones. Pictures are decoded by ``bench.media`` and encoded by libav with the settings of the scripts'
ffmpeg commands, so that both ways see the same pixels; an ``ffmpeg`` process per step would come on top.

A job is a JSON file: ``weights`` (folder), ``work`` (folder for the script's files) and ``clips``, each with
``video``, ``audio`` (the output), ``ref_video``, ``ref_audio``, ``transcript``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from bench.media import decode_audio, decode_video
from bench.records import Source

FPS = 25


def job() -> dict[str, Any]:
    """The job that the command line names."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return found


def answer(**values: Any) -> None:
    """The script's result, its last line."""
    print(json.dumps(values))


def filled(given: dict[str, Any], module: torch.nn.Module, name: str) -> Any:
    """``module`` with the tensors of a file, as the scripts load theirs."""
    module.load_state_dict(torch.load(Path(given["weights"]) / name, map_location="cpu", weights_only=True))
    return module.eval()


def frames_of(path: str) -> Any:
    """All frames, uint8 RGB (T, H, W, 3)."""
    return decode_video(Source(Path(path))).frames


def pcm_of(path: str) -> Any:
    """16-bit samples (N,) of a 16 kHz WAV."""
    samples = decode_audio(Source(Path(path))).samples
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)


def fresh_folder(path: Path) -> Path:
    """An empty folder; the scripts, too, remove what they find there."""
    path.mkdir(parents=True, exist_ok=True)
    for old in path.iterdir():
        old.unlink()
    return path


def write_jpegs(
    frames: Iterator[Any], folder: Path, options: dict[str, str], interpolation: str = "BICUBIC"
) -> list[Path]:
    """``ffmpeg -f image2 %06d.jpg``: frames of libav, one file each."""
    encoder: Any = None
    paths = []
    for number, frame in enumerate(frames):
        if encoder is None:
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
            encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
            encoder.thread_count = 1
            encoder.options = options
        full = frame.reformat(format="yuvj420p", interpolation=interpolation, threads=1)
        full.pts, full.time_base = number, Fraction(1, FPS)
        paths.append(folder / f"{number + 1:06d}.jpg")
        paths[-1].write_bytes(b"".join(bytes(packet) for packet in encoder.encode(full)))
    return paths


def avi_frames(path: Path) -> Iterator[Any]:
    """The frames of a video file, as libav gives them."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        yield from container.decode(video=0)
