"""Who speaks: ECAPA-TDNN on the hidden states of WavLM, by the names of ``wavlm_large_finetune.pth`` (section 8).

Desplanques et al., "ECAPA-TDNN", 2020; ``zhenye234/Talker-T2AV: speaker_verification``, after
``microsoft/UniSpeech``. The embedding is a condition, so it is not scaled to unit length.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from bench.systems.talker.wavlm import WavLM, WavLMConfig

_TAIL = 1536  # channels in front of the pooling, whatever the others are
_BOTTLENECK = 128  # of attention and of the channels' gates
_SCALE = 8  # groups of a Res2 block
_LEAST_VARIANCE = 1e-9


@dataclass(frozen=True)
class EcapaConfig:
    """``layers``: hidden states that are weighed; ``feat_dim``: their width."""

    feat_dim: int = 1024
    channels: int = 512
    emb_dim: int = 256
    layers: int = 25


@dataclass(frozen=True)
class SpeakerConfig:
    """Sizes of the whole encoder; the defaults are the published ones."""

    wavlm: WavLMConfig = field(default_factory=WavLMConfig)
    channels: int = 512
    emb_dim: int = 256

    @property
    def ecapa(self) -> EcapaConfig:
        """Sizes of the head."""
        return EcapaConfig(self.wavlm.encoder_embed_dim, self.channels, self.emb_dim, self.wavlm.encoder_layers + 1)


class ConvReluBn(nn.Module):
    """Convolution, ReLU, batch norm, in this order; ``(B, C, T)`` to the same length."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=padding)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.bn(F.relu(self.conv(x)))
        return y


class Res2(nn.Module):
    """Groups of channels one after the other, each seeing the result of the one before; the last passes unchanged."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        width = channels // _SCALE
        self.width = width
        convs = [nn.Conv1d(width, width, kernel, padding=dilation, dilation=dilation) for _ in range(_SCALE - 1)]
        self.convs = nn.ModuleList(convs)
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(_SCALE - 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        groups = torch.split(x, self.width, 1)
        made: list[torch.Tensor] = []
        for group, conv, norm in zip(groups, self.convs, self.bns, strict=False):
            made.append(norm(F.relu(conv(made[-1] + group if made else group))))
        return torch.cat([*made, groups[-1]], 1)


class ChannelGates(nn.Module):
    """Each channel times a number that the means of all channels decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(channels, _BOTTLENECK), nn.Linear(_BOTTLENECK, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = torch.sigmoid(self.linear2(F.relu(self.linear1(x.mean(2)))))
        return x * gates[..., None]


class SERes2Block(nn.Module):
    """Pointwise, Res2, pointwise, gates, and a path around them."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.Conv1dReluBn1 = ConvReluBn(channels, channels)
        self.Res2Conv1dReluBn = Res2(channels, 3, dilation)
        self.Conv1dReluBn2 = ConvReluBn(channels, channels)
        self.SE_Connect = ChannelGates(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.SE_Connect(self.Conv1dReluBn2(self.Res2Conv1dReluBn(self.Conv1dReluBn1(x))))
        return x + y


class AttentivePooling(nn.Module):
    """``(B, C, T)`` to ``(B, 2 C)``: means and deviations over time, each frame weighed for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Conv1d(channels, _BOTTLENECK, 1), nn.Conv1d(_BOTTLENECK, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.linear2(torch.tanh(self.linear1(x))), 2)
        mean = (weights * x).sum(2)
        variance = (weights * x.square()).sum(2) - mean.square()
        return torch.cat([mean, variance.clamp_min(_LEAST_VARIANCE).sqrt()], 1)


class EcapaTdnn(nn.Module):
    """Hidden states to an embedding."""

    def __init__(self, config: EcapaConfig | None = None) -> None:
        super().__init__()
        config = config or EcapaConfig()
        channels = config.channels
        self.feature_weight = nn.Parameter(torch.zeros(config.layers))
        self.layer1 = ConvReluBn(config.feat_dim, channels, 5, 2)
        self.layer2, self.layer3, self.layer4 = (SERes2Block(channels, dilation) for dilation in (2, 3, 4))
        self.conv = nn.Conv1d(3 * channels, _TAIL, 1)
        self.pooling = AttentivePooling(_TAIL)
        self.bn = nn.BatchNorm1d(2 * _TAIL)
        self.linear = nn.Linear(2 * _TAIL, config.emb_dim)

    def weighed(self, states: torch.Tensor) -> torch.Tensor:
        """Hidden states ``(layers, B, T, D)`` as one map ``(B, D, T)``, each channel standardised over time."""
        weights = torch.softmax(self.feature_weight, 0)
        mixed = torch.einsum("l,lbtd->bdt", weights, states) + 1e-6
        return F.instance_norm(mixed)

    def pooled(self, features: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """``(B, 2 * 1536)`` of :meth:`weighed`'s map, and the outputs of the four layers on the way."""
        layers = [self.layer1(features)]
        for block in (self.layer2, self.layer3, self.layer4):
            layers.append(block(layers[-1]))
        return self.pooling(F.relu(self.conv(torch.cat(layers[1:], 1)))), tuple(layers)

    def embedded(self, states: torch.Tensor) -> torch.Tensor:
        """``(B, emb_dim)`` of hidden states ``(layers, B, T, D)``."""
        out: torch.Tensor = self.linear(self.bn(self.pooled(self.weighed(states))[0]))
        return out


class _Upstream(nn.Module):
    def __init__(self, config: WavLMConfig) -> None:
        super().__init__()
        self.model = WavLM(config)


class SpeakerEncoder(EcapaTdnn):
    """Waves at 16 kHz to embeddings."""

    def __init__(self, config: SpeakerConfig | None = None) -> None:
        config = config or SpeakerConfig()
        super().__init__(config.ecapa)
        self.feature_extract = _Upstream(config.wavlm)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """``(B, N)`` of one length, at least 400 samples, to ``(B, emb_dim)``."""
        states = self.feature_extract.model.hidden_states(list(waves))
        return self.embedded(torch.stack(states))
