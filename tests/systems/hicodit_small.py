"""The system ``hicodit`` with a narrow model of random weights, and films with and without a face."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench import media
from bench.api import Audio, Output, Request
from bench.systems.hicodit.codec.mel_rvq import MelRvq, MelRvqCodec
from bench.systems.hicodit.front import Seen
from bench.systems.hicodit.joined import Joined
from bench.systems.hicodit.sizes import TINY
from bench.systems.hicodit.system import HiCoDiTSystem

RATE, HOP = 16_000, 640  # samples of a second, and of a video frame
SMALL = replace(TINY, width=32, heads=2, low_blocks=1, high_blocks=1, lip=24)
#: As little work as there can be; staged, as the preset ``tiny`` is.
QUICK: Mapping[str, Any] = {"steps": 2, "high_steps": 1}


def joined(seed: int = 0) -> Joined:
    """A model that follows everything that it is told: none of its matrices is zero."""
    torch.manual_seed(seed)
    made = Joined(SMALL, front=True)
    for name, tensor in made.named_parameters():
        if name.startswith("dit."):
            torch.nn.init.normal_(tensor, std=0.3)
    return made.eval().requires_grad_(False)


def codec(seed: int = 0) -> MelRvq:
    """Codebooks of no particular speech."""
    noise = torch.Generator().manual_seed(seed)
    made = MelRvq()
    made.mean.fill_(-6.0)
    made.codebooks.data = torch.randn(made.codebooks.shape, generator=noise)
    return made.eval().requires_grad_(False)


def own_weights(folder: Path, seed: int = 0, **facts: str) -> dict[str, str]:
    """Settings that name random weights as the trainings write them; ``facts`` change the model's header."""
    books = codec(seed)
    told = {"sizes": json.dumps(asdict(SMALL)), "codec": "mel_rvq", "codebooks": MelRvqCodec(books).hash()} | facts
    networks = {"dit": ("hicodit", joined(seed), told), "codec_file": ("codec", books, {})}
    found = {}
    for setting, (part, network, header) in networks.items():
        path = folder / f"{setting}.safetensors"
        tensors = {f"{part}.{key}": tensor.contiguous() for key, tensor in network.state_dict().items()}
        save_file(tensors, path, metadata=header)
        found[setting] = str(path)
    return found


def loaded(folder: Path, **settings: Any) -> HiCoDiTSystem:
    """Tier embedded on random weights, ready."""
    system = HiCoDiTSystem({"tier": "embedded", **QUICK, **own_weights(folder), **settings})
    system.load("cpu", "float32")
    return system


@dataclass
class Painted:
    """A front that looks for no face: lips and face are the brightness of a film; ``looks`` counts the films seen."""

    looks: int = 0

    def seen(self, video: Path, frames: int | None) -> Seen:
        self.looks += 1
        pictures = media.decode_video(media.Source(video)).frames
        places = np.minimum(np.arange(frames or len(pictures)), len(pictures) - 1)
        bright = torch.from_numpy(pictures[places].mean(axis=(1, 2, 3)) / 50).float()
        lip = torch.sin(bright[:, None] * torch.arange(1, SMALL.lip + 1))
        emotion = np.zeros((len(lip), SMALL.classes), np.float32)
        emotion[:, 0] = 1
        return Seen(lip, torch.sin(bright.mean() * torch.arange(1.0, SMALL.face + 1)), emotion)

    def voice(self, audio: Audio) -> torch.Tensor:
        vector = torch.sin(float(np.abs(audio.samples).mean()) * 50 * torch.arange(1.0, SMALL.voice + 1))
        return vector / vector.norm()


def painted(**settings: Any) -> HiCoDiTSystem:
    """The system with :class:`Painted` in front."""
    from bench.systems.hicodit.parts import Parts

    parts = Parts(Painted(), joined().dit, MelRvqCodec(codec()))
    system = HiCoDiTSystem({"tier": "embedded", **QUICK, **settings}, parts)
    system.load("cpu", "float32")
    return system


def portrait(side: int = 120) -> np.ndarray:
    """A face that fills most of a square picture (public domain)."""
    import cv2

    picture = pytest.importorskip("skimage.data").astronaut()[:260, 90:350]
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))


def faces(frames: int, hidden: slice | None = None) -> np.ndarray:
    """A portrait that sways (T, 128, 160, 3); in ``hidden`` frames there is nothing but grey."""
    out = np.full((frames, 128, 160, 3), 127, np.uint8)
    for index in range(frames):
        left = 18 + round(3 * np.sin(index / 4))
        out[index, 4:124, left : left + 120] = portrait()
    if hidden is not None:
        out[hidden] = 127
    return out


def film(path: Path, pictures: np.ndarray, fps: int = 25) -> Path:
    """A video file at any rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def gradient(folder: Path, frames: int, name: str) -> Path:
    """A small film without a face, whose brightness goes up and down in a way of its own."""
    rng = np.random.default_rng(list(name.encode()))
    levels = 110 + 60 * np.sin(np.arange(frames) * rng.uniform(0.2, 0.8) + rng.uniform(0, 6))
    pictures = np.broadcast_to(levels[:, None, None, None], (frames, 32, 32, 3))
    path = folder / f"{name}.mp4"
    media.write_video(path, pictures.astype(np.uint8))
    return path


def spoken(folder: Path, seconds: float = 1.0, gain: float = 0.3, name: str = "voice", pitch: float = 140) -> Path:
    """A buzz in a WAV file."""
    times = np.arange(round(seconds * RATE)) / RATE
    samples = gain * np.sign(np.sin(2 * np.pi * pitch * times)) * (0.6 + 0.4 * np.sin(9 * times))
    path = folder / f"{name}.wav"
    media.write_audio(path, Audio(samples.astype(np.float32), RATE))
    return path


def asked(video: Path | None, frames: int | None = None, **fields: Any) -> Request:
    """A request, its reference kept by its path."""
    made = Request("k", "vts", fields.pop("seed", 7), video=video, n_frames=frames, **fields)
    return made if made.voice is None else replace(made, voice_key=str(made.voice))


def sound(result: object) -> np.ndarray:
    """The samples of a good result."""
    assert isinstance(result, Output), result
    assert isinstance(result.audio, Audio)
    assert result.audio.rate == RATE
    assert np.isfinite(result.audio.samples).all()
    return result.audio.samples
