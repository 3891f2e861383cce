"""The system ``talker`` with networks of a few channels: by rule in the official layout, at random in the tiny one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hier_small import Remembered
from safetensors.torch import save_file
from torch import nn

from bench import media
from bench.api import Output, Request
from bench.systems.talker import tiny
from bench.systems.talker.backbone import BackboneConfig
from bench.systems.talker.lia_sizes import TINY64
from bench.systems.talker.lia_start import begin_as_copy
from bench.systems.talker.local_dit import DitConfig
from bench.systems.talker.mel_vae import MelVAE
from bench.systems.talker.motion_model import MotionModel
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.parts import FullSizes
from bench.systems.talker.speaker_encoder import SpeakerConfig
from bench.systems.talker.speech_llm import SpeechLLM, SpeechLLMConfig
from bench.systems.talker.system import Talker
from bench.systems.talker.text import Characters
from bench.systems.talker.wavlm import WavLMConfig
from bench.systems.talker.whisperx_vae import VAEConfig

HOP, RATE = 960, 24_000
SMALL = FullSizes(
    llm=SpeechLLMConfig(
        backbone=BackboneConfig(32, 48, 2, 4, 2, 16, 64),
        speech_dim=6,
        motion_dim=TINY64.motion_dim,
        speaker_dim=8,
        encoder_layers=1,
        encoder_heads=2,
        dit=DitConfig(32, 32, 1, 2),
    ),
    vae=VAEConfig(in_dim=2, hidden_dim=12, decoder_dim=32, z_dim=6, whisper=None),
    lia=TINY64,
    speaker=SpeakerConfig(
        WavLMConfig(
            encoder_layers=2,
            encoder_embed_dim=16,
            encoder_ffn_embed_dim=24,
            encoder_attention_heads=2,
            convolutions=((8, 10, 5), *((8, 3, 2),) * 4, *((8, 2, 2),) * 2),
            conv_pos=8,
            conv_pos_groups=2,
            num_buckets=16,
            max_distance=20,
        ),
        channels=16,
        emb_dim=8,
    ),
    front=(RATE, HOP, 6, 8),
    stats=partial(MotionStats.blank, TINY64.motion_dim),
)
SEEDED = Remembered({})
#: Nobody ends by chance: a text gives two patches.
ENDLESS: Mapping[str, Any] = {
    "stop_threshold": 0.999999,
    "stop_k": 50,
    "max_seconds": 0.32,
    "steps": 2,
    "backbone": "float32",
}


class Detector:
    """One face, in the middle of every picture."""

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        height, width = pictures.shape[1:3]
        return [np.array([(width / 4, height / 4, 3 * width / 4, 3 * height / 4, 0.9)]) for _ in pictures]


def loaded(**settings: Any) -> Talker:
    """The small system in the official layout, ready."""
    system = Talker({**ENDLESS, **settings}, SEEDED, Detector(), SMALL, Characters())
    system.load("cpu", "float32")
    return system


def own_weights(folder: Path, seed: int = 0) -> dict[str, str]:
    """Settings that name random weights of the tiny configuration, as its training writes them."""
    torch.manual_seed(seed)
    motion = MotionModel(tiny.LIA64)
    begin_as_copy(motion.generator, torch.Generator().manual_seed(seed))
    networks: dict[str, nn.Module] = {"vae": MelVAE(), "motion": motion, "joint": SpeechLLM(tiny.LLM)}
    found = {}
    for name, network in networks.items():
        path = folder / f"{name}.safetensors"
        save_file({f"{name}.{key}": tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
        found[name] = str(path)
    return found


def film(folder: Path, frames: int = 8, name: str = "film", side: int = 64) -> Path:
    """A moving gradient."""
    rng = np.random.default_rng(list(name.encode()))
    ramp = np.linspace(0, 90, side)[None, None, :, None] + 5 * np.arange(frames)[:, None, None, None]
    pictures = np.broadcast_to(rng.integers(20, 120, 3) + ramp, (frames, side, side, 3)).clip(0, 255)
    path = folder / f"{name}.mp4"
    media.write_video(path, pictures.astype(np.uint8))
    return path


def asked(task: str, **fields: Any) -> Request:
    """A request, its references kept by their paths."""
    made = Request("k", task, 7, **fields)  # type: ignore[arg-type]
    keys = {"voice_key": made.voice, "identity_key": made.identity}
    return replace(made, **{name: str(path) for name, path in keys.items() if path is not None})


def sound(result: object) -> np.ndarray:
    """The samples of a good result."""
    assert isinstance(result, Output), result
    assert result.audio is not None and not isinstance(result.audio, Path)
    return result.audio.samples


def pictures(result: object) -> np.ndarray:
    """The frames of a good result."""
    assert isinstance(result, Output), result
    assert isinstance(result.video, np.ndarray)
    return result.video
