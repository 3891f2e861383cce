"""The Inception v3 of the Fréchet Inception Distance (metrics.md 5).

The graph of the TensorFlow network of 2015 as ``mseitzer/pytorch-fid: src/pytorch_fid/inception.py``
has it, with the parameter names of torchvision's ``Inception3`` (no auxiliary head, 1,008 classes).
It differs from torchvision's network in three places: average pools leave the padding out of their
divisor, the last block pools by maximum, and pictures are scaled to [-1, 1] for all channels alike.

Pictures come as (B, 3, H, W) in [-1, 1] (:mod:`bench.metrics.inception_input`); 299x299 in the
protocols. Channels-last memory is what convolutions are quickest with on a CPU and on a device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from bench.metrics.folding import fold_conv

NORM_EPS = 1e-3
CLASSES = 1008
FEATURES = 2048
Size = int | tuple[int, int]


class Blocks(NamedTuple):
    """What the network gives: maps after both max pools of the stem and before 7a, and pool-3."""

    pool1: torch.Tensor  # (B, 64, h, w)
    pool2: torch.Tensor  # (B, 192, h, w)
    mixed6: torch.Tensor  # (B, 768, h, w)
    pool3: torch.Tensor  # (B, 2048)


class BasicConv2d(nn.Module):
    """Convolution without bias, batch norm, ReLU: (B, C_in, H, W) to (B, C_out, H', W')."""

    def __init__(self, width_in: int, width_out: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(width_in, width_out, kernel, stride, padding, bias=False)
        self.bn: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(width_out, eps=NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)

    def fold(self) -> None:
        """Put the norm into the convolution; the names of the parameters change."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = fold_conv(self.conv, self.bn), nn.Identity()


def _average(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class InceptionA(nn.Module):
    """Mixed 5: 1x1, 5x5, twice 3x3, and average pool with ``pooled`` channels; the size stays."""

    def __init__(self, width: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(width, 64, 1)
        self.branch5x5_1 = BasicConv2d(width, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(width, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(width, pooled, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average(x))], 1)


class InceptionB(nn.Module):
    """Mixed 6a: halves the size; 288 to 768 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(width, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(width, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """Mixed 6b to 6e: rows and columns of 7, ``inner`` channels wide; 768 to 768 channels, the size stays."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        along_row, along_column = (0, 3), (3, 0)
        self.branch1x1 = BasicConv2d(width, 192, 1)
        self.branch7x7_1 = BasicConv2d(width, inner, 1)
        self.branch7x7_2 = BasicConv2d(inner, inner, row, padding=along_row)
        self.branch7x7_3 = BasicConv2d(inner, 192, column, padding=along_column)
        self.branch7x7dbl_1 = BasicConv2d(width, inner, 1)
        self.branch7x7dbl_2 = BasicConv2d(inner, inner, column, padding=along_column)
        self.branch7x7dbl_3 = BasicConv2d(inner, inner, row, padding=along_row)
        self.branch7x7dbl_4 = BasicConv2d(inner, inner, column, padding=along_column)
        self.branch7x7dbl_5 = BasicConv2d(inner, 192, row, padding=along_row)
        self.branch_pool = BasicConv2d(width, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class InceptionD(nn.Module):
    """Mixed 7a: halves the size; 768 to 1,280 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(width, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(width, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat(
            [self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(seven), F.max_pool2d(x, 3, stride=2)], 1
        )


class InceptionE(nn.Module):
    """Mixed 7b and 7c: to 2,048 channels, the size stays; ``largest``: the pool branch takes maxima (7c)."""

    def __init__(self, width: int, largest: bool) -> None:
        super().__init__()
        self._largest = largest
        self.branch1x1 = BasicConv2d(width, 320, 1)
        self.branch3x3_1 = BasicConv2d(width, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(width, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(width, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self._largest else _average(x)
        branches = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(branches, 1)


class Inception(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] to pool-3 features (B, 2048); H and W at least 75."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, largest=False)
        self.Mixed_7c = InceptionE(2048, largest=True)
        self.fc = nn.Linear(FEATURES, CLASSES)  # in the official file; no feature passes through it

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.blocks(pictures).pool3

    def blocks(self, pictures: torch.Tensor) -> Blocks:
        """All four outputs of the reference's wrapper, the pooled one as (B, 2048)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures)))
        pool1 = F.max_pool2d(x, 3, stride=2)
        pool2 = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(pool1)), 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(pool2)))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        mixed6 = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(mixed6)))
        return Blocks(pool1, pool2, mixed6, x.mean(dim=(2, 3)))

    def fold(self) -> Inception:
        """Put every norm into its convolution; after the fill, for evaluation. Returns itself."""
        for module in self.modules():
            if isinstance(module, BasicConv2d):
                module.fold()
        return self
