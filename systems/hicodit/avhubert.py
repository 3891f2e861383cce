"""AV-HuBERT, its visual half alone: mouths to the last layer's hidden states at 25 Hz (hicodit.md B.1).

Shi et al., ICLR 2022; graph and parameter names of ``facebookresearch/av_hubert: avhubert/hubert.py`` and of fairseq's
wav2vec 2.0 encoder (commit afc77bdf), manifest ``avhubert_large_visual.json``; it also says what of a checkpoint is not
needed, and how fine-tuned ones name the same tensors (``avhubert/hubert_asr.py``). Where the official model joins the
two streams, that of the sound is zeros here, as it is there when there is no sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bench.nets.positional_conv import PositionalConv
from bench.systems.hicodit.avhubert_resnet import WIDTHS, VisualResNet, folded_norms
from bench.systems.hicodit.mouth_crop import LipInput


@dataclass(frozen=True)
class AvHubertSizes:
    """Those of the Large model; ``kernel`` and ``groups`` are the positional convolution's."""

    width: int = 1024
    feed_forward: int = 4096
    layers: int = 24
    heads: int = 16
    kernel: int = 128
    groups: int = 16


LARGE = AvHubertSizes()


class Attention(nn.Module):
    """Self-attention (B, T, D); ``padded`` (B, T), true where a frame is hidden from the others."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, padded: Tensor | None) -> Tensor:
        """(B, T, D) to the same."""
        q, k, v = (
            proj(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        shown = None if padded is None else ~padded[:, None, None]  # (B, 1, 1, T)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=shown)
        out: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return out


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each behind its norm."""

    def __init__(self, sizes: AvHubertSizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.width, sizes.heads)
        self.self_attn_layer_norm = nn.LayerNorm(sizes.width)
        self.fc1 = nn.Linear(sizes.width, sizes.feed_forward)
        self.fc2 = nn.Linear(sizes.feed_forward, sizes.width)
        self.final_layer_norm = nn.LayerNorm(sizes.width)

    def forward(self, x: Tensor, padded: Tensor | None) -> Tensor:
        """(B, T, D) to the same."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), padded)
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return out


class Encoder(nn.Module):
    """Positions, layers, norm."""

    def __init__(self, sizes: AvHubertSizes) -> None:
        super().__init__()
        self.pos_conv = nn.ModuleList([PositionalConv(sizes.width, sizes.kernel, sizes.groups)])
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.layers))
        self.layer_norm = nn.LayerNorm(sizes.width)

    def placed(self, x: Tensor, padded: Tensor | None = None) -> Tensor:
        """What the first layer sees of (B, T, D): with positions, and zeros where ``padded`` (B, T) is true."""
        if padded is not None:
            x = x.masked_fill(padded[..., None], 0.0)
        out: Tensor = x + self.pos_conv[0](x)
        return out

    def forward(self, x: Tensor, padded: Tensor | None = None) -> Tensor:
        """(B, T, D) to the same; padded frames change nothing, and theirs mean nothing."""
        x = self.placed(x, padded)
        for layer in self.layers:
            x = layer(x, padded)
        out: Tensor = self.layer_norm(x)
        return out


class VisualFeatures(nn.Module):
    """The ResNet and its projection: mouths (B, 1, T, H, W) to (B, D, T)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnet = VisualResNet()
        self.proj = nn.Linear(WIDTHS[-1], width)

    def forward(self, video: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.proj(self.resnet(video).mT).mT
        return out


class AvHubertVisual(nn.Module):
    """Mouths (B, 1, T, H, W), standardised, to hidden states (B, T, D)."""

    def __init__(self, sizes: AvHubertSizes = LARGE) -> None:
        super().__init__()
        self.feature_extractor_video = VisualFeatures(sizes.width)
        self.post_extract_proj = nn.Linear(2 * sizes.width, sizes.width)
        self.encoder = Encoder(sizes)
        self.layer_norm = nn.LayerNorm(2 * sizes.width)

    def forward(self, video: Tensor, padded: Tensor | None = None) -> Tensor:
        """``padded`` (B, T): true in frames behind a clip's end."""
        return self.encode(self.feature_extractor_video(video), padded)

    def encode(self, features: Tensor, padded: Tensor | None = None) -> Tensor:
        """Visual features (B, D, T) to hidden states (B, T, D)."""
        seen = features.mT
        both = torch.cat([torch.zeros_like(seen), seen], dim=2)  # sound, then picture
        out: Tensor = self.encoder(self.post_extract_proj(self.layer_norm(both)), padded)
        return out


class LipReader:
    """AV-HuBERT at work on one video, on the device of its weights, which are changed: norms are folded into them."""

    def __init__(self, network: AvHubertVisual) -> None:
        folded_norms(network.feature_extractor_video.resnet)
        self._network = network.eval()
        self._see = LipInput()

    @torch.inference_mode()
    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Grey mouths (T, 96, 96) to hidden states (T, 1024)."""
        weight = self._network.post_extract_proj.weight
        video = torch.from_numpy(self._see.of(crops)).to(weight)
        states = self._network(video[None, None])[0]
        return np.asarray(states.float().cpu().numpy(), np.float32)
