"""AV-HuBERT's eye: a 3D stem over mouths and a ResNet-18 body, one vector per frame (hicodit.md B.1).

Shi et al., "Learning Audio-Visual Speech Representation by Masked Multimodal Cluster Prediction", ICLR 2022; graph and
parameter names of ``facebookresearch/av_hubert: avhubert/resnet.py`` (manifest ``avhubert_large_visual.json``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

STEM_WIDTH = 64
WIDTHS = (64, 128, 256, 512)
BLOCKS = 2  # of each stage
CONTEXT = 2  # frames on each side that the stem sees of a frame
#: Frames whose pictures are held at a time: the stem makes half a megabyte of each.
_AT_ONCE = 128


class BasicBlock(nn.Module):
    """3x3, norm, PReLU, 3x3, norm, plus the input (brought to shape where it changes), PReLU."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.PReLU(width)
        self.relu2 = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inside != width:
            self.downsample = nn.Sequential(nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inside, H, W)`` to ``(N, width, H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        inner = self.relu1(self.bn1(self.conv1(x)))
        out: Tensor = self.relu2(self.bn2(self.conv2(inner)) + shortcut)
        return out


class Trunk(nn.Module):
    """The four stages, and the mean over what is left of the picture."""

    def __init__(self) -> None:
        super().__init__()
        inside = STEM_WIDTH
        for number, width in enumerate(WIDTHS, 1):
            blocks = [
                BasicBlock(inside if k == 0 else width, width, 2 if k == 0 and number > 1 else 1) for k in range(BLOCKS)
            ]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            inside = width

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 64, H, W)`` to ``(N, 512)``."""
        for number in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean(dim=(2, 3))


class VisualResNet(nn.Module):
    """Mouths ``(B, 1, T, H, W)``, standardised, to ``(B, 512, T)``; 88 pixels officially."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, STEM_WIDTH, (5, 7, 7), (1, 2, 2), (CONTEXT, 3, 3), bias=False),
            nn.BatchNorm3d(STEM_WIDTH),
            nn.PReLU(STEM_WIDTH),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.trunk = Trunk()

    def stem(self, video: Tensor) -> Tensor:
        """``(B, 1, T, H, W)`` to ``(B, 64, T, H / 4, W / 4)``."""
        out: Tensor = self.frontend3D(video)
        return out

    def forward(self, video: Tensor) -> Tensor:
        """See the class. Long videos go through in pieces, each with the frames beside it: the same numbers."""
        frames = video.shape[2]
        pieces = [self._piece(video, at, min(at + _AT_ONCE, frames)) for at in range(0, frames, _AT_ONCE)]
        return torch.cat(pieces, dim=2) if pieces else video.new_zeros(len(video), WIDTHS[-1], 0)

    def _piece(self, video: Tensor, begin: int, end: int) -> Tensor:
        first, after = max(0, begin - CONTEXT), min(video.shape[2], end + CONTEXT)
        x = self.stem(video[:, :, first:after])[:, :, begin - first : end - first]
        vectors: Tensor = self.trunk(x.transpose(1, 2).flatten(0, 1))  # (B * n, 512)
        return vectors.view(len(video), end - begin, -1).mT


def folded_norms(network: VisualResNet) -> VisualResNet:
    """``network`` with its norms put into the convolutions before them, in place; for inference alone."""
    _fold(network.frontend3D, "0", "1")
    for block in [module for module in network.modules() if isinstance(module, BasicBlock)]:
        _fold(block, "conv1", "bn1")
        _fold(block, "conv2", "bn2")
        if block.downsample is not None:
            _fold(block.downsample, "0", "1")
    return network


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    """One convolution for both, computed in 64 bits; nothing is left of a norm that was folded before."""
    conv, norm = parent.get_submodule(conv_name), parent.get_submodule(norm_name)
    if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
        kind = conv.weight.dtype
        setattr(parent, conv_name, fuse_conv_bn_eval(conv.double(), norm.double()).to(kind))
        setattr(parent, norm_name, nn.Identity())
