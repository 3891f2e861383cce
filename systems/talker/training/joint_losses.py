"""The losses of joint training: those of the heads and the stop predictor, and two read-outs of the states.

The read-outs make the states say early what is spoken; they are left behind after training (talker.md 14.6.2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.demo.phoneme_times import PHONEMES
from bench.systems.talker.flow_matching import CFM
from bench.systems.talker.speech_llm import SpeechLLM, SpeechLLMConfig
from bench.systems.talker.stop import IGNORED, stop_loss
from bench.systems.talker.teacher import Pairs, Teacher
from bench.systems.talker.training.joint_data import JointBatch, phonemes_of_patches
from bench.systems.talker.training.joint_options import Recipe


class ReadOuts(nn.Module):
    """What a state (R, D) says of the patch that it predicts: phonemes (R, P, 35) as logits, latents (R, C, P)."""

    def __init__(self, sizes: SpeechLLMConfig) -> None:
        super().__init__()
        width, self.frames = sizes.backbone.hidden_size, sizes.patch_size
        self.phonemes = nn.Linear(width, sizes.patch_size * len(PHONEMES))
        self.latents = nn.Linear(width, sizes.speech_dim * sizes.patch_size)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        logits: Tensor = self.phonemes(states)
        latents: Tensor = self.latents(states)
        rows = len(states)
        return logits.view(rows, self.frames, len(PHONEMES)), latents.view(rows, -1, self.frames)


class Taught(nn.Module):
    """What learns: the joint model, and its read-outs (without parameters where no loss is on them)."""

    def __init__(self, joint: SpeechLLM, recipe: Recipe) -> None:
        super().__init__()
        self.joint = joint
        reads = recipe.phoneme_weight > 0 or recipe.latent_weight > 0
        self.read_outs = ReadOuts(recipe.sizes) if reads else None

    def losses(self, batch: JointBatch, recipe: Recipe, generator: torch.Generator) -> dict[str, Tensor]:
        """Each loss without its weight, 0-d, by name; ``generator`` chooses patches, then times and noise, speech
        before motion."""
        out: Teacher = self.joint(batch.teacher)
        speech, motion = (_made(pairs, batch.makes[:, n]) for n, pairs in enumerate((out.speech, out.motion)))
        found = {
            "speech": _head_loss(self.joint.speech_cfm, out, speech, recipe.speech_share, recipe, generator),
            "motion": _head_loss(self.joint.motion_cfm, out, motion, recipe.motion_share, recipe, generator),
            "stop": stop_loss(out.stop_logits, _stop_targets(out, batch)),
        }
        if self.read_outs is not None:
            found |= _read_losses(self.read_outs, out, speech, batch, recipe)
        return found


def weighted(losses: dict[str, Tensor], recipe: Recipe) -> Tensor:
    """The sum to descend."""
    total = losses["speech"] + recipe.motion_weight * losses["motion"] + recipe.stop_weight * losses["stop"]
    for name, weight in (("phonemes", recipe.phoneme_weight), ("latents", recipe.latent_weight)):
        if weight > 0:
            total = total + weight * losses[name]
    return total


def _head_loss(
    head: CFM, out: Teacher, pairs: Pairs, share: float, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Of a random part of the patches, each several times; 0 where there are none."""
    if not len(pairs) or share == 0:
        return out.hidden.float().sum() * 0
    if share < 1:
        order = torch.randperm(len(pairs), generator=generator, device=generator.device)
        pairs = pairs.select(order[: max(1, round(share * len(pairs)))].to(pairs.item.device))
    pairs = pairs.repeated(recipe.repeats)
    return head.loss(pairs.target, pairs.mu, pairs.cond, pairs.global_cond, generator)


def _made(pairs: Pairs, makes: Tensor) -> Pairs:
    """Those of the items (B,) that make the stream; all others are given it."""
    return pairs if bool(makes.all()) else pairs.select(makes[pairs.item])


def _stop_targets(out: Teacher, batch: JointBatch) -> Tensor:
    """Labels (B, T), without those of patches after the speech of items that do not end with it."""
    slot = torch.arange(out.stop_targets.shape[1], device=out.starts.device) - out.starts[:, None]
    return out.stop_targets.masked_fill(slot >= batch.stops_until[:, None], IGNORED)


def _read_losses(
    read_outs: ReadOuts, out: Teacher, pairs: Pairs, batch: JointBatch, recipe: Recipe
) -> dict[str, Tensor]:
    if not len(pairs):  # all items are given their speech
        nothing = out.hidden.float().sum() * 0
        return dict.fromkeys(("phonemes", "accuracy", "latents"), nothing)
    logits, latents = read_outs(pairs.mu)
    found = {}
    if recipe.phoneme_weight > 0:
        spoken = phonemes_of_patches(batch.phonemes, pairs.item, pairs.patch, read_outs.frames)
        found["phonemes"] = F.cross_entropy(logits.flatten(0, 1).float(), spoken.flatten())
        found["accuracy"] = (logits.argmax(-1) == spoken).float().mean()
    if recipe.latent_weight > 0:
        found["latents"] = F.mse_loss(latents.float(), pairs.target)
    return found
