"""SyncNet v2: embeddings of five-frame windows of a face, and of 0.2 s of speech.

Chung, Zisserman: "Out of time: automated lip sync in the wild", 2016. Parameter names are those of the
public checkpoint (``joonson/syncnet_python: SyncNetModel.py``).

:class:`SyncNet` is the network as published. :class:`Fast` is the same function made for speed after
the weights are filled: only the first lip kernel extends in time, and a window has exactly its five
frames, so the lip branch is two-dimensional on 15 channels; every batch normalisation is folded
into its convolution (in float64), and each ReLU comes after the pooling, where there is less
of it and the result is the same. Differences are those of float32 rounding (2e-6 of the largest number).
"""

from __future__ import annotations

import torch
from torch import nn

WIDTH = 512  # of what a branch hands to its head
WINDOW_FRAMES = 5  # temporal extent of the first lip kernel: all frames of a window


def _audio_branch() -> nn.Sequential:
    """MFCC (B, 1, 13, 20) to (B, 512, 1, 1)."""

    def block(inside: int, outside: int, kernel: int | tuple[int, int] = 3, padding: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, kernel, padding=padding), nn.BatchNorm2d(outside), nn.ReLU()]

    return nn.Sequential(
        *block(1, 64),
        nn.MaxPool2d(1, 1),
        *block(64, 192),
        nn.MaxPool2d(3, (1, 2)),  # (B, 192, 11, 9)
        *block(192, 384),
        *block(384, 256),
        *block(256, 256),
        nn.MaxPool2d(3, 2),  # (B, 256, 5, 4)
        *block(256, WIDTH, (5, 4), padding=0),
    )


def _lip_branch() -> nn.Sequential:
    """Windows (B, 3, 5, 224, 224) to (B, 512, 1, 1, 1)."""

    def block(inside: int, outside: int, kernel: tuple[int, int, int], stride: int, padding: int) -> list[nn.Module]:
        conv = nn.Conv3d(inside, outside, kernel, (1, stride, stride), (0, padding, padding))
        return [conv, nn.BatchNorm3d(outside), nn.ReLU()]

    def pool(padding: int = 0) -> nn.Module:
        return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, padding, padding))

    return nn.Sequential(
        *block(3, 96, (WINDOW_FRAMES, 7, 7), 2, 0),  # (B, 96, 1, 109, 109)
        pool(),  # 54
        *block(96, 256, (1, 5, 5), 2, 1),  # 26
        pool(1),  # 13
        *block(256, 256, (1, 3, 3), 1, 1),
        *block(256, 256, (1, 3, 3), 1, 1),
        *block(256, 256, (1, 3, 3), 1, 1),
        pool(),  # 6
        *block(256, WIDTH, (1, 6, 6), 1, 0),
    )


def _head(embedding: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, embedding))


class SyncNet(nn.Module):
    """The network as published; ``embedding`` is the size of what both heads return."""

    def __init__(self, embedding: int = 1024) -> None:
        super().__init__()
        self.netcnnaud = _audio_branch()
        self.netfcaud = _head(embedding)
        self.netcnnlip = _lip_branch()
        self.netfclip = _head(embedding)

    def forward_audio(self, windows: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, E) of MFCC windows (B, 1, 13, 20)."""
        result: torch.Tensor = self.netfcaud(self.netcnnaud(windows).flatten(1))
        return result

    def lip_features(self, windows: torch.Tensor) -> torch.Tensor:
        """Features (B, 512) of BGR windows (B, 3, 5, 224, 224), values 0..255."""
        result: torch.Tensor = self.netcnnlip(windows).flatten(1)
        return result

    def forward_lips(self, windows: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, E) of BGR windows (B, 3, 5, 224, 224), values 0..255."""
        result: torch.Tensor = self.netfclip(self.lip_features(windows))
        return result


class Fast:
    """The function of a filled :class:`SyncNet` in evaluation mode, on the device of its weights."""

    def __init__(self, net: SyncNet) -> None:
        self.device = next(net.parameters()).device
        self._audio, self._audio_head = _flat(net.netcnnaud), net.netfcaud
        self._lips, self._lip_head = _flat(net.netcnnlip), net.netfclip

    def audio(self, windows: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, E) of MFCC windows (B, 1, 13, 20)."""
        features = self._audio(windows.contiguous(memory_format=torch.channels_last))
        result: torch.Tensor = self._audio_head(features.flatten(1))
        return result

    def lips(self, frames: torch.Tensor) -> torch.Tensor:
        """Embeddings (n - 4, E) of all windows of uint8 BGR frames (n, 224, 224, 3)."""
        windows = frames.unfold(0, WINDOW_FRAMES, 1)  # (b, H, W, 3, 5), a view: channel c of frame t becomes c * 5 + t
        folded = windows.flatten(3).to(torch.float32).permute(0, 3, 1, 2)  # (b, 15, H, W), channels last
        result: torch.Tensor = self._lip_head(self._lips(folded).flatten(1))
        return result


def _flat(branch: nn.Sequential) -> nn.Sequential:
    """The same function in two dimensions: convolution with its normalisation, then pooling, then ReLU."""
    layers: list[nn.Module] = []
    for layer in branch:
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            convolution = layer
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layers.append(_folded(convolution, layer))
        elif isinstance(layer, nn.ReLU):
            layers.append(nn.ReLU(inplace=True))
        elif isinstance(layer, nn.MaxPool2d | nn.MaxPool3d):
            kernel, stride, padding = (_plane(size) for size in (layer.kernel_size, layer.stride, layer.padding))
            if kernel != (1, 1):
                layers.insert(-1, nn.MaxPool2d(kernel, stride, padding))  # max and ReLU commute
    return nn.Sequential(*layers)


def _folded(conv: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> nn.Conv2d:
    """One convolution (O, C * T, kh, kw) for a convolution (O, C, T, kh, kw) and the normalisation after it."""
    weight, bias, mean, variance = (
        tensor.detach().double()
        for tensor in (conv.weight, _given(conv.bias), _given(norm.running_mean), _given(norm.running_var))
    )
    scale = norm.weight.detach().double() / torch.sqrt(variance + norm.eps)
    height, width = conv.weight.shape[-2:]
    weight = (weight.flatten(1) * scale[:, None]).view(len(weight), -1, height, width)
    stride, padding = _plane(conv.stride), _plane(conv.padding)
    flat = nn.Conv2d(weight.shape[1], len(weight), (height, width), stride, padding, device=weight.device)
    channels_last = weight.float().contiguous(memory_format=torch.channels_last)
    flat.weight = nn.Parameter(channels_last, requires_grad=False)
    flat.bias = nn.Parameter(((bias - mean) * scale + norm.bias.detach().double()).float(), requires_grad=False)
    return flat


def _given(tensor: torch.Tensor | None) -> torch.Tensor:
    if tensor is None:
        raise ValueError("the layer has no such tensor")
    return tensor


def _plane(size: object) -> tuple[int, int]:
    """Height and width of a size that may be one number, or have a leading time."""
    sizes = size if isinstance(size, tuple) else (size, size)
    return int(sizes[-2]), int(sizes[-1])
