"""Forms of LIA-X's operators that have no gradient but take fewer passes over the maps, for pictures made on a CPU.

Each is equal to the form that it stands for up to rounding; that one stays for training and for GPUs, where a pass is
cheap and a launch is not. Maps (B, C, H, W) are laid out channels last unless said otherwise.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def wanted(x: torch.Tensor) -> bool:
    """Nothing is to be learnt from what becomes of ``x``, and it lies in a CPU's memory."""
    return x.device.type == "cpu" and not torch.is_grad_enabled()


def room(x: torch.Tensor) -> torch.Tensor | None:
    """Where to write what becomes of ``x``, which is new and nobody else's: over it, if that can be done."""
    return x if wanted(x) else None


def doubled(x: torch.Tensor) -> torch.Tensor:
    """Maps of few channels, each contiguous, at twice the size: (B, C, 2 H, 2 W); zeros lie around them.

    Every new sample lies a quarter of the way from an old one to a neighbour: [1, 3] or [3, 1] of the filter's taps.
    """
    batch, channels, height, width = x.shape
    wide = _between(functional.pad(x, (1, 1)), x.new_empty((batch, channels, height, width, 2)))
    tall = functional.pad(wide.view(batch, channels, height, 2 * width), (0, 0, 1, 1)).transpose(2, 3)
    made = x.new_empty((batch, channels, height, 2, 2 * width))
    _between(tall, made.permute(0, 1, 4, 2, 3))
    return made.view(batch, channels, 2 * height, 2 * width)


def _between(line: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """``made`` (…, N, 2), a quarter before and behind each inner sample of ``line`` (…, N + 2)."""
    middle = line[..., 1:-1]
    torch.lerp(middle, line[..., :-2], 0.25, out=made[..., 0])
    torch.lerp(middle, line[..., 2:], 0.25, out=made[..., 1])
    return made


def mixed(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x`` (B, I, H, W) convolved with few kernels (O, I, 1, 1): (B, O, H, W), each map contiguous."""
    batch, _, height, width = x.shape
    made = torch.bmm(weight[:, :, 0, 0].expand(batch, -1, -1), x.flatten(2)).view(batch, -1, height, width)
    return made if bias is None else made.add_(bias[:, None, None])


def edge_weights(weight: torch.Tensor) -> torch.Tensor:
    """What :func:`without_surroundings` needs of a kernel (O, I, 3, 3): (4 O, I, 1, 3)."""
    sides = (weight[:, :, 0], weight[:, :, 2], weight[..., 0], weight[..., 2])
    return torch.cat([-0.25 * side for side in sides])[:, :, None]


def without_surroundings(made: torch.Tensor, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """``made`` (B, O, 2 H, 2 H) in place, as if the map that it was convolved from ended where it ends.

    Blurring and convolving can be exchanged but for one thing: ``x`` (B, I, H, H) with zeros between its samples,
    convolved and then blurred, has also read the line of samples that blurring makes around the map, where a
    convolution after the blur reads zeros. That line is a quarter of what the outermost samples become, so it is taken
    off the outermost lines of ``made``; corners belong to the upper and lower line.
    """
    batch, channels, side, _ = x.shape
    lines = torch.stack([x[:, :, 0], x[:, :, -1], x[..., 0], x[..., -1]], dim=1)
    room = lines.new_empty((batch, 4, channels, side + 2, 2))
    around = _between(functional.pad(lines, (2, 2)), room).flatten(3)[..., 1:-1]
    around[:, 2:, :, :: 2 * side + 1] = 0.0
    read = functional.conv2d(around.reshape(batch, 4 * channels, 1, -1), edges, groups=4)
    up, down, left, right = read.view(batch, 4, -1, 2 * side).unbind(1)
    made[:, :, 0] += up
    made[:, :, -1] += down
    made[..., 0] += left
    made[..., -1] += right
    return made


def normalised(x: torch.Tensor, groups: int, gain: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
    """Group normalisation with gains and biases (B or 1, C), which may be different for each map.

    The variance is that of the differences from the mean: it loses no digits where the mean is large.
    """
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    apart = rows - _along(_group_mean(rows, channels, groups), width)
    power = _group_mean(apart * apart, channels, groups)
    gains = gain * torch.rsqrt(power + eps)
    made = torch.addcmul(_along(bias, width), apart, _along(gains, width), out=apart)
    return made.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _group_mean(rows: torch.Tensor, channels: int, groups: int) -> torch.Tensor:
    """Rows (B, H, W C) to the mean of each channel's group, (B, C)."""
    batch, height, _ = rows.shape
    means = rows.sum(1).view(batch, -1, channels).mean(1) / height
    return means.view(batch, groups, -1).mean(2, keepdim=True).expand(-1, -1, channels // groups).reshape(batch, -1)


def _along(channels: torch.Tensor, width: int) -> torch.Tensor:
    """Numbers (B, C) of channels for each pixel of a row: (B, 1, W C)."""
    return channels.repeat(1, width)[:, None]


def warped(source: torch.Tensor, raw: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The map ``source`` (1, C, N, N) moved by raw flows (B, 3, N, N), times masks (B, 1, N, N): (B, C, N, N).

    A pixel is the sum of four rows of a table of the source's pixels, each with a weight. Around the source the table
    has zeros: one line before and two behind it, the last one for a place that is exactly on the line before.
    """
    channels, side = source.shape[1:3]
    table = functional.pad(source, (1, 2, 1, 2)).permute(0, 2, 3, 1).reshape(-1, channels)
    places = torch.sigmoid(2.0 * raw[:, :2]).mul_(side - 1.0)  # tanh is twice that less one, and far slower
    places.add_(_pixels(raw)).clamp_(0.0, side + 1.0)
    corner = places.floor()
    right, below = (places - corner).unbind(1)
    first = torch.add(corner[:, 0], corner[:, 1], alpha=side + 3).to(torch.int32)
    reads, weights = (one.new_empty((*first.shape, 4)) for one in (first, raw))
    lower = below * mask[:, 0]
    for place, row in ((0, mask[:, 0] - lower), (2, lower)):
        line = first if place == 0 else first + (side + 3)
        reads[..., place] = line
        torch.add(line, 1, out=reads[..., place + 1])
        torch.mul(row, right, out=weights[..., place + 1])
        torch.sub(row, weights[..., place + 1], out=weights[..., place])
    made = functional.embedding_bag(reads.view(-1, 4), table, mode="sum", per_sample_weights=weights.view(-1, 4))
    return made.view(-1, side, side, channels).permute(0, 3, 1, 2)


def _pixels(raw: torch.Tensor) -> torch.Tensor:
    """Where the pixels of a map lie in the table, x and y (2, N, N), less half of the map's extent."""
    side = raw.shape[2]
    line = torch.arange(side, device=raw.device, dtype=raw.dtype) + (1.0 - (side - 1.0) / 2.0)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"))
