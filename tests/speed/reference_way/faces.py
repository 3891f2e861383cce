"""A redrawn face as the official inference does it, per clip and run: all frames are searched, every time.

After ``Rudrabha/Wav2Lip: inference.py`` (tfg.md 1.8): boxes padded and smoothed in a loop, crops and inputs frame by
frame in float64, batches of 128, normalisations not folded, the default layout of memory. The talking face
has no published script; it is run in the same loop, its identity repeated for every frame. Frames are returned;
the scripts write them to a file besides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from bench import media
from bench.records import Source
from bench.systems.wav2lip.mel import mel_spectrogram

BATCH = 128
#: Crops as the network wants them (n, S, S, 3), and the frames' numbers, to faces (n, S, S, 3) uint8.
Make = Callable[[list[Any], range], Any]


def redrawn(video: Path, count: int, detect: Any, size: int, make: Make, back: bool) -> Any:
    """``count`` RGB frames; a short video begins anew, or goes ``back``. ``None``: a frame without a face."""
    frames = list(media.decode_video(Source(video)).frames)[:count]
    boxes = _boxes(frames, detect)
    if boxes is None:
        return None
    period = max(1, 2 * (len(frames) - 1)) if back else len(frames)
    order = [i % period if i % period < len(frames) else period - i % period for i in range(count)]
    out = []
    for start in range(0, count, BATCH):
        places = range(start, min(count, start + BATCH))
        crops = []
        for i in places:
            x1, y1, x2, y2 = boxes[order[i]]
            crops.append(cv2.resize(frames[order[i]][y1:y2, x1:x2], (size, size)))
        for i, face in zip(places, make(crops, places), strict=True):
            x1, y1, x2, y2 = boxes[order[i]]
            frame = frames[order[i]].copy()
            frame[y1:y2, x1:x2] = cv2.resize(face, (x2 - x1, y2 - y1))
            out.append(frame)
    return np.stack(out)


def _boxes(frames: list[Any], detect: Any) -> Any:
    height, width = frames[0].shape[:2]
    found = [detect(frame[None])[0] for frame in frames]
    if any(len(faces) == 0 for faces in found):
        return None
    boxes = []
    for faces in found:
        x1, y1, x2, y2 = (int(max(0, edge)) for edge in faces[0][:4])
        boxes.append([x1, y1, min(x2, width), min(y2 + 10, height)])
    array = np.array(boxes)
    for i in range(len(array)):
        window = array[len(array) - 5 :] if i + 5 > len(array) else array[i : i + 5]
        array[i] = np.mean(window, axis=0)
    return array


def wav2lip(network: Any, detect: Any, video: Path, audio: Path) -> Any:
    """A dubbed video (T, H, W, 3) RGB."""
    sound = media.decode_audio(Source(audio))
    mel = mel_spectrogram(media.resample(sound.samples, sound.rate, 16_000))
    chunks: list[Any] = []
    while int(len(chunks) * 80 / 25) + 16 <= mel.shape[1]:
        begin = int(len(chunks) * 80 / 25)
        chunks.append(mel[:, begin : begin + 16])
    chunks.append(mel[:, mel.shape[1] - 16 :])

    def make(crops: list[Any], places: range) -> Any:
        faces = np.asarray(crops)[..., ::-1]
        masked = faces.copy()
        masked[:, faces.shape[1] // 2 :] = 0
        seen = np.concatenate((masked, faces), axis=3) / 255.0
        heard = np.asarray([chunks[i] for i in places])[:, None]
        with torch.no_grad():
            made = network(torch.FloatTensor(heard), torch.FloatTensor(np.transpose(seen, (0, 3, 1, 2))))
        return (made.numpy().transpose(0, 2, 3, 1) * 255.0).astype(np.uint8)[..., ::-1]

    return redrawn(video, len(chunks), detect, network.sizes.image, make, back=False)


def talking(network: Any, closes_lips: Any, detect: Any, video: Path, features: Any, count: int) -> Any:
    """``count`` frames that speak ``features`` (T, D)."""
    half = network.sizes.window // 2
    known: list[Any] = []

    def make(crops: list[Any], places: range) -> Any:
        faces = torch.FloatTensor(np.transpose(np.asarray(crops) / 255.0, (0, 3, 1, 2)))
        masked = faces.clone()
        masked[:, :, faces.shape[2] // 2 :] = 0
        with torch.no_grad():
            if not known:
                known.append(closes_lips(masked[:1], faces[:1], closes_lips.silence[None]))
            windows = [
                features[(torch.arange(2 * i - half + 1, 2 * i + half + 1)).clamp(0, len(features) - 1)] for i in places
            ]
            made = network(masked, known[0].repeat(len(faces), 1, 1, 1), torch.stack(windows))
        return np.rint(made.numpy().transpose(0, 2, 3, 1) * np.float32(255)).astype(np.uint8)

    return redrawn(video, count, detect, network.sizes.image, make, back=True)
