"""dlib's face recogniser: a residual network from face chips of 150x150 px to 128 numbers.

After ``davisking/dlib: examples/dnn_face_recognition_ex.cpp`` (He et al., "Deep residual learning for image
recognition", CVPR 2016, with fewer layers and half the filters). dlib's conventions, which differ from the usual ones:

* a convolution of stride 2 has no padding, the others keep the size; pooling has none and drops what is left over;
* where a block halves the size, its input is averaged over 2x2 px and added as it is: the shorter of both, in channels
  and in pixels, counts as followed by zeros. From 8x8 px the convolutions make 3x3 and the average 4x4, from 4x4 they
  make 1x1 and 2x2: the larger size goes on;
* batch normalisation was frozen into a scale and a shift per channel, here multiplied into the convolution before.

dlib computes the same in float32 in another order; over the faces of the tests the numbers differ by less than 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bench.metrics.dlib_dat import BLOCKS, CHIP_PX, KERNEL, N_DESCRIPTOR, STEM_FILTERS, STEM_KERNEL, read_network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Chips that go through the network together, always this many: oneDNN chooses its way of summing by the size of the
#: batch, so that a last batch of fewer would give other bits (2e-7), and so would a face by itself. Four take 25 %
#: less time per face than one; of the next sizes more is lost to filling up than is won.
BATCH = 4


class Residual(nn.Module):
    """Two convolutions beside a way around them, (B, inputs, H, W) to (B, filters, H', W')."""

    def __init__(self, inputs: int, filters: int, halves: bool) -> None:
        super().__init__()
        stride, padding = (2, 0) if halves else (1, KERNEL // 2)
        self.first = nn.Conv2d(inputs, filters, KERNEL, stride, padding)
        self.second = nn.Conv2d(filters, filters, KERNEL, padding=KERNEL // 2)
        self.halves = halves

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.first(x).relu_())
        if self.halves:
            y, x = _to_common_size(y, functional.avg_pool2d(x, 2))
        return y.add_(x).relu_()


class DlibResnet(nn.Module):
    """Face chips (B, 150, 150, 3) uint8 RGB to descriptors (B, 128)."""

    means: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(3))
        self.stem = nn.Conv2d(3, STEM_FILTERS, STEM_KERNEL, stride=2)
        self.blocks = nn.Sequential(*(Residual(block.inputs, block.filters, block.halves) for block in BLOCKS))
        self.fc = nn.Linear(BLOCKS[-1].filters, N_DESCRIPTOR, bias=False)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        # Rows of 450 numbers rather than 3 channels: torch is slow where the last axis is short.
        rows = chips.float().flatten(2).sub_(self.means.repeat(CHIP_PX)).div_(256)  # (B, 150, 450); 256 as in dlib
        x = rows.view(chips.shape).permute(0, 3, 1, 2)  # (B, 3, 150, 150), channels last in memory
        x = functional.max_pool2d(self.stem(x), 3, 2).relu_()  # (B, 32, 72, 72), (B, 32, 35, 35)
        x = self.blocks(x)  # (B, 256, 2, 2)
        described: torch.Tensor = self.fc(x.mean((2, 3)))
        return described

    @torch.inference_mode()
    def embed(self, chips: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Descriptors (N, 128) of N chips (150, 150, 3) RGB; a chip's numbers do not depend on those beside it."""
        source = iter(chips)
        found = [np.zeros((0, N_DESCRIPTOR), np.float32)]
        while some := list(islice(source, BATCH)):
            batch = np.zeros((BATCH, CHIP_PX, CHIP_PX, 3), np.uint8)
            batch[: len(some)] = some
            found.append(self(torch.from_numpy(batch))[: len(some)].numpy())
        return np.concatenate(found)


def _to_common_size(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both with zeros behind them, up to the larger number of channels, rows and columns."""
    sizes = [max(pair) for pair in zip(a.shape[1:], b.shape[1:], strict=True)]

    def filled(x: torch.Tensor) -> torch.Tensor:
        missing = [wanted - size for wanted, size in zip(sizes, x.shape[1:], strict=True)]
        return functional.pad(x, [end for n in reversed(missing) for end in (0, n)]) if any(missing) else x

    return filled(a), filled(b)


def load_resnet(path: Path) -> DlibResnet:
    """The network with the weights of dlib's file ``path``, on the CPU; raises ``UsageError`` for another file."""
    arrays = read_network(path)
    with torch.device("meta"):  # nothing is drawn for weights that are about to be replaced
        net = DlibResnet()
    state = {"means": _tensor(arrays["input.means"]), "fc.weight": _tensor(arrays["fc.weight"].T)}
    convolutions = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    for k, name in enumerate(convolutions):
        weight, bias = _folded(arrays, k)
        state[f"{name}.weight"] = _tensor(weight).contiguous(memory_format=torch.channels_last)
        state[f"{name}.bias"] = _tensor(bias)
    net.load_state_dict(state, assign=True)
    return net.eval().requires_grad_(False)


def _tensor(array: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(array.copy())  # what was read from a file is read-only


def _folded(arrays: dict[str, NDArray[np.float32]], k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias of convolution ``k`` with the affine layer behind it, rounded once."""
    gamma, beta = (arrays[f"affine{k}.{name}"].astype(np.float64) for name in ("gamma", "beta"))
    weight = arrays[f"con{k}.weight"] * gamma[:, None, None, None]
    bias = arrays[f"con{k}.bias"] * gamma + beta
    return weight.astype(np.float32), bias.astype(np.float32)
