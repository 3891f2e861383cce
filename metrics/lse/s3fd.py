"""The face detector: pictures in, boxes out (metrics.md 4.4).

Pictures are made smaller by OpenCV (bilinear, a quarter of each side), the mean is taken off, S3FD looks at
them, and its boxes come back in pixels of the whole picture. Source:
``joonson/syncnet_python: detectors/s3fd/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.metrics.lse.s3fd_declare import S3FD_WEIGHTS
from bench.metrics.lse.s3fd_decode import DetectorRules, detections
from bench.metrics.lse.s3fd_net import LEAST_SIDE, S3FD, channels_last, priors
from bench.networks import WeightSource

#: Pictures that the network sees at once. On a CPU a batch gains nothing, and one by one no picture's
#: numbers can depend on its neighbours.
_BATCH = {"cpu": 1, "cuda": 16}

Boxes = NDArray[np.float64]  # (n, 5): x1, y1, x2, y2 in pixels, score


class Detect(Protocol):
    """Finds faces: frames uint8 RGB (T, H, W, 3) to T arrays (n, 5) of x1, y1, x2, y2, score in pixels.

    ``identity`` differs where the boxes may differ; it is part of feature keys.
    """

    identity: str

    def __call__(self, frames: NDArray[np.uint8], /) -> list[Boxes]:
        """The boxes of each frame, in the order in which the tracker should look at them."""
        ...


class S3fdDetector:
    """S3FD with the weights of a source, on a device; see :class:`Detect`."""

    def __init__(self, network: S3FD, device: str, rules: DetectorRules, identity: str) -> None:
        self.identity = identity
        self._device = torch.device(device)
        self._network = channels_last(network.to(self._device))
        self._rules = rules
        self._batch = _BATCH.get(self._device.type, 1)

    def __call__(self, frames: NDArray[np.uint8], /) -> list[Boxes]:
        """The boxes of each frame, by falling score.

        Raises:
            Unscorable: ``no_face``, the pictures are too small for the network.
        """
        found: list[Boxes] = []
        for start in range(0, len(frames), self._batch):
            found += self._detect(frames[start : start + self._batch])
        return found

    def _detect(self, frames: NDArray[np.uint8]) -> list[Boxes]:
        small = [shrink(frame, self._rules.scale) for frame in frames]
        height, width = small[0].shape[:2]
        whole = (frames.shape[1], frames.shape[2])
        if min(height, width) < LEAST_SIDE:
            least = round(LEAST_SIDE / self._rules.scale)
            raise Unscorable("no_face", f"pictures of {whole[1]}x{whole[0]}: the detector needs {least} px a side")
        offsets, scores, maps = run(self._network, np.stack(small), self._rules.mean_rgb, self._device)
        places = _priors((height, width), tuple(maps))
        return [detections(o, s[:, 1], places, whole, self._rules) for o, s in zip(offsets, scores, strict=True)]


def make_detector(weights: WeightSource, device: str, parameters: Mapping[str, Any]) -> S3fdDetector:
    """The detector of a pipeline protocol with these ``parameters``.

    Raises:
        DataError: the weight file is not here, or does not fit.
    """
    if torch.device(device).type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    network = weights.fill(S3FD(), S3FD_WEIGHTS)
    identity = f"s3fd-{weights.identity(S3FD_WEIGHTS)}"
    return S3fdDetector(network, device, DetectorRules.of(parameters["detector"]), identity)


def shrink(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with sides times ``scale``, rounded and interpolated by OpenCV (bilinear)."""
    small = cv2.resize(np.ascontiguousarray(picture), None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return np.asarray(small, dtype=np.uint8)


@torch.inference_mode()
def run(
    network: S3FD, pictures: NDArray[np.uint8], mean_rgb: tuple[float, float, float], device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[tuple[int, int]]]:
    """Raw boxes (B, P, 4), scores (B, P, 2) and the maps' sizes for RGB pictures (B, H, W, 3) at network size."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).to(torch.float32)
    x = (x - torch.tensor(mean_rgb, device=device)).permute(0, 3, 1, 2)  # (B, 3, H, W), channels last in memory
    offsets, scores, maps = network(x)
    return offsets.cpu().numpy(), scores.cpu().numpy(), maps


@lru_cache(maxsize=8)
def _priors(size: tuple[int, int], maps: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = priors(size, list(maps)).numpy()
    found.setflags(write=False)
    return found
