"""ArcFace's recogniser, an improved ResNet: aligned faces to embeddings (metrics.md 8).

J. Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019; the graph and
the parameter names of ``deepinsight/insightface: recognition/arcface_torch/backbones/iresnet.py``.
Faces come as (B, 3, 112, 112) RGB in [-1, 1], see :mod:`bench.metrics.csim.align`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.metrics.folding import fold_conv, fold_linear, norm_scale_shift

NORM_EPS = 1e-5
WIDTHS = (64, 128, 256, 512)
SIDE = 112  # px of a face
END_SIDE = SIDE // 2 ** len(WIDTHS)


class Block(nn.Module):
    """Norm, 3x3, norm, PReLU, 3x3 with ``stride``, norm, plus the input (brought to shape where it changes)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
        self.bn2: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(width, eps=NORM_EPS)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(width, eps=NORM_EPS)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or width_in != width:
            shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width, eps=NORM_EPS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        inner = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: torch.Tensor = self.bn3(self.conv2(inner))
        return out.add_(shortcut)

    def fold(self) -> None:
        """Put the norms behind convolutions into them; the first norm stays, for the padding comes after it."""
        if isinstance(self.bn2, nn.BatchNorm2d):
            self.conv1, self.bn2 = fold_conv(self.conv1, self.bn2), nn.Identity()
        if isinstance(self.bn3, nn.BatchNorm2d):
            self.conv2, self.bn3 = fold_conv(self.conv2, self.bn3), nn.Identity()
        if self.downsample is not None and len(self.downsample) > 1:
            self.downsample = nn.Sequential(_fold_pair(self.downsample))


class IResNet(nn.Module):
    """Faces (B, 3, 112, 112) in [-1, 1] to embeddings (B, num_features); ``layers``: blocks of the four stages."""

    def __init__(self, layers: Sequence[int], num_features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(WIDTHS[0], eps=NORM_EPS)
        self.prelu = nn.PReLU(WIDTHS[0])
        first, second, third, fourth = layers
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], first)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], second)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], third)
        self.layer4 = _stage(WIDTHS[2], WIDTHS[3], fourth)
        self.bn2: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(WIDTHS[3], eps=NORM_EPS)
        self.fc = nn.Linear(WIDTHS[3] * END_SIDE**2, num_features)
        self.features: nn.BatchNorm1d | nn.Identity = nn.BatchNorm1d(num_features, eps=NORM_EPS)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        x = self.prelu(self.bn1(self.conv1(faces)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        flat = torch.flatten(self.bn2(x), 1)  # (B, 512 * 7 * 7), channel by channel
        embedding: torch.Tensor = self.features(self.fc(flat))
        return embedding

    def fold(self) -> IResNet:
        """Put every norm into its layer where that is exact; after the fill, for evaluation. Returns itself."""
        if isinstance(self.bn1, nn.BatchNorm2d):
            self.conv1, self.bn1 = fold_conv(self.conv1, self.bn1), nn.Identity()
        for module in self.modules():
            if isinstance(module, Block):
                module.fold()
        if isinstance(self.bn2, nn.BatchNorm2d) and isinstance(self.features, nn.BatchNorm1d):
            scale, shift = (row.repeat_interleave(END_SIDE**2) for row in norm_scale_shift(self.bn2))
            self.fc = fold_linear(self.fc, (scale, shift), self.features)
            self.bn2, self.features = nn.Identity(), nn.Identity()
        return self


def _stage(width_in: int, width: int, blocks: int) -> nn.Sequential:
    """``blocks`` blocks, the first of which halves the size."""
    return nn.Sequential(Block(width_in, width, 2), *(Block(width, width, 1) for _ in range(blocks - 1)))


def _fold_pair(pair: nn.Sequential) -> nn.Conv2d:
    conv, norm = pair
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"a convolution and its norm were expected, not {pair}")
    return fold_conv(conv, norm)
