"""The network of UTMOS' strong learner: wav2vec 2.0 (base), domain and judge vectors, BLSTM, projection.

Parameter names are those of the public checkpoint (``tarepan/SpeechMOS: speechmos/utmos22/strong/model.py,
fairseq_alt.py``), so that it loads strictly. A. Baevski et al., "wav2vec 2.0", NeurIPS 2020, for the front end.

The original pads an odd number of frames with a step of zeros, hides that step from attention and cuts it off
again. Nothing else in the encoder looks across frames, so no value depends on it, and here it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PIECE = 500  # frames (10 s) of the front end at a time: bounds the memory of long recordings


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the network and the line that turns its mean into a score."""

    convolutions: tuple[tuple[int, int], ...]  # (kernel, stride) of each
    conv_channels: int
    width: int
    heads: int
    ffn: int
    layers: int
    pos_kernel: int
    pos_groups: int
    emb: int
    lstm: int
    proj: int
    scale: float
    offset: float

    @classmethod
    def of(cls, parameters: Mapping[str, Any], **changed: Any) -> Sizes:
        """Of the parameters of ``utmos/strong-learner@1``, entries of ``network`` replaced by ``changed``."""
        net = {**parameters["network"], **changed}
        return cls(
            convolutions=tuple((int(kernel), int(stride)) for kernel, stride in net["convolutions"]),
            conv_channels=net["conv_channels"],
            width=net["width"],
            heads=net["heads"],
            ffn=net["ffn"],
            layers=net["layers"],
            pos_kernel=net["pos_conv"]["kernel"],
            pos_groups=net["pos_conv"]["groups"],
            emb=net["emb"],
            lstm=net["lstm"],
            proj=net["proj"],
            scale=parameters["score_scale"],
            offset=parameters["score_offset"],
        )


class StrongLearner(nn.Module):
    """Waves (B, N) at 16 kHz to scores (B,). All waves of a batch have one length: there is no input mask."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self._scale, self._offset = sizes.scale, sizes.offset
        self.wav2vec2 = Wav2Vec2(sizes)
        self.domain_emb = nn.Parameter(torch.zeros(1, sizes.emb))
        self.judge_emb = nn.Parameter(torch.zeros(1, sizes.emb))
        self.blstm = nn.LSTM(sizes.width + 2 * sizes.emb, sizes.lstm, batch_first=True, bidirectional=True)
        self.projection = nn.Sequential(nn.Linear(2 * sizes.lstm, sizes.proj), nn.ReLU(), nn.Linear(sizes.proj, 1))

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of waves (B, N), N at least the 400 samples of one frame."""
        return self.judge(self.wav2vec2(waves))

    def judge(self, features: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of the transformer's output (B, T, width)."""
        shape = (*features.shape[:2], -1)
        given = [vector.expand(shape) for vector in (self.domain_emb, self.judge_emb)]
        hidden, _ = self.blstm(torch.cat([features, *given], dim=2))  # (B, T, 2 * lstm)
        votes: torch.Tensor = self.projection(hidden)[..., 0]  # (B, T)
        return votes.mean(dim=1) * self._scale + self._offset

    def settle(self) -> StrongLearner:
        """Compute what depends on the weights alone, once they are filled and on their device; returns itself."""
        for module in self.modules():
            if isinstance(module, PositionalConvolution):
                module.settle()
        return self

    @torch.inference_mode()
    def rate(self, waves: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (B,) of waves (B, N), on the device of the weights."""
        device = self.domain_emb.device
        scores: NDArray[np.float32] = self(torch.from_numpy(waves.copy()).to(device)).cpu().numpy()
        return scores


class Wav2Vec2(nn.Module):
    """Waves (B, N) to features (B, T, width), T = 1 + (N - 400) // 320 with the sizes of the base model."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.mask_emb = nn.Parameter(torch.zeros(sizes.width))  # of the training alone; the checkpoint has it
        self.feature_extractor = FrontEnd(sizes)
        self.layer_norm = nn.LayerNorm(sizes.conv_channels)
        self.post_extract_proj = nn.Linear(sizes.conv_channels, sizes.width)
        self.encoder = Encoder(sizes)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.encoder(self.post_extract_proj(self.layer_norm(self.feature_extractor(waves))))
        return features


class FrontEnd(nn.Module):
    """Convolutions over the wave, each followed by GELU; the first one's channels are normalised over time."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self._span, self._hop = receptive_field(sizes.convolutions)
        width, layers = sizes.conv_channels, []
        for i, (kernel, stride) in enumerate(sizes.convolutions):
            convolution = nn.Conv1d(1 if i == 0 else width, width, kernel, stride, bias=False)
            # Place 1 is the original's dropout; place 2 is a norm in the first layer alone.
            norm = [nn.GroupNorm(width, width)] if i == 0 else []
            layers.append(nn.Sequential(convolution, nn.Identity(), *norm))
        self.conv_layers = nn.ModuleList(layers)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """Waves (B, N) to features (B, T, channels)."""
        return torch.cat(list(self.pieces(waves)), dim=1)

    def pieces(self, waves: torch.Tensor) -> Iterator[torch.Tensor]:
        """Features (B, n, channels) of consecutive frames, n <= 500, of waves (B, N).

        No convolution pads, so a piece needs its own samples alone, and the norm of the whole wave.
        """
        n_frames = 1 + (waves.shape[1] - self._span) // self._hop
        scale, shift = self._whole_norm(waves)
        for first in range(0, n_frames, _PIECE):
            last = min(first + _PIECE, n_frames) - 1
            part = waves[:, None, first * self._hop : last * self._hop + self._span]
            hidden = functional.gelu(torch.addcmul(shift, self._first[0](part), scale))
            for layer in list(self.conv_layers)[1:]:
                hidden = functional.gelu(layer(hidden))
            yield hidden.transpose(1, 2)

    @property
    def _first(self) -> tuple[nn.Conv1d, nn.GroupNorm]:
        """Convolution and norm of the first layer."""
        layer = cast(nn.Sequential, self.conv_layers[0])
        return cast(nn.Conv1d, layer[0]), cast(nn.GroupNorm, layer[2])

    def _whole_norm(self, waves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor and summand (B, channels, 1) that the first layer's norm comes to on the whole waves (B, N).

        A channel is a weighted sum w of the samples in a window. So its mean over time is w·m and its
        variance w'Cw, with mean m and covariance C of the windows: 10 numbers and 100, in float64.
        """
        convolution, norm = self._first
        windows = waves.double().unfold(1, convolution.kernel_size[0], convolution.stride[0])  # (B, T, 10)
        mean = windows.mean(dim=1, keepdim=True)
        centred = windows - mean
        covariance = centred.transpose(1, 2) @ centred / windows.shape[1]  # (B, 10, 10)
        weight = convolution.weight[:, 0].double()  # (channels, 10)
        variance = ((weight @ covariance) * weight).sum(dim=2)  # (B, channels)
        scale = norm.weight / torch.sqrt(variance + norm.eps)
        shift = norm.bias - scale * (mean @ weight.T)[:, 0]
        return scale[..., None].to(waves.dtype), shift[..., None].to(waves.dtype)


def receptive_field(convolutions: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """How many samples one frame sees, and how many lie between frames; (kernel, stride) of each layer."""
    span, hop = 1, 1
    for kernel, stride in convolutions:
        span += (kernel - 1) * hop
        hop *= stride
    return span, hop


class Encoder(nn.Module):
    """Positions by convolution, then transformer layers; (B, T, width) to (B, T, width)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(PositionalConvolution(sizes.width, sizes.pos_kernel, sizes.pos_groups))
        self.layer_norm = nn.LayerNorm(sizes.width)
        self.layers = nn.ModuleList(Layer(sizes.width, sizes.heads, sizes.ffn) for _ in range(sizes.layers))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        positions = functional.gelu(self.pos_conv(features.transpose(1, 2))).transpose(1, 2)
        hidden: torch.Tensor = self.layer_norm(features + positions)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class PositionalConvolution(nn.Module):
    """Grouped convolution (B, C, T) to (B, C, T) whose weight is normed per tap: w[..k] = g[k] v[..k] / |v[..k]|."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self._groups = groups
        self._kernel: torch.Tensor | None = None
        self.bias = nn.Parameter(torch.zeros(width))
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.ones(width, width // groups, kernel))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        taps = self.weight_v.shape[2]
        kernel = self._normed() if self._kernel is None else self._kernel
        out = functional.conv1d(features, kernel, self.bias, padding=taps // 2, groups=self._groups)
        return out[..., : features.shape[2]]  # an even kernel makes one step too many

    def settle(self) -> None:
        """Keep the weight as it comes out now; without this it is computed by every call."""
        self._kernel = self._normed().detach()

    def _normed(self) -> torch.Tensor:
        lengths: torch.Tensor = torch.linalg.vector_norm(self.weight_v, dim=(0, 1), keepdim=True)  # (1, 1, taps)
        return self.weight_g * self.weight_v / lengths


class Layer(nn.Module):
    """Self-attention and feed-forward, each added to its input and normed afterwards."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn)
        self.fc2 = nn.Linear(ffn, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = self.self_attn_layer_norm(hidden + self.self_attn(hidden))
        normed: torch.Tensor = self.final_layer_norm(hidden + self.fc2(functional.gelu(self.fc1(hidden))))
        return normed


class SelfAttention(nn.Module):
    """Every frame looks at every frame of its wave; (B, T, width) to (B, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        shape = (*hidden.shape[:2], self._heads, -1)
        query, key, value = (
            projection(hidden).view(shape).transpose(1, 2)  # (B, heads, T, width / heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = self.out_proj(mixed.transpose(1, 2).reshape(hidden.shape))
        return out
