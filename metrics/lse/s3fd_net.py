"""S3FD, the single-shot scale-invariant face detector, as SyncNet's pipeline uses it.

Zhang et al., "S3FD: Single Shot Scale-invariant Face Detector", ICCV 2017; layout and parameter names
of ``joonson/syncnet_python: detectors/s3fd/nets.py`` (manifest ``s3fd.json``).

A VGG-16 trunk whose last layers are convolutions, four further ones, and a box and a score
per place of six maps. Everything runs in channels-last memory, which saves the convolutions' conversions between
layouts: up to twice as fast per picture as the plain layout, by processor, with equal numbers up to rounding.
"""

from __future__ import annotations

import torch
from torch import nn

#: Strides of the six maps in pixels of the network's input, and the sides of their prior boxes.
STEPS = (4, 8, 16, 32, 64, 128)
SIDES = (16, 32, 64, 128, 256, 512)

#: The least height and width of the network's input: less leaves no place on the coarser maps.
LEAST_SIDE = 28

_TRUNK = (64, 64, "M", 128, 128, "M", 256, 256, 256, "C", 512, 512, 512, "M", 512, 512, 512, "M")
_TAPS = (("L2Norm3_3", 16), ("L2Norm4_3", 23), ("L2Norm5_3", 30))  # a map leaves the trunk before this layer
_NORM_EPS = 1e-10
_CHANNELS_LAST = torch.channels_last
_WIDTHS = (256, 512, 512, 1024, 512, 256)  # channels of the six maps
_BACKGROUNDS = 3  # scores for "no face" on the finest map; the greatest one counts


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
    """Pictures (B, 3, H, W), RGB minus mean, to boxes (B, P, 4) and scores (B, P, 2) of P places.

    Scores are softmaxed: background, face. Places are ordered by map, row and column. ``H`` and ``W``
    are at least :data:`LEAST_SIDE`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.vgg = nn.ModuleList(_trunk())
        self.L2Norm3_3 = L2Norm(256, 10.0)
        self.L2Norm4_3 = L2Norm(512, 8.0)
        self.L2Norm5_3 = L2Norm(512, 5.0)
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(1024, 256, 1),
                nn.Conv2d(256, 512, 3, stride=2, padding=1),
                nn.Conv2d(512, 128, 1),
                nn.Conv2d(128, 256, 3, stride=2, padding=1),
            ]
        )
        self.loc = nn.ModuleList([nn.Conv2d(width, 4, 3, padding=1) for width in _WIDTHS])
        scores = (_BACKGROUNDS + 1, 2, 2, 2, 2, 2)
        self.conf = nn.ModuleList([nn.Conv2d(width, n, 3, padding=1) for width, n in zip(_WIDTHS, scores, strict=True)])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[tuple[int, int]]]:
        """Boxes (B, P, 4), scores (B, P, 2), and (height, width) of the six maps."""
        maps = self._maps(x.contiguous(memory_format=_CHANNELS_LAST))
        boxes = [_rows(head(m), 4) for head, m in zip(self.loc, maps, strict=True)]
        scores = [_rows(_face_or_not(head(m)), 2) for head, m in zip(self.conf, maps, strict=True)]
        sizes = [(m.shape[2], m.shape[3]) for m in maps]
        return torch.cat(boxes, 1), torch.softmax(torch.cat(scores, 1), dim=2), sizes

    def _maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps: list[torch.Tensor] = []
        taps = {before: name for name, before in _TAPS}
        for index, layer in enumerate(self.vgg):
            if index in taps:
                maps.append(self.get_submodule(taps[index])(x))
            x = layer(x)
        maps.append(x)
        for index, layer in enumerate(self.extras):
            x = torch.relu(layer(x))
            if index % 2:
                maps.append(x)
        return maps


def _trunk() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for entry in _TRUNK:
        if isinstance(entry, int):
            layers += [nn.Conv2d(channels, entry, 3, padding=1), _relu()]
            channels = entry
        else:  # "C": an odd last row or column is pooled too
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=entry == "C"))
    wide = 1024
    return [*layers, nn.Conv2d(channels, wide, 3, padding=6, dilation=6), _relu(), nn.Conv2d(wide, wide, 1), _relu()]


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def _face_or_not(scores: torch.Tensor) -> torch.Tensor:
    """(B, 4, H, W) of the finest map to (B, 2, H, W): the greatest of three backgrounds, and the face."""
    if scores.shape[1] == 2:
        return scores
    background = scores[:, :_BACKGROUNDS].amax(dim=1, keepdim=True)
    return torch.cat([background, scores[:, _BACKGROUNDS:]], dim=1)


def _rows(head: torch.Tensor, n: int) -> torch.Tensor:
    """(B, n, H, W) to (B, H * W, n)."""
    return head.permute(0, 2, 3, 1).reshape(head.shape[0], -1, n)


def channels_last(network: S3FD) -> S3FD:
    """The network itself, its kernels laid out as its pictures are."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=_CHANNELS_LAST)
    return network


def priors(size: tuple[int, int], maps: list[tuple[int, int]]) -> torch.Tensor:
    """Prior boxes (P, 4) float32: centre x, y, width, height in shares of a picture of ``size`` (height, width)."""
    height, width = size
    found = []
    for (rows, columns), step, side in zip(maps, STEPS, SIDES, strict=True):
        x = (torch.arange(columns, dtype=torch.float64) + 0.5) / (width / step)
        y = (torch.arange(rows, dtype=torch.float64) + 0.5) / (height / step)
        centre_y, centre_x = torch.meshgrid(y, x, indexing="ij")
        sides = torch.tensor([side / width, side / height], dtype=torch.float64).expand(rows * columns, 2)
        found.append(torch.cat([centre_x.reshape(-1, 1), centre_y.reshape(-1, 1), sides], dim=1))
    return torch.cat(found).to(torch.float32)
