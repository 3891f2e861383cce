"""SyncNet over a clip, as published: Conv3d on windows of five frames, batches of 20, a loop over windows.

``joonson/syncnet_python: SyncNetInstance.py`` (``evaluate``, ``calc_pdist``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from bench.metrics.lse.mfcc import MfccRecipe, mfcc
from bench.metrics.lse.protocols import WAV2LIP

V_SHIFT, BATCH, SIDE = 15, 20, 224


def evaluate(net: Any, jpegs: list[Path], pcm: Any, resize: bool) -> dict[str, float]:
    """LSE-C and LSE-D of the pictures in ``jpegs`` and 16 kHz samples (N,)."""
    images = [cv2.imread(str(path)) for path in jpegs]
    if resize:
        images = [cv2.resize(image, (SIDE, SIDE)) for image in images]
    video = np.transpose(np.expand_dims(np.stack(images, axis=3), axis=0), (0, 3, 4, 1, 2))  # (1, 3, T, H, W)
    imtv = torch.from_numpy(video.astype(float)).float()
    features = mfcc(pcm, MfccRecipe.of(WAV2LIP.parameters["mfcc"], 16_000))
    cct = torch.from_numpy(features.T[None, None].astype(float)).float()  # (1, 1, 13, M)
    last = min(len(images), len(pcm) // 640) - 5
    lips, sound = [], []
    with torch.no_grad():
        for start in range(0, last, BATCH):
            places = range(start, min(last, start + BATCH))
            lips.append(net.forward_lips(torch.cat([imtv[:, :, place : place + 5] for place in places], 0)))
            sound.append(net.forward_audio(torch.cat([cct[:, :, :, 4 * p : 4 * p + 20] for p in places], 0)))
    mean_distances = distances(torch.cat(lips, 0), torch.cat(sound, 0)).mean(dim=1)
    least = mean_distances.min()
    return {"lse_d": float(least), "lse_c": float(mean_distances.median() - least)}


def distances(lips: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
    """(2 V + 1, n): every window against its neighbours in the sound, zeros beyond the ends."""
    width = 2 * V_SHIFT + 1
    padded = torch.nn.functional.pad(sound, (0, 0, V_SHIFT, V_SHIFT))
    found = []
    for place in range(len(lips)):
        repeated = lips[[place]].repeat(width, 1)
        found.append(torch.nn.functional.pairwise_distance(repeated, padded[place : place + width]))
    return torch.stack(found, 1)
