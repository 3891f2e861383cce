"""MP-SENet, the denoiser of prompts: magnitude mask and phase from the compressed spectrum.

Facts: specs/hierspeech.md, section 7 (``sh-lee-prml/HierSpeechpp: denoiser/generator.py, denoiser/infer.py``).
Never batch clips: the attention runs over items too (see :mod:`bench.systems.hierspeech.conformer`), so B is 1.
The phases of the first and last frames are rounding noise around +-pi, and the network reads them: what it makes of a
prompt is not reproducible bit for bit on another platform. Keep the denoised prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench.errors import DataError
from bench.systems.hierspeech import weight_files
from bench.systems.hierspeech.conformer import Conformer

WEIGHTS = weight_files.DENOISER
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class DenoiserConfig:
    """Settings by the names of ``denoiser/config.json``."""

    dense_channel: int = 64
    num_tsconformers: int = 4
    n_fft: int = 400
    hop_size: int = 100
    win_size: int = 400
    compress_factor: float = 0.3
    beta: float = 2.0

    @property
    def bins(self) -> int:
        """Bins of the spectrum."""
        return self.n_fft // 2 + 1


class DenseBlock(nn.Module):
    """Four convolutions, dilated in time, each of which sees all outputs before it: (B, C, T, F) as it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense_block = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d((i + 1) * channels, channels, 3, dilation=(2**i, 1), padding=(2**i, 1)),
                nn.InstanceNorm2d(channels, affine=True),
                nn.PReLU(channels),
            )
            for i in range(_DEPTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x
        for i, layer in enumerate(self.dense_block):
            x = layer(seen)
            if i < _DEPTH - 1:
                seen = torch.cat([x, seen], dim=1)  # the newest first
        return x


class DenseEncoder(nn.Module):
    """Magnitude and phase (B, 2, T, F) to (B, C, T, F') with F' = (F - 3) // 2 + 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense_conv_1 = nn.Sequential(
            nn.Conv2d(2, channels, 1), nn.InstanceNorm2d(channels, affine=True), nn.PReLU(channels)
        )
        self.dense_block = DenseBlock(channels)
        self.dense_conv_2 = nn.Sequential(
            nn.Conv2d(channels, channels, (1, 3), (1, 2)),
            nn.InstanceNorm2d(channels, affine=True),
            nn.PReLU(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.dense_conv_2(self.dense_block(self.dense_conv_1(x)))
        return y


class TSConformer(nn.Module):
    """A conformer along time, then one along frequency, each with a residual: (B, C, T, F) as it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.time_conformer = Conformer(channels)
        self.freq_conformer = Conformer(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, t, f = x.shape
        x = x.permute(0, 3, 2, 1).reshape(b * f, t, c)
        x = self.time_conformer(x) + x
        x = x.view(b, f, t, c).transpose(1, 2).reshape(b * t, f, c)
        x = self.freq_conformer(x) + x
        return x.view(b, t, f, c).permute(0, 3, 1, 2)


class LearnableSigmoid(nn.Module):
    """``beta * sigmoid(slope_f x)`` of (B, F, T)."""

    def __init__(self, bins: int, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.slope = nn.Parameter(torch.ones(bins, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.beta * torch.sigmoid(self.slope * x)


class MaskDecoder(nn.Module):
    """(B, C, T, F') to the factor of the magnitude (B, F, T) in 0 to ``beta``."""

    def __init__(self, channels: int, bins: int, beta: float) -> None:
        super().__init__()
        self.dense_block = DenseBlock(channels)
        self.mask_conv = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, (1, 3), (1, 2)),
            nn.Conv2d(channels, 1, 1),
            nn.InstanceNorm2d(1, affine=True),
            nn.PReLU(1),
            nn.Conv2d(1, 1, 1),
        )
        self.lsigmoid = LearnableSigmoid(bins, beta)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.mask_conv(self.dense_block(x))  # (B, 1, T, F)
        factor: torch.Tensor = self.lsigmoid(y[:, 0].transpose(1, 2))
        return factor


class PhaseDecoder(nn.Module):
    """(B, C, T, F') to the phase (B, F, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense_block = DenseBlock(channels)
        self.phase_conv = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, (1, 3), (1, 2)),
            nn.InstanceNorm2d(channels, affine=True),
            nn.PReLU(channels),
        )
        self.phase_conv_r = nn.Conv2d(channels, 1, 1)
        self.phase_conv_i = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.phase_conv(self.dense_block(x))
        phase = torch.atan2(self.phase_conv_i(x), self.phase_conv_r(x))  # (B, 1, T, F)
        return phase[:, 0].transpose(1, 2)


class Denoiser(nn.Module):
    """The network, and :meth:`denoise` for audio."""

    def __init__(self, config: DenoiserConfig | None = None) -> None:
        super().__init__()
        self.config = config or DenoiserConfig()
        channels = self.config.dense_channel
        self.dense_encoder = DenseEncoder(channels)
        self.TSConformer = nn.ModuleList(TSConformer(channels) for _ in range(self.config.num_tsconformers))
        self.mask_decoder = MaskDecoder(channels, self.config.bins, self.config.beta)
        self.phase_decoder = PhaseDecoder(channels)

    def forward(self, magnitude: torch.Tensor, phase: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compressed magnitude and phase (1, F, T) of noisy speech to those of clean speech.

        Raises:
            DataError: more than one item.
        """
        if magnitude.shape[0] != 1:
            raise DataError(f"a batch of {magnitude.shape[0]} clips for the denoiser", "give one clip at a time.")
        x = self.dense_encoder(torch.stack([magnitude, phase], dim=1).transpose(2, 3))
        for block in self.TSConformer:
            x = block(x)
        return magnitude * self.mask_decoder(x), self.phase_decoder(x)

    @torch.inference_mode()
    def denoise(self, audio: torch.Tensor) -> torch.Tensor:
        """``audio`` (1, N), N a multiple of the hop, denoised: (1, N). Silence is returned as it is."""
        power = audio.square().sum()
        if power == 0:
            return audio
        norm = torch.sqrt(audio.shape[-1] / power)
        return self.synthesise(*self(*self.analyse(audio * norm))) / norm

    def analyse(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compressed magnitude and phase (B, F, T) of (B, N); T = N // hop + 1."""
        sizes, window = self._frames(audio)
        spectrum = torch.stft(audio, *sizes, window, pad_mode="reflect", return_complex=True)
        return spectrum.abs() ** self.config.compress_factor, spectrum.angle()

    def synthesise(self, magnitude: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
        """The audio (B, hop (T - 1)) of compressed magnitude and phase (B, F, T)."""
        spectrum = torch.polar(magnitude ** (1 / self.config.compress_factor), phase)
        sizes, window = self._frames(magnitude)
        audio: torch.Tensor = torch.istft(spectrum, *sizes, window)
        return audio

    def _frames(self, like: torch.Tensor) -> tuple[tuple[int, int, int], torch.Tensor]:
        """Size, hop and window length of the transform, and the window itself."""
        config = self.config
        window = torch.hann_window(config.win_size, dtype=like.dtype, device=like.device)
        return (config.n_fft, config.hop_size, config.win_size), window
