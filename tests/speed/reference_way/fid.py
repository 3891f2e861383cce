"""FID as ``mseitzer/pytorch-fid`` has it (metrics.md 5): all frames of both sides as files, then from files.

Frames are PNG, which loses nothing. Batches of 50, covariances by numpy, their root by SciPy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from plain import answer, filled, frames_of, fresh_folder, job
from scipy.linalg import sqrtm

from bench.metrics.inception_net import Inception

BATCH, SIDE = 50, 299


def dump(paths: list[str], folder: Path) -> list[Path]:
    """All frames of all videos as pictures."""
    found = []
    for video in paths:
        for frame in frames_of(video):
            found.append(folder / f"{len(found):06d}.png")
            cv2.imwrite(str(found[-1]), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return found


def statistics(net: Any, files: list[Path]) -> tuple[Any, Any]:
    """Mean and covariance of the pool-3 features."""
    features = np.empty((len(files), 2048))
    for start in range(0, len(files), BATCH):
        images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in files[start : start + BATCH]]
        batch = torch.stack([torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255 for image in images])
        with torch.no_grad():
            wide = torch.nn.functional.interpolate(batch, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            features[start : start + len(images)] = net(2 * wide - 1).numpy()
    return features.mean(axis=0), np.cov(features, rowvar=False)


def distance(first: tuple[Any, Any], second: tuple[Any, Any]) -> float:
    """``calculate_frechet_distance``."""
    (mean1, cov1), (mean2, cov2) = first, second
    root = sqrtm(cov1.dot(cov2))
    if not np.isfinite(root).all():
        offset = np.eye(len(cov1)) * 1e-6
        root = sqrtm((cov1 + offset).dot(cov2 + offset))
    difference = mean1 - mean2
    return float(difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(np.real(root)))


def main() -> None:
    given = job()
    net = filled(given, Inception(), "pt_inception-2015-12-05-6726825d.pth")
    sides = []
    for side in ("video", "ref_video"):
        files = dump([clip[side] for clip in given["clips"]], fresh_folder(Path(given["work"]) / f"fid-{side}"))
        sides.append(statistics(net, files))
    answer(value=distance(*sides))


main()
