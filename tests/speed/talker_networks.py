"""One network of Talker-T2AV in its published size, random weights: ``talker_networks.py NAME DEVICE [BATCH]``; JSON.

Seconds are per second of one clip that is made: 6.25 patches or 25 frames. On a GPU the time is taken between
synchronised ends, and the peak is that of torch's allocator; TF32 is off. ``loop`` and ``graph`` (GPU alone) are the
whole generation of latents with a static cache, as it is run and captured as a CUDA graph; its backbone is bfloat16.
``talker_networks.py lengths SECONDS``: what clips of 2 s, 4 s, … SECONDS take with the small networks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from speed_kit import peak_mb, timed

from bench.nets.weight_norm import fold_weight_norm
from bench.systems.talker import lia_ops, tiny
from bench.systems.talker.backbone import Backbone, BackboneConfig, Cache
from bench.systems.talker.flow_matching import CFM
from bench.systems.talker.generate import Generator
from bench.systems.talker.jobs import Job, Planner, Reference, Settings
from bench.systems.talker.lia import Generator as LiaGenerator
from bench.systems.talker.lia_sizes import LiaSizes
from bench.systems.talker.nar import PatchEncoder
from bench.systems.talker.render import levels
from bench.systems.talker.slots import Makers, Slots
from bench.systems.talker.speech_llm import SpeechLLM, SpeechLLMConfig
from bench.systems.talker.whisperx_vae import VAEConfig, WhisperXVAE

FPS, PATCHES = 25, 6.25  # a second
PROMPT = 40  # positions before the first patch
FULL = SpeechLLMConfig()
#: What is called, its networks, how many calls make a second of each clip, and what a call is.
Made = tuple[Callable[[], object], list[Any], float, str]


def _backbone(device: str, batch: int) -> Made:
    config = BackboneConfig()
    net = Backbone(config).to(_half_on(device))
    cache = Cache(config, batch, 128, net.dtype, torch.device(device))
    token, place = torch.randn(batch, config.hidden_size), torch.full((batch,), 63)
    return lambda: net.step(token, cache, place, 64), [net], PATCHES, "one position behind 63, no vocabulary scores"


def _heads(device: str, batch: int) -> Made:
    wide = ((FULL.speech_dim, FULL.speaker_dim), (FULL.motion_dim, FULL.motion_dim))
    nets = [CFM(FULL.dit, channels, told) for channels, told in wide]
    hidden, rule = torch.randn(batch, 1024), Settings()
    given = [(torch.randn(batch, channels, 4), torch.randn(batch, told)) for channels, told in wide]
    schedules = [net.schedule(rule.steps, rule.sway, rule.zero_star) for net in nets]

    def work() -> object:
        each = zip(nets, given, schedules, strict=True)
        return [n.sample(hidden, rule.steps, x, x, told, rule.cfg, schedule=s) for n, (x, told), s in each]

    return work, nets, PATCHES, f"both, {rule.steps} steps, guidance {rule.cfg:g}"


def _encoders(device: str, batch: int) -> Made:
    nets = [PatchEncoder(1024, 1024, FULL.encoder_layers, FULL.encoder_heads) for _ in range(2)]
    frames = torch.randn(batch, 1, FULL.patch_size, 1024)
    return lambda: [net(frames) for net in nets], nets, PATCHES, "both"


def _vae(device: str, batch: int) -> Made:
    net = fold_weight_norm(WhisperXVAE(VAEConfig(whisper=None)))
    latent = torch.randn(batch, FPS, FULL.speech_dim)
    return lambda: net.decode(latent), [net.vae, net.CodecDec], 1.0, "1 s in one call"


def _renderer(device: str, batch: int) -> Made:
    """One picture a call: the batch is of frames, not of clips."""
    sizes = LiaSizes()
    net = lia_ops.folded(LiaGenerator(sizes)).dec
    kept = [torch.randn(1, width, 8 << place, 8 << place) for place, width in enumerate(sizes.widths)]
    maps = [one.contiguous(memory_format=torch.channels_last) for one in kept]
    style = torch.randn(batch, sizes.style_dim)
    return lambda: levels(net(style, maps)), [net], FPS, f"{batch} frames of 512 px a call, the face is known"


_MAKERS = {
    "backbone": _backbone,
    "both heads": _heads,
    "patch encoders": _encoders,
    "VAE, decoding": _vae,
    "renderer": _renderer,
}
NETWORKS = tuple(_MAKERS)
#: Takes so long on a CPU that a run to get warm with would change nothing but the patience.
COLD = ("renderer",)
BATCHES = (1, 8, 32)


def cuda_jobs() -> list[tuple[str, str, int]]:
    """What is measured where there is a CUDA device."""
    names = ("loop", "graph", *NETWORKS) if torch.cuda.is_available() else ()
    return [(name, "cuda", batch) for name in names for batch in BATCHES]


def measured(name: str, device: str, batch: int) -> dict[str, Any]:
    """Time and memory of one network."""
    cuda = device == "cuda"
    torch.set_num_threads(1)
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode(), torch.device(device):
        call, nets, calls, note = (_whole if name in {"loop", "graph"} else _MAKERS[name])(*_of(name, device, batch))
        loaded = torch.cuda.memory_allocated() / 2**20 if cuda else peak_mb()

        def work() -> None:
            call()
            if cuda:
                torch.cuda.synchronize()

        if cuda or name not in COLD:
            work()
        taken = min((timed(work) for _ in range(3 if cuda else 1)), key=lambda one: one.wall)
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak_mb()
    count = sum(p.numel() for net in nets for p in net.parameters())
    per_clip = calls / batch  # frames of a batch are one clip's; clips of a batch share its time
    found = {"seconds": (taken.wall if cuda else taken.cpu) * per_clip, "cpu": taken.cpu * per_clip}
    told = {"parameters": count, "note": note if batch == 1 else f"{note}; batch {batch}"}
    return {
        **found,
        **told,
        "peak_mb": peak,
        "loaded_mb": loaded,
        "device": torch.cuda.get_device_name() if cuda else "",
    }


def _of(name: str, device: str, batch: int) -> tuple[Any, ...]:
    return (name == "graph", batch) if name in {"loop", "graph"} else (device, batch)


def _half_on(device: str) -> torch.dtype:
    """The backbone's, as the official script loads it on CUDA; ours is float32 on a CPU."""
    return torch.bfloat16 if device == "cuda" else torch.float32


def _whole(captured: bool, batch: int) -> Made:
    """32 patches of each clip; a captured step looks at all positions of the cache, whatever is in them."""
    count = 32
    model = SpeechLLM(FULL).eval()
    model.llm.to(torch.bfloat16)
    rule = Settings(autocast=True, use_stop=False, prefix_seconds=0.0, max_patches=count)
    slots, everything = Slots(model, rule, batch, 128, count + 8), Makers(None, None)
    jobs = [_job(model, rule, number) for number in range(batch)]

    def steps(step: Callable[[], object]) -> None:
        slots.admit(jobs, list(range(batch)))
        for _ in range(count):
            step()

    def plain() -> None:
        slots.advance(batch, 128, everything)

    note = f"{count} patches behind {PROMPT} positions, backbone bfloat16, heads float32"
    if not captured:
        return lambda: steps(plain), [model], PATCHES / count, note
    slots.admit(jobs, list(range(batch)))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            plain()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plain()
    return lambda: steps(graph.replay), [model], PATCHES / count, f"{note}; a step is one CUDA graph"


def _job(model: SpeechLLM, rule: Settings, seed: int) -> Job:
    c = model.config
    reference = Reference(torch.zeros(4, c.speech_dim), torch.zeros(4, c.motion_dim), torch.randn(c.speaker_dim))
    ids = torch.arange(PROMPT) % c.backbone.vocab_size
    with torch.device("cpu"):
        noise = torch.Generator().manual_seed(seed)
        return Planner(c, rule).plan("t2av", ids, reference, noise)


def lengths(longest: int) -> list[dict[str, float]]:
    """Backbone and heads of the small configuration, one clip after the other, of 2 s, 4 s, … ``longest``."""
    torch.set_num_threads(1)
    model, found, seconds = SpeechLLM(tiny.LLM).eval(), [], 2
    _generated(model, 8)
    while seconds <= longest:
        patches = round(seconds * PATCHES)
        taken = min((_generated(model, patches) for _ in range(2)), key=lambda one: one.cpu)
        found.append({"seconds": seconds, "patches": patches, "cpu": taken.cpu})
        seconds *= 2
    return found


def _generated(model: SpeechLLM, patches: int) -> Any:
    rule = Settings(use_stop=False, prefix_seconds=0.0, max_patches=patches)
    job = _job(model, rule, 0)
    return timed(lambda: list(Generator(model, rule, slots=1).run([job])))


if __name__ == "__main__":
    if sys.argv[1] == "lengths":
        print(json.dumps({"lengths": lengths(int(sys.argv[2]))}))
    else:
        print(json.dumps(measured(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)))
