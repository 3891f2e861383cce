"""The face detector that Wav2Lip, TalkLip and Diff2Lip use: S3FD in the layout of ``face_detection``.

Zhang et al., "S3FD: Single Shot Scale-invariant Face Detector", ICCV 2017; layout, names and decoding of
``Rudrabha/Wav2Lip: face_detection/detection/sfd/*`` (manifest ``wav2lip_s3fd.json``, file ``s3fd.pth``).
It differs from SyncNet's copy (:mod:`bench.metrics.lse.s3fd_net`) in its names, in a kernel that is padded
by 3 and not dilated, in the whole-picture resolution, in how boxes are counted (a box ends on its last pixel when
areas are compared), and in one suppression where the other has two.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.api import Unscorable

#: Taken off red, green and blue: the usual means of blue, green and red, in the source's order.
MEAN = (104.0, 117.0, 123.0)
#: The least height and width of a picture: below, five halvings leave nothing.
LEAST_SIDE = 32
#: A face's score must be above this. (The source first keeps what is above 0.05; such boxes of low
#: score can remove none of a higher one, so that the result is the same.)
LEAST_SCORE = 0.5
LEAST_CANDIDATE = 0.05

_OVERLAP = 0.3  # boxes that share more of their union are one face
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_FINEST_STRIDE = 4  # of the first map; each further one doubles it
_SIDES_PER_STRIDE = 4  # an anchor's side
_BACKGROUNDS = 3  # scores for "no face" on the finest map; the greatest one counts
_NORM_EPS = 1e-10
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
_TAPS = (
    ("conv3_3_norm", 256),
    ("conv4_3_norm", 512),
    ("conv5_3_norm", 512),
    ("fc7", 1024),
    ("conv6_2", 512),
    ("conv7_2", 256),
)

Faces = NDArray[np.float32]  # (n, 5): x1, y1, x2, y2 in pixels, score; by falling score


class Maps(NamedTuple):
    """What the network says of pictures: per tap scores (B, 2, h, w) (background, face) and offsets (B, 4, h, w)."""

    scores: list[torch.Tensor]
    offsets: list[torch.Tensor]


class L2Norm(nn.Module):
    """Each place's channel vector divided by its length, times one factor per channel."""

    def __init__(self, channels: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.pow(2).sum(dim=1, keepdim=True).sqrt() + _NORM_EPS  # (B, 1, H, W)
        scaled: torch.Tensor = x / length * self.weight.view(1, -1, 1, 1)
        return scaled


class S3FD(nn.Module):
    """Pictures (B, 3, H, W), RGB minus :data:`MEAN`, to six maps; H and W at least :data:`LEAST_SIDE`."""

    def __init__(self) -> None:
        super().__init__()
        inside = 3
        for stage, (width, count) in enumerate(_STAGES, 1):
            for index in range(1, count + 1):
                self.add_module(f"conv{stage}_{index}", nn.Conv2d(inside, width, 3, padding=1))
                inside = width
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1 = nn.Conv2d(1024, 256, 1)
        self.conv6_2 = nn.Conv2d(256, 512, 3, stride=2, padding=1)
        self.conv7_1 = nn.Conv2d(512, 128, 1)
        self.conv7_2 = nn.Conv2d(128, 256, 3, stride=2, padding=1)
        self.conv3_3_norm = L2Norm(256, 10.0)
        self.conv4_3_norm = L2Norm(512, 8.0)
        self.conv5_3_norm = L2Norm(512, 5.0)
        for place, (name, width) in enumerate(_TAPS):
            classes = _BACKGROUNDS + 1 if place == 0 else 2
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(width, classes, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(width, 4, 3, padding=1))

    def forward(self, x: torch.Tensor) -> Maps:
        """Raw scores, before the softmax, and offsets of the six taps, the finest first."""
        maps = self._taps(x)
        scores = [self.get_submodule(f"{name}_mbox_conf")(m) for (name, _), m in zip(_TAPS, maps, strict=True)]
        background = scores[0][:, :_BACKGROUNDS].amax(dim=1, keepdim=True)
        scores[0] = torch.cat([background, scores[0][:, _BACKGROUNDS:]], dim=1)
        offsets = [self.get_submodule(f"{name}_mbox_loc")(m) for (name, _), m in zip(_TAPS, maps, strict=True)]
        return Maps(scores, offsets)

    def _taps(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps: list[torch.Tensor] = []
        for stage, (_, count) in enumerate(_STAGES, 1):
            for index in range(1, count + 1):
                x = torch.relu(self.get_submodule(f"conv{stage}_{index}")(x))
            if stage >= 3:
                maps.append(self.get_submodule(f"conv{stage}_3_norm")(x))
            x = nn.functional.max_pool2d(x, 2, 2)
        x = torch.relu(self.fc7(torch.relu(self.fc6(x))))
        maps.append(x)
        for stage in (6, 7):
            for index in (1, 2):
                x = torch.relu(self.get_submodule(f"conv{stage}_{index}")(x))
            maps.append(x)
        return maps


def raw_maps(network: S3FD, pictures: NDArray[np.uint8], device: torch.device) -> Maps:
    """The maps of RGB pictures (B, H, W, 3)."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).to(torch.float32)
    x = (x - torch.tensor(MEAN, device=device)).permute(0, 3, 1, 2)  # (B, 3, H, W), channels last in memory
    return network(x)  # type: ignore[no-any-return]


def decode(scores: list[NDArray[np.float32]], offsets: list[NDArray[np.float32]]) -> Faces:
    """The faces of one picture from face probabilities (h, w) and offsets (4, h, w) per tap, the finest first."""
    found = [_boxes(s, o, _FINEST_STRIDE << tap) for tap, (s, o) in enumerate(zip(scores, offsets, strict=True))]
    rows = np.concatenate(found)
    return rows[_suppressed(rows)]


def _boxes(score: NDArray[np.float32], offset: NDArray[np.float32], stride: int) -> Faces:
    """Rows of one tap that are sure enough, in the order of places."""
    row, column = np.nonzero(score > LEAST_SCORE)
    side = np.float32(stride * _SIDES_PER_STRIDE)
    centre = (np.stack([column, row], axis=1) * stride + stride / 2).astype(np.float32)  # (n, 2) x, y
    change = offset[:, row, column].T  # (n, 4)
    size = side * np.exp(change[:, 2:] * np.float32(_SIZE_VARIANCE))
    low = centre + change[:, :2] * np.float32(_CENTRE_VARIANCE) * side - size / 2
    return np.concatenate([low, low + size, score[row, column, None]], axis=1).astype(np.float32)


def _suppressed(rows: Faces) -> list[int]:
    """Which rows stay, by falling score: those that overlap none that stays by more than a share."""
    x1, y1, x2, y2, score = rows.T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    order = np.argsort(-score, kind="stable")
    kept: list[int] = []
    while order.size:
        first, order = order[0], order[1:]
        kept.append(int(first))
        width = np.maximum(0, np.minimum(x2[first], x2[order]) - np.maximum(x1[first], x1[order]) + 1)
        height = np.maximum(0, np.minimum(y2[first], y2[order]) - np.maximum(y1[first], y1[order]) + 1)
        shared = width * height
        order = order[shared / (areas[first] + areas[order] - shared) <= _OVERLAP]
    return kept


def faces_of(maps: Maps) -> list[Faces]:
    """The faces of each picture of a batch."""
    scores = [tap.float().softmax(dim=1)[:, 1].cpu().numpy() for tap in maps.scores]
    offsets = [tap.float().cpu().numpy() for tap in maps.offsets]
    count = len(scores[0])
    return [decode([tap[index] for tap in scores], [tap[index] for tap in offsets]) for index in range(count)]


class S3fdDetector:
    """S3FD on a device: frames uint8 RGB (T, H, W, 3) to T arrays (n, 5) of faces by falling score."""

    def __init__(self, network: S3FD, device: str, batch: int = 16) -> None:
        self._device = torch.device(device)
        self._network = network.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._batch = batch

    @cached_property
    def identity(self) -> str:
        """Differs where the weights do, and the kind of device: rounding and time are another's there."""
        told = hashlib.blake2b(digest_size=8)
        for name, tensor in self._network.state_dict().items():
            told.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return f"s3fd-{told.hexdigest()}-{self._device.type}"

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.uint8]) -> list[Faces]:
        """The faces of each frame; where memory runs out, the batch is halved from there on.

        Raises:
            Unscorable: ``no_face``, the pictures are too small for the network.
        """
        height, width = frames.shape[1:3]
        if min(height, width) < LEAST_SIDE:
            raise Unscorable("no_face", f"pictures of {width}x{height}: the detector needs {LEAST_SIDE} px a side")
        found: list[Faces] = []
        while len(found) < len(frames):
            piece = frames[len(found) : len(found) + self._batch]
            try:
                found += faces_of(raw_maps(self._network, piece, self._device))
            except torch.OutOfMemoryError:
                if self._batch == 1:
                    raise
                self._batch = max(1, self._batch // 2)
        return found
