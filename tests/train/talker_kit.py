"""Clips with made-up latents for joint training: no sound, no picture, but a truth that can be learned."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.api import Clip, Unscorable
from bench.progress import Progress
from bench.records import Source
from bench.systems.talker.backbone import BackboneConfig
from bench.systems.talker.latents import Latents
from bench.systems.talker.local_dit import DitConfig
from bench.systems.talker.speech_llm import SpeechLLMConfig
from bench.systems.talker.training.joint_options import RECIPES, Recipe
from bench.train_request import TrainRequest

WORDS = ("bin", "lay", "place", "set", "blue", "green", "red", "white")
NAMES = ("b", "l", "u:", "s", "t", "_")
SIZES = SpeechLLMConfig(
    backbone=BackboneConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        vocab_size=64,
        rope_theta=1e4,
        tie_word_embeddings=False,
    ),
    speech_dim=8,
    motion_dim=4,
    speaker_dim=6,
    encoder_layers=1,
    encoder_heads=2,
    dit=DitConfig(feat_dim=16, hidden_size=16, n_layer=1, n_head=2),
)


def small(**changes: object) -> Recipe:
    """The tiny recipe for a network of a few thousand parameters."""
    plain = {"text_drop": 0.1, "whole_share": 0.3, "ahead": 0}
    return replace(RECIPES["tiny"], **{"sizes": SIZES, "batch_size": 4, "warm_up": 2, **plain, **changes})  # type: ignore[arg-type]


def joint_clip(root: Path, number: int, frames: int = 60, words: int = 3, phonemes: bool = True) -> Clip:
    """A clip whose sidecar says that six phonemes share its speech, frames 10 to ``frames`` - 10."""
    name = f"c{number:02d}"
    text = " ".join(WORDS[(number + k) % len(WORDS)] for k in range(words))
    if phonemes:
        edges = np.linspace(10, frames - 10, len(NAMES) + 1) / 25
        np.savez(root / f"{name}.npz", phonemes=NAMES, phoneme_times=np.stack((edges[:-1], edges[1:]), 1))
    digest = hashlib.sha256(f"{name} {frames} {text}".encode()).hexdigest()
    source = Source(root / f"{name}.mp4")  # nobody opens it
    return Clip(name, "demo", "train", source, source, text, digest, frames, f"s{number % 2}")


class FakeMakers:
    """Latents that follow the clip's number; ``made`` counts."""

    identity = "fake"

    def __init__(self, sizes: SpeechLLMConfig = SIZES, bad: tuple[str, ...] = ()) -> None:
        self._sizes, self._bad = sizes, bad
        self.made = 0

    def make(self, clip: Clip) -> Latents:
        if clip.id in self._bad:
            raise Unscorable("silent_audio", "nothing is heard")
        self.made += 1
        random = np.random.default_rng(int(clip.id[1:]))
        frames, sizes = clip.n_frames, self._sizes
        turn = 2 * np.pi * np.arange(frames)[:, None] / frames
        speech = np.sin(turn * random.uniform(1, 4, sizes.speech_dim)) + 0.1 * random.normal(
            size=(frames, sizes.speech_dim)
        )
        motion = 3 + np.cos(turn * random.uniform(1, 2, sizes.motion_dim))
        voice = random.normal(size=sizes.speaker_dim)
        made = [np.asfortranarray(part, np.float32) for part in (speech, motion, voice)]  # as a transposed tensor is
        return Latents(made[0], made[1], made[2], clip.transcript or "", (10, frames - 10))


def joint_request(
    folder: Path, clips: list[Clip], held_out: tuple[Clip, ...] = (), seed: int = 0, **settings: object
) -> TrainRequest:
    """A request in the tiny configuration."""
    quiet = Progress(quiet=True)
    place = folder / "cache" / "talker"
    return TrainRequest("tiny", clips, place, "test", seed, "cpu", settings, held_out, quiet)
