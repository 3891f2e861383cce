"""The system ``hierspeech`` with networks of a few channels and weights by rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import media
from bench.api import Audio, Output, Request, WeightFile
from bench.networks import Seeded
from bench.systems.hierspeech import weight_files
from bench.systems.hierspeech.denoiser import DenoiserConfig
from bench.systems.hierspeech.face.declare import FACE, SILENT_FACE
from bench.systems.hierspeech.face.generator import TTVFaceSizes
from bench.systems.hierspeech.parts import Sizes
from bench.systems.hierspeech.speechsr import SpeechSrConfig
from bench.systems.hierspeech.synthesizer import SynthesizerConfig
from bench.systems.hierspeech.system import HierSpeech
from bench.systems.hierspeech.ttv import TTVConfig
from bench.systems.hierspeech.w2v import MMS_300M

FEATURES = 32
SMALL = Sizes(
    ttv=TTVConfig(
        inter_channels=16,
        hidden_channels=16,
        gin_channels=32,
        feature_size=FEATURES,
        text_layers=1,
        posterior_layers=2,
        decoder_layers=2,
        flow_couplings=2,
        flow_blocks=1,
        pitch_channels=16,
    ),
    synthesizer=SynthesizerConfig(
        inter_channels=16,
        hidden_channels=16,
        upsample_initial_channel=32,
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3, 5),),
        source_kernel_sizes=(3,),
        gin_channels=32,
        feature_channels=FEATURES,
        style_hidden=32,
        semantic_layers=2,
        acoustic_layers=2,
        flow_couplings=2,
        flow_blocks=1,
    ),
    speechsr=SpeechSrConfig(8, (3,), ((1, 3, 5),)),
    denoiser=DenoiserConfig(dense_channel=8, num_tsconformers=1),
    mms={
        **MMS_300M,
        "hidden_size": FEATURES,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": [12] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    },
    mms_layer=2,
    face=TTVFaceSizes(64, 4, (4, 6, 8, 8, 8), 8, (8, 8, 8, 6, 4, 4), 4, FEATURES, 4),
)


class Remembered(Seeded):
    """The rule, whose numbers are drawn once per network: a test makes many systems."""

    def __init__(self, gains: dict[str, float]) -> None:
        super().__init__(gains)
        self._known: dict[str, dict[str, torch.Tensor]] = {}

    def fill(self, module: Any, weight: WeightFile) -> Any:
        """See :meth:`bench.networks.WeightSource.fill`."""
        if weight.name not in self._known:
            filled = super().fill(module, weight)
            self._known[weight.name] = {name: tensor.clone() for name, tensor in filled.state_dict().items()}
        module.load_state_dict(self._known[weight.name])
        return module.eval().requires_grad_(False)


SEEDED = Remembered({weight_files.SYNTHESIZER.name: 0.25, FACE.name: 2.0, SILENT_FACE.name: 1.5})


def loaded(detect: Any = None, **settings: Any) -> HierSpeech:
    """The small system, ready; of its faces those of dlib, or of ``detect``, are redrawn."""
    system = HierSpeech({"detector": "dlib", **settings}, SEEDED, detect, SMALL)
    system.load("cpu", "float32")
    return system


def voice(folder: Path, seconds: float = 1.0, gain: float = 0.3, name: str = "voice") -> Path:
    """A buzzing reference of 16 kHz; ``gain`` above 1 clips it."""
    times = np.arange(round(16000 * seconds)) / 16000
    rng = np.random.default_rng(list(name.encode()))
    samples = gain * np.sign(np.sin(2 * np.pi * rng.uniform(80, 250) * times)) + 0.01 * rng.standard_normal(len(times))
    path = folder / f"{name}.wav"
    media.write_audio(path, Audio((samples * (gain != 0)).clip(-1, 1).astype(np.float32), 16000))
    return path


def tts(reference: Path | None, text: str | None = "Place red at nine.", **changes: Any) -> Request:
    """A request for speech."""
    made = Request("k", "tts", 7, text=text, voice=reference, voice_key=None if reference is None else str(reference))
    return replace(made, **changes)


def samples(result: object) -> np.ndarray:
    """The sound of a good result."""
    assert isinstance(result, Output), result
    assert isinstance(result.audio, Audio)
    return result.audio.samples


def frames(result: object) -> np.ndarray:
    """The pictures of a good result."""
    assert isinstance(result, Output), result
    assert isinstance(result.video, np.ndarray)
    return result.video
