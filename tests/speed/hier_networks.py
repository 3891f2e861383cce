"""One network of the published size on 3 s, weights by rule: ``hier_networks.py NAME DEVICE DTYPE``.

Prints JSON. Forward only, as the system runs it (folded). On a GPU the time is taken between synchronised ends, and the
peak is that of torch's allocator; TF32 is off.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from speed_kit import peak_mb, timed

FRAMES, VIDEO, SAMPLES = 150, 75, 48_000  # of 3 s
TOKENS = 101  # about 3 s of a text of 50 phonemes
#: Makes a network on a device: what is called, its modules, and what the call gets.
Made = tuple[Callable[[], object], list[Any], str]


def _networks(device: str, dtype: str) -> Any:
    from bench.networks import Seeded
    from bench.systems.hierspeech.parts import Networks, Sizes

    return Networks(Seeded({}), Sizes(), device, dtype)


def _ttv(device: str, dtype: str) -> Made:
    """The parts behind the durations, which weights by rule make as they like, are given 150 frames."""
    from bench.systems.hierspeech.sequence import sequence_mask

    net = _networks(device, "float32").ttv
    ids, g = torch.randint(1, 170, (1, TOKENS), device=device), torch.randn(1, 256, 1, device=device)
    mask, frames = (sequence_mask(torch.tensor([n], device=device), n) for n in (TOKENS, FRAMES))
    noise, z = torch.randn(1, 2, TOKENS, device=device), torch.randn(1, 256, FRAMES, device=device)

    def work() -> object:
        x, _, _ = net.enc_p(ids, mask, g)
        net.dp.sample(x, mask, g, noise)
        w2v = net.w2v_decoder(net.flow(z, frames, g, reverse=True), frames, g)
        return net.pp(w2v, g)

    return work, [net], f"{TOKENS} symbols, {FRAMES} frames"


def _synthesizer(device: str, dtype: str) -> Made:
    net = _networks(device, "float32").synthesizer
    w2v, f0 = torch.randn(1, 1024, FRAMES, device=device), torch.rand(1, 1, 4 * FRAMES, device=device)
    g, lengths = torch.randn(1, 256, 1, device=device), torch.tensor([FRAMES], device=device)
    return lambda: net.speak(w2v, f0, lengths, g, lambda s: torch.zeros(s, device=device)), [net], f"{FRAMES} frames"


def _finer(device: str, dtype: str) -> Made:
    net = _networks(device, "float32").finer(48_000)
    wave = torch.randn(1, 1, SAMPLES, device=device) * 0.1
    return lambda: net.enhance(wave), [net], "16 to 48 kHz"


def _mms(device: str, dtype: str) -> Made:
    net = _networks(device, "float32").mms
    wave = torch.randn(1, SAMPLES, device=device) * 0.1
    return lambda: net(wave), [net], "7 of 24 layers"


def _denoiser(device: str, dtype: str) -> Made:
    net = _networks(device, "float32").denoiser
    wave = torch.randn(1, SAMPLES, device=device) * 0.1
    return lambda: net.denoise(wave), [net], "301 frames"


def _face(device: str, dtype: str) -> Made:
    from bench.faces.redraw import at_once
    from bench.systems.hierspeech.face.generator import masked

    net = _networks(device, dtype).face
    kind: Any = getattr(torch, dtype)
    faces = torch.rand(VIDEO, 3, 96, 96, device=device, dtype=kind)
    speech = torch.randn(VIDEO, 10, 1024, device=device, dtype=kind)
    known = net.identity_encoder(faces[:1])
    size = at_once(32, device)
    batches = [slice(start, start + size) for start in range(0, VIDEO, size)]

    def work() -> object:
        return [net.decode(net.pose_encoder(masked(faces[b])), known, net.hear(speech[b])) for b in batches]

    return work, [net], f"{VIDEO} faces of 96 px, identity known"


def _wav2lip(device: str, dtype: str) -> Made:
    from bench.detfill import fill_module
    from bench.faces.redraw import at_once
    from bench.systems.wav2lip.blocks import folded
    from bench.systems.wav2lip.generator import Wav2LipGenerator

    kind: Any = getattr(torch, dtype)
    net: Any = (
        folded(fill_module(Wav2LipGenerator(), 1.0).eval()).to(device, kind).to(memory_format=torch.channels_last)
    )
    faces = torch.rand(VIDEO, 6, 96, 96, device=device, dtype=kind).contiguous(memory_format=torch.channels_last)
    speech = torch.randn(VIDEO, 1, 80, 16, device=device, dtype=kind)
    size = at_once(32, device)
    batches = [slice(start, start + size) for start in range(0, VIDEO, size)]
    return lambda: [net(speech[b], faces[b]) for b in batches], [net], f"{VIDEO} faces of 96 px"


_MAKERS = {
    "TTV": _ttv,
    "synthesizer": _synthesizer,
    "SpeechSR 48 kHz": _finer,
    "MMS-300m to layer 7": _mms,
    "denoiser": _denoiser,
    "TTVFace": _face,
    "Wav2Lip": _wav2lip,
}
NETWORKS = tuple(_MAKERS)
#: Takes so long on a CPU that a run to get warm with would change nothing but the patience.
COLD = ("denoiser",)
#: The fastest of so many, after one to get warm with.
ROUNDS = {"cpu": 1, "cuda": 3}


def devices() -> list[tuple[str, str]]:
    """CPU, and CUDA where there is one; speech is float32 everywhere, as a rounded duration would change it."""
    return [("cpu", "float32"), *([("cuda", "float32"), ("cuda", "bfloat16")] if torch.cuda.is_available() else [])]


def main(name: str, device: str, dtype: str) -> None:
    """See the module."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        call, modules, note = _MAKERS[name](device, dtype)
        loaded = peak_mb()

        def work() -> None:
            call()
            if device == "cuda":
                torch.cuda.synchronize()

        if device == "cuda" or name not in COLD:
            work()
        if device == "cuda":
            loaded = torch.cuda.memory_allocated() / 2**20
            torch.cuda.reset_peak_memory_stats()
        taken = min((timed(work) for _ in range(ROUNDS[device])), key=lambda one: one.wall)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_mb()
    seconds = taken.wall if device == "cuda" else taken.cpu
    count = sum(p.numel() for module in modules for p in module.parameters())
    where = torch.cuda.get_device_name() if device == "cuda" else ""
    found = {"seconds": seconds, "cpu": taken.cpu, "peak_mb": peak, "loaded_mb": loaded}
    print(json.dumps({**found, "parameters": count, "note": note, "device": where}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
