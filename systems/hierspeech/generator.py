"""The waveform generator: latent and source features to samples.

Two heads. ``wave`` is the official one: five up-samplings to the rate of samples, tanh. ``istft`` (a design of the
tiny configurations) stops at the first stage's rate and lets an inverse Fourier transform make the samples. Names
follow ``sh-lee-prml/HierSpeechpp: hierspeechpp_speechsynthesizer.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.nets.weight_norm import WNConv1d, WNConvTranspose1d
from bench.systems.hierspeech.alias_free import Activation1d
from bench.systems.hierspeech.amp_block import ACTIVATION_REACH, AmpBank, amp_reach, masked
from bench.systems.hierspeech.source import SOURCE_RATE, DBlock

#: Samples of a frame at 16 kHz.
HOP = 320
_DBLOCK_REACH = 1 + 2 + 4  # frames, by its dilations
_POST_REACH = 3


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Sizes of a generator; names as in the official configuration.

    Attributes:
        initial_channel: channels of the latent.
        source_channels: channels of the source features; None: an eighth of ``upsample_initial_channel``.
        alias_free: as in :class:`Activation1d`.
        head: what makes samples of the last stage.
    """

    initial_channel: int = 192
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    upsample_rates: tuple[int, ...] = (4, 5, 4, 2, 2)
    upsample_initial_channel: int = 512
    upsample_kernel_sizes: tuple[int, ...] = (8, 11, 8, 4, 4)
    gin_channels: int = 256
    source_channels: int | None = None
    alias_free: bool = True
    head: Literal["wave", "istft"] = "wave"

    @property
    def width_of_source(self) -> int:
        """Channels of the source features."""
        return self.upsample_initial_channel // 8 if self.source_channels is None else self.source_channels

    def reach(self) -> int:
        """Frames at each side that a frame's samples depend on, counted from kernels and dilations."""
        reach, rate = float(_DBLOCK_REACH), 1
        for factor, kernel in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True):
            rate *= factor
            reach += kernel / rate
            reach += amp_reach(self.resblock_kernel_sizes, self.resblock_dilation_sizes, self.alias_free) / rate
        return math.ceil(reach + (ACTIVATION_REACH + _POST_REACH) / rate + (self.head == "istft"))


class IstftHead(nn.Module):
    """Log magnitude and phase at 200 Hz ``(B, C, 4 T)`` to samples ``(B, 1, 320 T)``, by overlap of Hann windows."""

    window: Tensor
    _N_FFT, _HOP = 320, 80
    _FIRST_LOG, _GREATEST_LOG = -3.0, 4.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, self._N_FFT + 2, 7, padding=3)
        nn.init.constant_(self.conv.get_parameter("bias"), self._FIRST_LOG)
        self.register_buffer("window", torch.hann_window(self._N_FFT), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self._wave(self._spectrum(x)).unsqueeze(1)

    def each(self, x: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """The samples ``(80 n,)`` of each item's first n of ``lengths``; behind them ``x`` must be 0."""
        spectra = self._spectrum(x)
        return [self._wave(one[None, :, :count])[0] for one, count in zip(spectra, lengths, strict=True)]

    def _spectrum(self, x: Tensor) -> Tensor:
        log, phase = self.conv(x).float().chunk(2, dim=1)  # (B, 161, 4 T) each
        return torch.polar(log.clamp(max=self._GREATEST_LOG).exp(), phase)

    def _wave(self, spectrum: Tensor) -> Tensor:
        """``(B, 161, L)`` to ``(B, 80 L)``."""
        length = self._HOP * spectrum.shape[-1]
        wave: Tensor = torch.istft(spectrum, self._N_FFT, self._HOP, window=self.window, center=True, length=length)
        return wave


class Generator(nn.Module):
    """Latent ``(B, C, T)``, source features ``(B, S, 4 T)`` and style to samples ``(B, 1, 320 T)`` in [-1, 1].

    Raises:
        ValueError: the rates of ``config`` do not give what its head needs.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        wanted = {"wave": HOP, "istft": SOURCE_RATE}[config.head]
        if math.prod(config.upsample_rates) != wanted or config.upsample_rates[0] != SOURCE_RATE:
            raise ValueError(
                f"up-sampling by {config.upsample_rates} does not fit head {config.head!r}: the first rate must be "
                f"{SOURCE_RATE}, the product {wanted}"
            )
        self.config = config
        widths = [config.upsample_initial_channel >> i for i in range(len(config.upsample_rates) + 1)]
        source = config.width_of_source
        self.conv_pre = WNConv1d(config.initial_channel, widths[0], 7, padding=3)
        self.ups = nn.ModuleList(
            WNConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2)
            for width, kernel, rate in zip(widths, config.upsample_kernel_sizes, config.upsample_rates, strict=False)
        )
        sizes = (config.resblock_kernel_sizes, config.resblock_dilation_sizes)
        self.resblocks = AmpBank(widths[1:], *sizes, config.alias_free)
        self.activation_post = Activation1d(widths[-1], config.alias_free)
        if config.head == "wave":
            self.conv_post: nn.Module = nn.Conv1d(widths[-1], 1, 7, padding=3, bias=False)
        else:
            self.conv_post = IstftHead(widths[-1])
        self.cond = nn.Conv1d(config.gin_channels, widths[0], 1)
        self.downs = DBlock(source, widths[0], SOURCE_RATE)
        self.proj = nn.Conv1d(source, widths[1], 7, padding=3)

    def forward(self, z: Tensor, source: Tensor, g: Tensor) -> Tensor:
        """Samples of the latent ``z``, the ``source`` features and the style ``g`` ``(B, gin, 1)``; no mask."""
        x = self.conv_post(self._driven(z, source, g, None))
        return torch.tanh(x) if self.config.head == "wave" else x

    def each(self, z: Tensor, source: Tensor, g: Tensor, lengths: Sequence[int], mask: Tensor) -> list[Tensor]:
        """The samples ``(320 n,)`` of every item of a padded batch, ``lengths`` in frames; equal up to rounding to what
        :meth:`forward` makes of it alone. Not with alias-free activations.

        ``z`` and ``source`` must be 0 outside of ``mask`` ``(B, 1, T)`` and its four-fold.
        """
        x = self._driven(z, source, g, mask)
        if isinstance(self.conv_post, IstftHead):
            return self.conv_post.each(x, [SOURCE_RATE * count for count in lengths])
        waves = torch.tanh(self.conv_post(x))[:, 0]
        return [wave[: HOP * count] for wave, count in zip(waves, lengths, strict=True)]

    def _driven(self, z: Tensor, source: Tensor, g: Tensor, mask: Tensor | None) -> Tensor:
        """What the last convolution reads, ``(B, C, rate of the last stage)``, 0 outside of ``mask``."""
        x = masked(self.conv_pre(z) + self.downs(source, mask) + self.cond(g), mask)
        for index, up in enumerate(self.ups):
            x = up(x)
            if index == 0:
                x = x + self.proj(source)
            mask = None if mask is None else mask.repeat_interleave(self.config.upsample_rates[index], dim=2)
            x = self.resblocks.stage(index, masked(x, mask), mask)
        driven: Tensor = self.activation_post(x)
        return driven

    def in_chunks(self, z: Tensor, source: Tensor, g: Tensor, frames: int = 200) -> Iterator[Tensor]:
        """The samples of :meth:`forward` in consecutive pieces ``(B, 1, 320 frames)``, in bounded memory.

        Each piece is computed with the neighbours that it depends on, so the pieces joined are the whole up to
        rounding. The last one is shorter.
        """
        reach, length = self.config.reach(), z.shape[-1]
        for start in range(0, length, frames):
            stop = min(start + frames, length)
            first, last = max(0, start - reach), min(length, stop + reach)
            around = self(z[..., first:last], source[..., SOURCE_RATE * first : SOURCE_RATE * last], g)
            yield around[..., HOP * (start - first) : HOP * (stop - first)]
