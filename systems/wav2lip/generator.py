"""Wav2Lip's generator: a masked face, a reference face and a mel window to a face that says it.

Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In the Wild", 2020; layout and
parameter names of ``Rudrabha/Wav2Lip: models/wav2lip.py`` (manifest ``wav2lip_generator.json``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bench.systems.wav2lip.blocks import ConvBN, DeconvBN, audio_encoder, residuals

HALVINGS = 5  # strided blocks of the face encoder: the map before the bottleneck has size / 32 rows
SHRINKS_BY = 32  # two to that power


@dataclass(frozen=True)
class GeneratorSizes:
    """Channels and picture size; the defaults are the published network's (36 298 035 parameters).

    ``image``: height and width of a face, a multiple of 32. ``widths``: channels after each halving, and
    ``depths`` the residual layers there. ``decoder``: channels from the smallest map to the largest.
    """

    image: int = 96
    stem: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    depths: tuple[int, ...] = (2, 3, 2, 2, 1)
    embedding: int = 512
    audio: tuple[int, int, int, int] = (32, 64, 128, 256)
    decoder: tuple[int, ...] = (512, 512, 384, 256, 128, 64)
    output: int = 32

    def __post_init__(self) -> None:
        if self.image % SHRINKS_BY or self.image <= 0:
            raise ValueError(f"image {self.image} is not a multiple of {SHRINKS_BY}")
        if len(self.widths) != HALVINGS or len(self.depths) != HALVINGS or len(self.decoder) != HALVINGS + 1:
            raise ValueError(f"{HALVINGS} widths and depths and {HALVINGS + 1} decoder sizes are needed")

    @property
    def bottleneck(self) -> int:
        """Rows of the smallest map, and the kernel that closes it."""
        return self.image // SHRINKS_BY


class Wav2LipGenerator(nn.Module):
    """See :meth:`forward`; values 0 to 1, channels in OpenCV's order (blue, green, red) throughout."""

    def __init__(self, sizes: GeneratorSizes = GeneratorSizes()) -> None:
        super().__init__()
        self.sizes = sizes
        self.face_encoder_blocks = nn.ModuleList(_face_encoder(sizes))
        self.audio_encoder = audio_encoder(sizes.audio, sizes.embedding, last_residuals=1)
        self.face_decoder_blocks = nn.ModuleList(_face_decoder(sizes))
        last = sizes.decoder[-1] + sizes.stem
        self.output_block = nn.Sequential(ConvBN(last, sizes.output), nn.Conv2d(sizes.output, 3, 1), nn.Sigmoid())

    def forward(self, audio: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
        """A face per mel window: (B, 1, 80, 16) and (B, 6, S, S) to (B, 3, S, S).

        Or windows of T frames: (B, T, 1, 80, 16) and (B, 6, T, S, S) to (B, 3, T, S, S); which form it is, the
        rank of ``face`` says. Channels 0 to 2 of ``face`` are the frame to redraw, its lower half zero; 3 to 5 the
        reference.
        """
        if face.dim() == 4:
            return self.decode(self.encode_audio(audio), self.encode_face(face))
        batch, _, frames = face.shape[:3]
        made = self(time_major(audio), time_major(face.transpose(1, 2)))  # (T·B, 3, S, S)
        return torch.stack(made.split(batch), dim=2) if frames else made.new_zeros((batch, 3, *face.shape[2:]))

    def encode_audio(self, audio: torch.Tensor) -> torch.Tensor:
        """Mel windows (B, 1, 80, 16) to (B, E, 1, 1)."""
        embedding: torch.Tensor = self.audio_encoder(audio)
        return embedding

    def encode_face(self, face: torch.Tensor) -> list[torch.Tensor]:
        """(B, 6, S, S) to seven maps, from (B, 16, S, S) to (B, E, 1, 1); they do not depend on the audio."""
        maps: list[torch.Tensor] = []
        for block in self.face_encoder_blocks:
            face = block(face)
            maps.append(face)
        return maps

    def decode(self, audio: torch.Tensor, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """An audio embedding (B, E, 1, 1) and the face's maps to a face (B, 3, S, S)."""
        x = audio
        for block, skip in zip(self.face_decoder_blocks, reversed(maps), strict=True):
            x = torch.cat([block(x), skip], dim=1)
        face: torch.Tensor = self.output_block(x)
        return face


def time_major(x: torch.Tensor) -> torch.Tensor:
    """(B, T, …) to (T·B, …): all of the first frame, then all of the second."""
    return x.transpose(0, 1).flatten(0, 1)


def _face_encoder(sizes: GeneratorSizes) -> list[nn.Module]:
    blocks: list[nn.Module] = [nn.Sequential(ConvBN(6, sizes.stem, 7, 1, 3))]
    inside = sizes.stem
    for width, depth in zip(sizes.widths, sizes.depths, strict=True):
        blocks.append(nn.Sequential(ConvBN(inside, width, 3, 2), *residuals(width, depth)))
        inside = width
    code = sizes.embedding
    blocks.append(nn.Sequential(ConvBN(inside, code, sizes.bottleneck, 1, 0), ConvBN(code, code, 1, 1, 0)))
    return blocks


def _face_decoder(sizes: GeneratorSizes) -> list[nn.Module]:
    code = sizes.embedding
    skips = (code, *reversed(sizes.widths))  # of the blocks before each deconvolution
    first, *rest = sizes.decoder
    blocks: list[nn.Module] = [
        nn.Sequential(ConvBN(code, code, 1, 1, 0)),
        nn.Sequential(DeconvBN(code + skips[0], first, sizes.bottleneck, 1, 0), *residuals(first, 1)),
    ]
    inside = first
    for width, skip in zip(rest, skips[1:], strict=True):
        blocks.append(nn.Sequential(DeconvBN(inside + skip, width, 3, 2, 1, 1), *residuals(width, 2)))
        inside = width
    return blocks
