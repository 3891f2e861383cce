"""A plain step-by-step LSE for the tests, and the seeded network that both ways share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch

from bench.metrics.lse.protocols import SYNCNET_WEIGHTS
from bench.metrics.lse.syncnet_net import Fast, SyncNet
from bench.networks import Seeded

SEEDED = Seeded({SYNCNET_WEIGHTS.name: 2.45})


@lru_cache(maxsize=1)
def network() -> SyncNet:
    """The published form, filled by rule."""
    return SEEDED.fill(SyncNet(), SYNCNET_WEIGHTS)


@lru_cache(maxsize=1)
def fast() -> Fast:
    return Fast(network())


def pictures(n: int, height: int = 60, width: int = 44, seed: int = 0) -> Any:
    """RGB noise with large patches, uint8 (n, height, width, 3)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 6, 5, 3)).astype(np.uint8)
    return np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC) for picture in small])


def babble(n: int, seed: int = 0) -> Any:
    """16-bit noise of changing loudness and colour at 16 kHz, int16 (n,)."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(50, 4000, n // 800 + 1), 800)[:n]
    return (loud * np.clip(rng.standard_normal(n), -3, 3)).astype(np.int16)


def as_float(pcm: Any) -> Any:
    return (pcm / 32768.0).astype(np.float32)


def plain_mfcc(pcm: Any) -> Any:
    """Frame by frame and coefficient by coefficient, (M, 13) float64."""
    x = [float(v) for v in pcm]
    y = np.array([x[0]] + [x[n] - 0.97 * x[n - 1] for n in range(1, len(x))])
    count = 1 if len(y) <= 400 else 1 + -(-(len(y) - 400) // 160)
    y = np.concatenate([y, np.zeros(count * 160 + 400)])
    mel = [k * 2595 * np.log10(1 + 8000 / 700) / 27 for k in range(28)]
    edge = [int(np.floor(513 * 700 * (10 ** (m / 2595) - 1) / 16000)) for m in mel]
    eps = np.finfo(float).eps
    rows = []
    for t in range(count):
        spectrum = np.abs(np.fft.rfft(y[160 * t : 160 * t + 400], 512)) ** 2 / 512
        energies = []
        for low, mid, high in zip(edge, edge[1:], edge[2:], strict=False):
            rise = sum(spectrum[i] * (i - low) / (mid - low) for i in range(low, mid))
            fall = sum(spectrum[i] * (high - i) / (high - mid) for i in range(mid, high))
            energies.append(np.log(rise + fall or eps))
        scale = [np.sqrt(1 / 26)] + [np.sqrt(2 / 26)] * 12
        basis = [[np.cos(np.pi * c * (2 * j + 1) / 52) for j in range(26)] for c in range(13)]
        row = [scale[c] * np.dot(basis[c], energies) * (1 + 11 * np.sin(np.pi * c / 22)) for c in range(13)]
        rows.append([np.log(spectrum.sum() or eps), *row[1:]])
    return np.array(rows)


def plain_lse(frames: Any, pcm: Any) -> tuple[float, float, int]:
    """LSE-C, LSE-D and offset of RGB frames and 16 kHz samples, one window after the other, in float32."""
    net = network()
    mfcc = torch.from_numpy(plain_mfcc(pcm).T.astype(np.float32))
    squeezed = [cv2.resize(np.ascontiguousarray(frame[:, :, ::-1]), (224, 224)) for frame in frames]
    video = torch.from_numpy(np.stack(squeezed, axis=3)[None]).permute(0, 3, 4, 1, 2).float()  # (1, 3, T, H, W)
    n = min(len(frames), len(pcm) // 640)
    lips, sound = [], []
    with torch.inference_mode():
        for i in range(n - 5):
            lips.append(net.netfclip(net.netcnnlip(video[:, :, i : i + 5]).view(1, -1)))
            sound.append(net.netfcaud(net.netcnnaud(mfcc[None, None, :, 4 * i : 4 * i + 20]).view(1, -1)))
    v, a = torch.cat(lips), torch.nn.functional.pad(torch.cat(sound), (0, 0, 15, 15))
    distances = [torch.pairwise_distance(v[i : i + 1].repeat(31, 1), a[i : i + 31]) for i in range(len(v))]
    mean = torch.mean(torch.stack(distances, 1), 1)
    least, where = torch.min(mean, 0)
    return float(torch.median(mean) - least), float(least), 15 - int(where)
