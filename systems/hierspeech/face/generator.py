"""The talking face: a frame without its lower half, an identity, and speech features to a face that speaks.

The skeleton is PLGAN's (arXiv 2307.09368) without its audio encoder, as the shared-latent paper has it: the window
of speech features stands beside the embedding of the face where the decoder begins. Sizes and details that the
papers leave open are of our own design (tfg.md 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from bench.systems.hierspeech.face.blocks import ConvBN, DeconvBN, residuals
from bench.systems.hierspeech.face.windows import WINDOW

HALVINGS = 5
SHRINKS_BY = 32  # two to that power
LEAST_STD = 1e-3
_DEPTH = 2  # residual layers after each strided convolution

Maps = Sequence[torch.Tensor]


@dataclass(frozen=True)
class TTVFaceSizes:
    """Channels and sizes; the defaults are the full network (44.2 million parameters at 96 px).

    ``image``: height and width of a face, a multiple of 32. ``widths``: channels after each halving.
    ``decoder``: channels from the smallest map to the largest. A window has ``window`` vectors of ``features`` numbers.
    """

    image: int = 96
    stem: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    embedding: int = 512
    decoder: tuple[int, ...] = (512, 384, 256, 128, 64, 64)
    window: int = WINDOW
    features: int = 1024
    output: int = 32

    def __post_init__(self) -> None:
        if self.image % SHRINKS_BY or self.image <= 0:
            raise ValueError(f"image {self.image} is not a multiple of {SHRINKS_BY}")
        if len(self.widths) != HALVINGS or len(self.decoder) != HALVINGS + 1:
            raise ValueError(f"{HALVINGS} widths and {HALVINGS + 1} decoder sizes are needed")

    @property
    def bottleneck(self) -> int:
        """Rows of the smallest map, the kernel that closes it and that of the first deconvolution."""
        return self.image // SHRINKS_BY


#: The configuration that two CPU cores train in minutes (1.42 million parameters; tfg.md 2.6).
TINY = TTVFaceSizes(64, 8, (16, 24, 32, 48, 64), 64, (64, 48, 32, 24, 16, 16))


class FaceEncoder(nn.Module):
    """A face (B, 3, S, S) to seven maps, from (B, 16, S, S) to (B, E, 1, 1)."""

    def __init__(self, sizes: TTVFaceSizes) -> None:
        super().__init__()
        blocks: list[nn.Module] = [ConvBN(3, sizes.stem, 7, 1, 3)]
        inside = sizes.stem
        for width in sizes.widths:
            blocks.append(nn.Sequential(ConvBN(inside, width, 3, 2), *residuals(width, _DEPTH)))
            inside = width
        code = sizes.embedding
        blocks.append(nn.Sequential(ConvBN(inside, code, sizes.bottleneck, 1, 0), ConvBN(code, code, 1, 1, 0)))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, face: torch.Tensor) -> list[torch.Tensor]:
        """The maps, the largest first."""
        maps: list[torch.Tensor] = []
        for block in self.blocks:
            face = block(face)
            maps.append(face)
        return maps


class TTVFace(nn.Module):
    """See :meth:`forward`. Faces are RGB in 0…1.

    ``feat_mean`` and ``feat_std`` (D,) standardise speech features, ``silence`` (W, D) is the window of
    digital silence, for a network of this class that closes lips (:meth:`silenced`).
    """

    feat_mean: torch.Tensor
    feat_std: torch.Tensor
    silence: torch.Tensor

    def __init__(self, sizes: TTVFaceSizes = TTVFaceSizes()) -> None:
        super().__init__()
        self.sizes = sizes
        code = sizes.embedding
        self.identity_encoder = FaceEncoder(sizes)
        self.pose_encoder = FaceEncoder(sizes)
        self.fuse = ConvBN(2 * code, code, 1, 1, 0)
        self.decoder = nn.ModuleList(_decoder(sizes))
        last = sizes.decoder[-1] + 2 * sizes.stem
        self.out = nn.Sequential(ConvBN(last, sizes.output), nn.Conv2d(sizes.output, 3, 1), nn.Sigmoid())
        self.register_buffer("feat_mean", torch.zeros(sizes.features))
        self.register_buffer("feat_std", torch.ones(sizes.features))
        self.register_buffer("silence", torch.zeros(sizes.window, sizes.features))

    @torch.no_grad()
    def set_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Take over the statistics (D,) of a training set's features."""
        self.feat_mean.copy_(mean)
        self.feat_std.copy_(std.clamp_min(LEAST_STD))

    def forward(self, pose: torch.Tensor, identity: torch.Tensor, speech: torch.Tensor) -> torch.Tensor:
        """Masked frames (B, 3, S, S), identities (B, 3, S, S) and windows (B, W, D) to faces (B, 3, S, S).

        With a further axis for frames behind B, all three and the result have it.
        """
        if pose.dim() == 5:
            made = self(pose.flatten(0, 1), identity.flatten(0, 1), speech.flatten(0, 1))
            return made.unflatten(0, pose.shape[:2])  # type: ignore[no-any-return]
        return self.decode(self.pose_encoder(pose), self.identity_encoder(identity), self.hear(speech))

    def hear(self, speech: torch.Tensor) -> torch.Tensor:
        """What windows (B, W, D) add to the decoder's first layer, (B, E, 1, 1).

        That layer is one matrix for face and speech together; its two parts are multiplied apart, so that speech can
        be heard for all frames of a clip at once.
        """
        standard = (speech - self.feat_mean) / self.feat_std
        heard = F.linear(standard.flatten(1), self._first().conv.weight[:, self.sizes.embedding :, 0, 0])  # (B, E)
        return heard[:, :, None, None]

    def decode(self, pose: Maps, identity: Maps, heard: torch.Tensor) -> torch.Tensor:
        """Maps of frames (B, …) and of identities (B, … or 1, …: one for all), and :meth:`hear` of the speech."""
        batch = len(heard)
        known = [m if len(m) == batch else m.expand(batch, -1, -1, -1) for m in identity]
        seen = self.fuse(torch.cat([pose[-1], known[-1]], dim=1))  # (B, E, 1, 1)
        first = self._first()
        code = F.conv2d(seen, first.conv.weight[:, : self.sizes.embedding], first.conv.bias) + heard
        x = torch.relu(first.norm(code))
        for block, of_pose, of_identity in zip(self.decoder[1:], pose[-2::-1], known[-2::-1], strict=True):
            x = torch.cat([block(x), of_pose, of_identity], dim=1)
        face: torch.Tensor = self.out(x)
        return face

    def silenced(self, reference: torch.Tensor) -> torch.Tensor:
        """Faces (B, 3, S, S) with closed lips, where this network was trained to close them."""
        speech = self.silence.expand(len(reference), -1, -1)
        return self(masked(reference), reference, speech)  # type: ignore[no-any-return]

    def _first(self) -> ConvBN:
        layer = self.decoder[0]
        if not isinstance(layer, ConvBN):
            raise TypeError(f"decoder.0 is a {type(layer).__name__}")
        return layer


def masked(faces: torch.Tensor) -> torch.Tensor:
    """Faces (…, S, S) without their lower halves."""
    out = faces.clone()
    out[..., faces.shape[-2] // 2 :, :] = 0
    return out


def _decoder(sizes: TTVFaceSizes) -> list[nn.Module]:
    code = sizes.embedding
    first, *rest = sizes.decoder
    blocks: list[nn.Module] = [
        ConvBN(code + sizes.window * sizes.features, code, 1, 1, 0),
        nn.Sequential(DeconvBN(code, first, sizes.bottleneck, 1, 0), *residuals(first, 1)),
    ]
    inside = first
    for width, skip in zip(rest, reversed(sizes.widths), strict=True):
        blocks.append(nn.Sequential(DeconvBN(inside + 2 * skip, width, 3, 2, 1, 1), *residuals(width, _DEPTH)))
        inside = width
    return blocks
