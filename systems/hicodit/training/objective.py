"""What a step of the stage ``dit`` descends: score entropy of all levels, and the face adapter's distance."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.systems.hicodit.joined import Joined
from bench.systems.hicodit.score_entropy import LossSettings, ScoreLoss, corrupted, draw_drops, draw_times, score_loss
from bench.systems.hicodit.sizes import Sizes
from bench.systems.hicodit.training.data import Batch
from bench.systems.hicodit.training.options import Recipe


def score(joined: Joined, batch: Batch, voice: Tensor, recipe: Recipe, seed: int) -> ScoreLoss:
    """The loss of one draw of times, masks and left-out conditions; ``voice`` (B, V) is what the network is told.

    The draws are made on the CPU, so they are the same on every device.
    """
    sizes, (rows, device) = joined.dit.sizes, (len(batch.tokens), batch.tokens.device)
    generator = torch.Generator().manual_seed(seed)
    times = draw_times(rows, generator, recipe.two_times).by_level(sizes.levels, sizes.low_levels)
    drop = draw_drops(rows, generator, recipe.drop_all, recipe.drop_each)
    uniforms = torch.rand(batch.tokens.shape, generator=generator)
    return score_at(joined, batch, voice, times.to(device), uniforms.to(device), settings(recipe), drop.to(device))


def score_at(
    joined: Joined,
    batch: Batch,
    voice: Tensor,
    times: Tensor,
    uniforms: Tensor,
    rules: LossSettings,
    drop: Tensor | None = None,
) -> ScoreLoss:
    """The loss at ``times`` (B, levels) with the masks of ``uniforms`` (B, levels, L); ``drop`` (B, 3) as in the model.

    The network may run in 16 bits; log scores and loss are float32.
    """
    sizes = joined.dit.sizes
    noised = corrupted(batch.tokens, times[..., None], uniforms, sizes.mask)
    logits = joined.dit(
        noised,
        times[:, 0],
        times[:, -1],
        joined.lip(batch.lip, batch.frames),
        voice,
        batch.emotion,
        drop,
        batch.lengths,
    )
    return score_loss(logits.float(), noised, batch.tokens, times, batch.lengths, rules)


def settings(recipe: Recipe) -> LossSettings:
    """How losses are formed and weighted."""
    sizes: Sizes = recipe.sizes
    return LossSettings(sizes.parameterisation, recipe.time_floor, recipe.level_weights)


def identity_distance(joined: Joined, batch: Batch) -> Tensor:
    """Mean over numbers and clips of |face adapter - voice|, 0-d; it trains the adapter alone (hicodit.md A.4)."""
    return (joined.dit.visual_identity(batch.face) - batch.voice).abs().mean()
