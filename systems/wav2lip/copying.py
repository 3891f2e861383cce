"""A generator that begins by copying: the frame where it is shown, the reference where it is not.

Our own, for small generators that are trained briefly (configuration ``tiny``): a random network of these layers needs
thousands of steps before the upper half of a face comes through sharp. Here some channels of the first and the last
layers are set by hand, the others stay random; all of them are trained.

The normalisations of these two layers keep the statistics of the first batch: those of four clips at a time, as in each
later step, would say little about colours. The others go on as usual, which keeps their channels alive.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from bench.systems.wav2lip.blocks import ConvBN
from bench.systems.wav2lip.generator import Wav2LipGenerator

_COLOURS = 3
_HIDES = 2.0  # how often the shown frame is taken from the reference: what is shown is never darker than half of it
#: The inverse of the last layer, a sigmoid, as a broken line: (slope, from, side), above (1) or below (-1) a value.
_INVERSE = ((4.4, 0.0, 1.0), (14.0, 0.12, -1.0), (14.0, 0.88, 1.0))
_OFFSET = -2.2  # of that line at 0
_REST = 0.1  # what is left of the random weights of the last layer


def keep_statistics(generator: Wav2LipGenerator) -> None:
    """The normalisations of the copying layers in evaluation mode, whatever the rest is in."""
    for layer in (generator.face_encoder_blocks[0], generator.output_block[0]):
        layer.eval()


@torch.no_grad()
def begin_as_copy(generator: Wav2LipGenerator, mels: torch.Tensor, faces: torch.Tensor) -> None:
    """Normalisations get the statistics of a batch (arguments of the generator's ``forward``), and copying channels.

    Raises:
        ValueError: the generator has too few channels at its full size.
    """
    stem = cast(ConvBN, cast(nn.Sequential, generator.face_encoder_blocks[0])[0])
    last = cast(ConvBN, generator.output_block[0])
    mixed = cast(nn.Conv2d, generator.output_block[1])
    sizes = generator.sizes
    if sizes.stem < 2 * _COLOURS or sizes.output < len(_INVERSE) * _COLOURS:
        raise ValueError(f"{sizes.stem} and {sizes.output} channels are too few to copy with")
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    generator.train()
    generator(mels, faces)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    _copy_in(stem)
    _copy_out(last, mixed, sizes.decoder[-1])


def _copy_in(stem: ConvBN) -> None:
    """Channels 0 to 2: the shown frame; 3 to 5: the reference less that, nothing where that is shown."""
    convolution = _plain(stem, 2 * _COLOURS)
    middle = convolution.kernel_size[0] // 2
    for colour in range(_COLOURS):
        convolution.weight[colour, colour, middle, middle] = 1.0
        convolution.weight[_COLOURS + colour, _COLOURS + colour, middle, middle] = 1.0
        convolution.weight[_COLOURS + colour, colour, middle, middle] = -_HIDES


def _copy_out(last: ConvBN, mixed: nn.Conv2d, before: int) -> None:
    """The sum of both through the inverse of the sigmoid; the first layer's channels come after ``before`` others."""
    convolution = _plain(last, len(_INVERSE) * _COLOURS)
    bias = cast(nn.Parameter, convolution.bias)
    mixed.weight.mul_(_REST)
    cast(nn.Parameter, mixed.bias).fill_(_OFFSET)
    for colour in range(_COLOURS):
        for number, (slope, begin, side) in enumerate(_INVERSE):
            channel = number * _COLOURS + colour
            convolution.weight[channel, [before + colour, before + _COLOURS + colour], 1, 1] = side
            bias[channel] = -side * begin
            mixed.weight[:, channel] = 0.0
            mixed.weight[colour, channel] = side * slope


def _plain(layer: ConvBN, channels: int) -> nn.Conv2d:
    """Its convolution, the first ``channels`` zero and not normalised."""
    convolution = cast(nn.Conv2d, layer.conv_block[0])
    norm = cast(nn.BatchNorm2d, layer.conv_block[1])
    convolution.weight[:channels] = 0.0
    cast(nn.Parameter, convolution.bias)[:channels] = 0.0
    norm.weight[:channels] = 1.0
    norm.bias[:channels] = 0.0
    cast(torch.Tensor, norm.running_mean)[:channels] = 0.0
    cast(torch.Tensor, norm.running_var)[:channels] = 1.0 - norm.eps
    return convolution
