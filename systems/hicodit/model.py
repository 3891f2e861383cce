"""HiCoDiT's network: tokens of all levels, partly masked, and three conditions to logits of every token.

The low stack sees the low levels, lip motion and identity; the high stack sees the low stack's output, the high levels
and the emotion (arXiv 2604.15923, section 3). The paper gives no code: names and what it leaves open are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.hicodit.blocks import Block, adaptive_norm, blocks_of, per_frame
from bench.systems.hicodit.schedule import SCHEDULE, time_features
from bench.systems.hicodit.sizes import Sizes

EMBEDDING_STD = 0.02
TIME_FEATURES = 256
#: Codec frames of one video frame (50 Hz over 25 frames a second).
FRAMES_PER_PICTURE = 2
#: Places of the conditions in drop flags ``(B, 3)``.
LIP, IDENTITY, EMOTION = range(3)


class TimeEmbedding(nn.Module):
    """A time of the diffusion to C features, by its total noise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Times ``(...)`` to ``(..., C)``."""
        out: Tensor = self.mlp(time_features(SCHEDULE.total(t), TIME_FEATURES))
        return out


class LipCondition(nn.Module):
    """Lip features at 25 frames a second to one feature per codec frame."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(size, width), nn.GELU(), nn.Linear(width, width))
        self.null = nn.Parameter(torch.empty(width))

    def forward(self, lip: Tensor, length: int, drop: Tensor | None = None) -> Tensor:
        """``(B, T, lip)`` to ``(B, length, C)``: each picture twice, the last one for what is left.

        Args:
            lip: lip features.
            length: codec frames L.
            drop: samples without the condition, ``(B,)`` bool.
        """
        frames = torch.arange(length, device=lip.device).div(FRAMES_PER_PICTURE, rounding_mode="floor")
        out: Tensor = self.mlp(lip)[:, frames.clamp_max(lip.shape[1] - 1)]
        return out if drop is None else torch.where(drop[:, None, None], self.null.to(out.dtype), out)


class IdentityCondition(nn.Module):
    """The voice vector's way into the low blocks, and the adapter that makes one of a face vector."""

    def __init__(self, face: int, voice: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(face, face), nn.GELU(), nn.Linear(face, voice))
        self.null = nn.Parameter(torch.empty(voice))
        self.proj = nn.Linear(voice, width)

    def forward(self, identity: Tensor, drop: Tensor | None = None) -> Tensor:
        """Voice vectors ``(B, voice)`` to ``(B, C)``; ``drop`` ``(B,)``: samples without the condition."""
        given = identity if drop is None else torch.where(drop[:, None], self.null, identity)
        out: Tensor = self.proj(given)
        return out


class EmotionCondition(nn.Module):
    """A learnt vector per class; the last class means "not given"."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes + 1, width)

    def forward(self, emotion: Tensor, drop: Tensor | None = None) -> Tensor:
        """Classes ``(B, J)`` to ``(B, J, C)``; ``drop`` ``(B,)``: samples without the condition."""
        null = self.embed.num_embeddings - 1
        out: Tensor = self.embed(emotion if drop is None else emotion.masked_fill(drop[:, None], null))
        return out


class Final(nn.Module):
    """Adaptive normalisation before the heads of a stack."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ada = nn.Linear(width, 2 * width)

    def modulation(self, g: Tensor) -> Tensor:
        """Conditions ``(..., C)`` to beta and gamma ``(..., 2, C)``."""
        out: Tensor = self.ada(g)
        return out.reshape(*g.shape[:-1], 2, g.shape[-1])

    def forward(self, h: Tensor, modulation: Tensor) -> Tensor:
        """``(B, L, C)`` normalised under ``(B, 2, C)``."""
        beta, gamma = modulation.unsqueeze(2).unbind(1)
        return adaptive_norm(h, gamma, beta)


@dataclass(frozen=True)
class Given:
    """Conditions of a batch as the stacks take them.

    Attributes:
        lip: ``(B, L, C)``.
        identity: ``(B, C)``.
        emotion: ``(B, J, C)``, one vector per emotion step.
        pooled: ``(B, C)``, mean of the emotion steps that the clip has.
    """

    lip: Tensor
    identity: Tensor
    emotion: Tensor
    pooled: Tensor


class HiCoDiT(nn.Module):
    """The network; its parameters are made by :meth:`initialise`.

    With ``sizes.hierarchy`` off, one stack (``high``) of all blocks sees the mean over all levels, the lip features
    and the sum of identity, emotion and both times, and serves every head.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.sizes = sizes
        self.time = TimeEmbedding(width)
        self.lip = LipCondition(sizes.lip, width)
        self.identity = IdentityCondition(sizes.face, sizes.voice, width)
        self.emotion = EmotionCondition(sizes.classes, width) if sizes.emotion else None
        self.embed = nn.ModuleList(nn.Embedding(sizes.codes + 1, width) for _ in range(sizes.levels))
        self.fuse_lip = nn.Linear(2 * width, width)
        low, high = (
            (sizes.low_blocks, sizes.high_blocks) if sizes.hierarchy else (0, sizes.low_blocks + sizes.high_blocks)
        )
        self.low = self._stack(low, dual_scale=False)
        self.high = self._stack(high, dual_scale=sizes.dual_scale)
        if sizes.hierarchy:
            self.fuse_high = nn.Linear(2 * width, width)
            self.final_low = Final(width)
        self.final_high = Final(width)
        self.heads = nn.ModuleList(nn.Linear(width, sizes.codes) for _ in range(sizes.levels))
        self.initialise()

    def _stack(self, blocks: int, dual_scale: bool) -> nn.ModuleList:
        sizes = self.sizes
        return nn.ModuleList(
            Block(sizes.width, sizes.heads, sizes.ratio, sizes.dropout, dual_scale) for _ in range(blocks)
        )

    @torch.no_grad()
    def initialise(self) -> None:
        """First values: the prediction is uniform, every block passes its input on, temporal factors are one."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=EMBEDDING_STD)
        for null in (self.lip.null, self.identity.null):
            nn.init.normal_(null, std=EMBEDDING_STD)
        for name, parameter in self.named_parameters():
            if ".ada." in name or name.startswith("heads.") or name.endswith("temporal.2.weight"):
                nn.init.zeros_(parameter)
            elif name.endswith("temporal.2.bias"):
                nn.init.ones_(parameter)

    @property
    def low_range(self) -> range:
        """Levels whose logits come from the low stack."""
        return range(self.sizes.low_levels if self.sizes.hierarchy else 0)

    @property
    def high_range(self) -> range:
        """Levels whose logits come from the high stack."""
        return range(len(self.low_range), self.sizes.levels)

    def visual_identity(self, face: Tensor) -> Tensor:
        """Face vectors ``(B, face)`` to voice vectors ``(B, voice)`` of unit norm."""
        return F.normalize(self.identity.mlp(face), dim=-1)

    def tokens(self, x: Tensor, levels: range) -> Tensor:
        """Mean of the embeddings of some levels of ``(B, levels, L)``: ``(B, L, C)``."""
        return torch.stack([self.embed[level](x[:, level]) for level in levels]).mean(0)

    def given(
        self, lip: Tensor, identity: Tensor, emotion: Tensor, drop: Tensor | None, lengths: Tensor | None, length: int
    ) -> Given:
        """Conditions as the stacks take them; arguments as in :meth:`forward`, ``length`` is L."""
        drops = (None, None, None) if drop is None else drop.bool().unbind(1)
        steps = self.emotion_steps(emotion, drops[EMOTION])
        return Given(
            self.lip(lip, length, drops[LIP]),
            self.identity(identity, drops[IDENTITY]),
            steps,
            self.pooled(steps, lengths),
        )

    def emotion_steps(self, emotion: Tensor, drop: Tensor | None = None) -> Tensor:
        """Classes ``(B, J)`` to ``(B, J, C)``; zeros for a model without emotion."""
        if self.emotion is None:
            return self.lip.null.new_zeros(*emotion.shape, self.sizes.width)
        out: Tensor = self.emotion(emotion, drop)
        return out

    def pooled(self, steps: Tensor, lengths: Tensor | None) -> Tensor:
        """Mean ``(B, C)`` over the emotion steps that each sample's length has."""
        if lengths is None:
            return steps.mean(1)
        counts = -(-lengths // self.sizes.stride)
        valid = torch.arange(steps.shape[1], device=steps.device) < counts[:, None]
        return (steps * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)

    def forward(
        self,
        x: Tensor,
        t_low: Tensor,
        t_high: Tensor,
        lip: Tensor,
        identity: Tensor,
        emotion: Tensor,
        drop: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Logits ``(B, levels, L, K)`` of every token.

        Args:
            x: tokens ``(B, levels, L)`` int64; K is the mask.
            t_low: time of the low levels ``(B,)``, in 0 … 1.
            t_high: time of the high levels ``(B,)``.
            lip: lip features ``(B, T, lip)`` at 25 frames a second.
            identity: voice vectors ``(B, voice)``.
            emotion: class per emotion step ``(B, J)`` int64, with ``J * stride >= L``.
            drop: conditions to leave out, ``(B, 3)``: lip, identity, emotion; None: none.
            lengths: codec frames of each sample ``(B,)``; later frames are padding. None: all are L.
        """
        length = x.shape[2]
        given = self.given(lip, identity, emotion, drop, lengths, length)
        keys = key_mask(lengths, length)
        early, late = self.time(t_low), self.time(t_high)
        logits = []
        if self.sizes.hierarchy:
            g = F.silu(early + given.identity)
            h = self.fuse_lip(torch.cat((self.tokens(x, self.low_range), given.lip), -1))
            for block in blocks_of(self.low):
                h = block(h, block.modulation(g), None, keys)
            logits.append(self._read(self.final_low, h, g, self.low_range))
            h = self.fuse_high(torch.cat((h, self.tokens(x, self.high_range)), -1))
            g = F.silu(given.pooled + late)
        else:
            h = self.fuse_lip(torch.cat((self.tokens(x, self.high_range), given.lip), -1))
            g = F.silu(early + late + given.identity + given.pooled)
        q = given.emotion + late[:, None]
        for block in blocks_of(self.high):
            factors = block.factors(q)
            frames = None if factors is None else per_frame(factors, self.sizes.stride, length)
            h = block(h, block.modulation(g), frames, keys)
        logits.append(self._read(self.final_high, h, g, self.high_range))
        return torch.cat(logits, 1)

    def _read(self, final: Final, h: Tensor, g: Tensor, levels: range) -> Tensor:
        """Logits ``(B, n, L, K)`` of some levels."""
        h = final(h, final.modulation(g))
        return torch.stack([self.heads[level](h) for level in levels], 1)


def key_mask(lengths: Tensor | None, length: int) -> Tensor | None:
    """Which of ``length`` frames are no padding, ``(B, 1, 1, length)`` bool; None where all are valid."""
    if lengths is None:
        return None
    return (torch.arange(length, device=lengths.device) < lengths[:, None])[:, None, None]
