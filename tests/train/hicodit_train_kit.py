"""Clips with made-up records for the stage ``dit``: grey levels of a mouth that tell which codes are spoken."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.api import Clip, Unscorable
from bench.progress import Progress
from bench.records import Source
from bench.systems.hicodit.identity import STATISTICS
from bench.systems.hicodit.sizes import Sizes
from bench.systems.hicodit.training.options import RECIPES, Recipe
from bench.systems.hicodit.training.records import ClipRecord
from bench.train_request import TrainRequest

SIZES = Sizes(
    levels=4,
    codes=8,
    width=16,
    heads=2,
    ratio=2,
    low_blocks=1,
    high_blocks=1,
    lip=16,
    face=6,
    voice=64,
)


def small(**changes: object) -> Recipe:
    """The tiny recipe for a network of a few thousand parameters."""
    given = {"sizes": SIZES, "batch_size": 4, "warm_up": 2, "crop": (16, 16), "eval_clips": 3, **changes}
    return replace(RECIPES["tiny"], **given)  # type: ignore[arg-type]


def dit_clip(number: int, frames: int = 20, speaker: str | None = "", text: str | None = None) -> Clip:
    """A clip that only :class:`FakeMakers` can read; speakers are two, in turn."""
    name = f"c{number:02d}"
    digest = hashlib.sha256(f"{name} {frames}".encode()).hexdigest()
    source = Source(Path(f"{name}.mp4"))  # nobody opens it
    who = f"s{number % 2}" if speaker == "" else speaker
    return Clip(name, "demo", "train", source, source, text or f"text {number}", digest, frames, who)


class FakeCodec:
    """A tone for each code of the first level, 0.02 s of it at 16 kHz."""

    name = "fake"
    sample_rate = 16_000

    def hash(self) -> str:
        """No real one."""
        return "0123"

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """(320 L,) of (levels, L)."""
        phase = torch.cumsum((codes[0].repeat_interleave(320) + 1) * 0.05, 0)
        return 0.1 * torch.sin(phase)


class FakeMakers:
    """Records that follow the clip's number; ``made`` counts. A frame's brightness is its codes'."""

    identity = "fake"
    codec = FakeCodec()

    def __init__(self, bad: tuple[str, ...] = (), front: bool = True) -> None:
        self._bad, self._front = bad, front
        self.made = 0

    def make(self, clip: Clip) -> ClipRecord:
        """See :class:`bench.shards.Makers`."""
        if clip.id in self._bad:
            raise Unscorable("no_face", "nobody is seen")
        self.made += 1
        random = np.random.default_rng(int(clip.id[1:]))
        spoken = random.integers(0, SIZES.codes, clip.n_frames)
        crops = np.broadcast_to((spoken * 30)[:, None, None], (clip.n_frames, 44, 44)).astype(np.uint8)
        features = random.normal(size=(clip.n_frames, SIZES.lip)).astype(np.float16)
        voice = random.normal(size=STATISTICS if self._front else SIZES.voice) + 3 * (clip.speaker == "s1")
        return ClipRecord(
            codes=np.repeat(np.broadcast_to(spoken, (SIZES.levels, len(spoken))), 2, axis=1).astype(np.int16),
            lip=crops if self._front else features,
            face=random.normal(size=SIZES.face).astype(np.float32),
            voice=voice.astype(np.float32),
            emotion=np.array(int(clip.id[1:]) % 7, np.int8),
        )


def dit_request(
    folder: Path, clips: list[Clip], held_out: tuple[Clip, ...] = (), config: str = "tiny", **settings: object
) -> TrainRequest:
    """A request of seed 0."""
    place = folder / "cache" / "hicodit"
    return TrainRequest(config, clips, place, "test", 0, "cpu", settings, held_out, Progress(quiet=True))
