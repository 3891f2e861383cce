"""What HiCoDiT's networks take, in a process of its own, one thread; JSON: ``hicodit_networks.py MODE …``.

``ways WAY CLIPS PASSES``: tokens of so many clips of 3 s by the shipped small model, conditions by rule. ``WAY`` is
``plain`` (:mod:`hicodit_naive`, 64 steps), ``equal`` (ours, the same steps) or ``staged`` (ours, as the small model
is run); ``PASSES``: 1 without guidance, 5 with the paper's.
``full PART SECONDS DEVICE``: published sizes, weights by rule.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hicodit_naive import example_jobs, naive_sample
from speed_kit import peak_mb, timed

from bench.detfill import fill_module
from bench.systems.hicodit.avhubert import AvHubertVisual, LipReader
from bench.systems.hicodit.codec.dac import Dac, DacCodec
from bench.systems.hicodit.guidance import PAPER, PLAIN
from bench.systems.hicodit.model import HiCoDiT
from bench.systems.hicodit.parts import joined_of
from bench.systems.hicodit.sampling import Sampler, sample
from bench.systems.hicodit.sizes import FULL

FPS, TOKENS = 25, 50  # a second
CLIP = 3  # seconds
STEPS = 64
WAYS = ("plain", "equal", "staged")
GUIDANCE = {1: PLAIN, 5: PAPER["lrs3"]}
#: Parts in published size, and what is measured of each.
PARTS = {
    "lips": "AV-HuBERT Large over 88 px mouths",
    "default": "8 + 8 blocks of width 768, tau, 32 steps, no guidance",
    "guided": "8 + 8 blocks of width 768, tau, 32 steps, the paper's guidance: five passes in one batch",
    "fast": "8 + 8 blocks of width 768, 12 + 6 steps by confidence, two passes in one batch",
    "codec": "DAC at 16 kHz, decoding",
}


def small_model() -> HiCoDiT:
    """The shipped one."""
    return joined_of(None, "cpu", small=True).dit.eval()


def way(name: str, clips: int, passes: int) -> dict[str, Any]:
    """Seconds of one way for all clips, and its tokens' hash."""
    model, guidance = small_model(), GUIDANCE[passes]
    sampler = Sampler.preset("tiny") if name == "staged" else Sampler("tau", STEPS)
    sampler = replace(sampler, guidance=guidance)
    draw = naive_sample if name == "plain" else sample
    draw(model, example_jobs(model.sizes, [TOKENS // 2]), replace(sampler, steps=1))
    jobs = example_jobs(model.sizes, [CLIP * TOKENS] * clips, seed=1)
    made: list[torch.Tensor] = []
    taken = timed(lambda: made.extend(draw(model, jobs, sampler)))
    tokens = [one.flatten().tolist() for one in made]
    return {"cpu": taken.cpu, "wall": taken.wall, "peak_mb": peak_mb(), "tokens": tokens}


def full(part: str, seconds: int, device: str) -> dict[str, Any]:
    """A part in published size over a clip of so many seconds."""
    network, call = _full(part, seconds, device)
    loaded = peak_mb()
    if device == "cuda":
        call()  # a GPU chooses its kernels in the first call
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    taken = timed(lambda: (call(), torch.cuda.synchronize() if device == "cuda" else None))
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_mb()
    count = sum(one.numel() for one in network.parameters())
    return {"cpu": taken.cpu, "wall": taken.wall, "peak_mb": peak, "loaded_mb": loaded, "parameters": count}


def _full(part: str, seconds: int, device: str) -> tuple[torch.nn.Module, Callable[[], object]]:
    if part == "lips":
        lips = fill_module(AvHubertVisual(), 1.0).to(device).eval()
        reader = LipReader(lips)
        crops = np.random.default_rng(0).integers(0, 256, (seconds * FPS, 96, 96), np.uint8)
        return lips, lambda: reader.features(crops)
    if part == "codec":
        dac = fill_module(Dac(), 1.0).to(device).eval()
        codec = DacCodec(dac)
        codes = torch.zeros(FULL.levels, seconds * TOKENS, dtype=torch.int64, device=device)
        return dac, lambda: codec.decode(codes)
    model = fill_module(HiCoDiT(FULL), 1.0).to(device).eval()
    sampler = Sampler.preset("fast" if part == "fast" else "default")
    if part != "fast":
        sampler = replace(sampler, guidance=GUIDANCE[5 if part == "guided" else 1])
    return model, lambda: sample(model, example_jobs(FULL, [seconds * TOKENS]), sampler)


def main(mode: str, *given: str) -> None:
    """One measurement as JSON."""
    torch.set_num_threads(1)
    if mode == "ways":
        found = way(given[0], int(given[1]), int(given[2]))
    else:
        found = full(given[0], int(given[1]), given[2])
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
