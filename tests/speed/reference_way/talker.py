"""Talker-T2AV as the official script generates: one clip after the other, patch by patch, and nothing kept.

After ``zhenye234/Talker-T2AV: infer.py, speech_llm.py, unified_cfm.py, local_dit.py, llama4nar.py`` (specs/talker.md
1.1, 3 to 5 and 11). The backbone is transformers' Qwen3 with its own growing cache, and makes the vocabulary's scores
at every step; each of a head's steps computes both halves of the guidance, all time embeddings and all conditions
anew, and every block for every position; the host asks for the stop predictor's answer at each step. The networks
hold the weights of this project's classes. Without a prefix, as tier embedded generates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.systems.talker.flow_matching import time_grid
from bench.systems.talker.jobs import Settings
from bench.systems.talker.local_dit import time_features
from bench.systems.talker.speech_llm import TASK_T2AV, SpeechLLM


@dataclass(frozen=True)
class Asked:
    """One clip: token ``ids`` (S,), conditions of the heads, patches at most, and for a2v the known ``speech``."""

    ids: Tensor
    speaker: Tensor
    first_motion: Tensor
    bound: int
    seed: int
    speech: Tensor | None = None


class PlainTalker:
    """``passes``: 1 computes both halves of the guidance in one call of two rows, as the script does; 2 in two."""

    def __init__(self, model: SpeechLLM, settings: Settings, passes: int) -> None:
        self._model, self._settings, self._passes = model, settings, passes
        self._qwen = _qwen(model)

    @torch.no_grad()
    def generate(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """New speech latents (L, Cs) and normalised motion (L, Cm); for a2v the speech is the known one."""
        model, rule, size = self._model, self._settings, self._model.config.patch_size
        draw = torch.Generator().manual_seed(asked.seed)
        known = None if asked.speech is None else _patches(asked.speech, size)
        prompt = torch.cat([model.task_embedding.weight[TASK_T2AV][None], model.text(asked.ids)])[None]
        hidden, cache = self._step(prompt, None)
        speech, motion = (
            [torch.zeros(1, model.config.speech_dim, size)],
            [torch.zeros(1, model.config.motion_dim, size)],
        )
        streak = 0
        for step in range(asked.bound):
            if known is None and step >= rule.min_patches:
                streak = (
                    streak + 1 if torch.sigmoid(model.head_stop(hidden[:, None])).item() >= rule.stop_threshold else 0
                )
                if streak >= rule.stop_k:
                    break
            if known is None:
                speech.append(self._patch(model.speech_cfm.estimator, hidden, speech[-1], asked.speaker[None], draw))
                said = model.projector_speech(speech[-1].transpose(1, 2))
            else:
                frames, inside = known
                said = model.projector_speech(frames[step : step + 1]) * inside[step : step + 1]
                speech.append(frames[step : step + 1].transpose(1, 2))
            motion.append(self._patch(model.motion_cfm.estimator, hidden, motion[-1], asked.first_motion[None], draw))
            shown = model.projector_motion(motion[-1].transpose(1, 2))
            token = _read(model.speech_patch_encoder, said) + _read(model.motion_patch_encoder, shown)
            hidden, cache = self._step(token, cache)
        return _frames(speech[1:]), _frames(motion[1:])

    def _step(self, embedded: Tensor, cache: Any) -> tuple[Tensor, Any]:
        out = self._qwen(inputs_embeds=embedded, past_key_values=cache, use_cache=True, output_hidden_states=True)
        return out.hidden_states[-1][:, -1], out.past_key_values

    def _patch(self, estimator: Any, hidden: Tensor, before: Tensor, told: Tensor, draw: torch.Generator) -> Tensor:
        """Euler steps (1, C, P) with CFG-Zero*."""
        rule = self._settings
        x = torch.randn(1, before.shape[1], before.shape[2], generator=draw) * rule.temperature
        span = time_grid(rule.steps, rule.sway)
        still = max(1, int((rule.steps + 1) * 0.04)) if rule.zero_star else 0
        t, length = span[0], span[0] - span[1]
        for step in range(1, rule.steps + 1):
            if step > still:
                x = x - length * self._guided(estimator, x, hidden, t, before, told)
            t = t - length
            if step < rule.steps:
                length = t - span[step + 1]
        return x

    def _guided(self, estimator: Any, x: Tensor, hidden: Tensor, t: Tensor, before: Tensor, told: Tensor) -> Tensor:
        rule, empty = self._settings, torch.zeros_like(hidden)
        if self._passes == 2:
            with_it, without = (velocity(estimator, x, mu, t.view(1), before, told) for mu in (hidden, empty))
        else:
            twice = [torch.cat([one, one]) for one in (x, before, told)]
            both = velocity(estimator, twice[0], torch.cat([hidden, empty]), t.expand(2), twice[1], twice[2])
            with_it, without = both.chunk(2)
        if rule.zero_star:
            flat, other = with_it.flatten(1), without.flatten(1)
            scale = (flat * other).sum(1, keepdim=True) / ((other**2).sum(1, keepdim=True) + 1e-8)
            without = without * scale[..., None]
        return without + rule.cfg * (with_it - without)


def velocity(estimator: Any, x: Tensor, mu: Tensor, t: Tensor, before: Tensor, told: Tensor) -> Tensor:
    """The estimator's call, times and conditions included: (N, C, P)."""
    noisy, cond = estimator.in_proj(x.transpose(1, 2)), estimator.cond_proj(before.transpose(1, 2))
    voice = estimator.global_cond_proj(told)[:, None]
    dt, width = torch.zeros_like(t), estimator.width
    time = estimator.time_mlp(time_features(t, width)) + estimator.delta_time_mlp(time_features(dt, width))
    tokens = torch.cat([(mu + time)[:, None], voice, cond, noisy], dim=1)
    whole = _blocks(estimator.decoder, estimator.decoder.input_proj(tokens))
    out: Tensor = estimator.out_proj(whole[:, -x.shape[2] :]).transpose(1, 2)
    return out


def _read(encoder: Any, frames: Tensor) -> Tensor:
    """One patch of projected frames (1, P, D) as a token (1, 1, D)."""
    tokens = torch.cat([encoder.cls_token[0], encoder.input_proj(frames)], dim=1)
    return _blocks(encoder, tokens)[:, :1]


def _blocks(stack: Any, x: Tensor) -> Tensor:
    table = stack.rope(x.shape[1])
    for block in stack.blocks:
        x = block(x, table)
    out: Tensor = stack.norm(x)
    return out


def _patches(frames: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Known frames (L, C) as patches (N, P, C), zeros at the end, and what of them is known (N, P, 1)."""
    count = -(-len(frames) // size)
    inside = (torch.arange(count * size) < len(frames)).float()
    padded = F.pad(frames, (0, 0, 0, count * size - len(frames)))
    return padded.view(count, size, -1), inside.view(count, size, 1)


def _frames(patches: list[Tensor]) -> Tensor:
    return torch.cat(patches, dim=2)[0].T


def _qwen(model: SpeechLLM) -> Callable[..., Any]:
    """transformers' own class with the backbone's weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    c = model.config.backbone
    config = Qwen3Config(
        hidden_size=c.hidden_size,
        intermediate_size=c.intermediate_size,
        num_hidden_layers=c.num_hidden_layers,
        num_attention_heads=c.num_attention_heads,
        num_key_value_heads=c.num_key_value_heads,
        head_dim=c.head_dim,
        vocab_size=c.vocab_size,
        rms_norm_eps=c.rms_norm_eps,
        tie_word_embeddings=c.tie_word_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
    )
    qwen = Qwen3ForCausalLM(config).eval()
    qwen.load_state_dict(model.llm.state_dict())
    made: Callable[..., Any] = qwen
    return made
