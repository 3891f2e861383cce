"""How near the networks come to the machine's rate: floating-point operations per second of processor time.

Each network runs as its metric runs it (folded, its own layout, its own batch) on one thread. Its operations are
counted by torch's dispatcher (two per multiplication with addition; LSTMs by a hook), and its rate is
held against that of a product of two 2048x2048 matrices, or of a large 3x3 convolution in channels-last
layout, taken in the same rounds. Weights are arbitrary: no time depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from speed_kit import Line, Options, timed
from torch.utils.flop_counter import FlopCounterMode

from bench.metrics.csim.arcface import ARCFACE
from bench.metrics.csim.arcface_net import IResNet
from bench.metrics.inception_net import Inception
from bench.metrics.lse.s3fd_net import S3FD, channels_last
from bench.metrics.lse.syncnet_net import Fast, SyncNet
from bench.metrics.speaker_net import VoiceEncoder
from bench.metrics.utmos import PARAMETERS
from bench.metrics.utmos_net import Sizes, StrongLearner
from bench.metrics.whisper_net import Network, Steps

PART = "networks"
SHARE = 0.6
MATMUL, CONVOLUTION = "matrix product", "convolution"
WHISPER_SMALL = {
    "n_mels": 80,
    "n_vocab": 51865,
    "n_audio_ctx": 1500,
    "n_audio_state": 768,
    "n_audio_head": 12,
    "n_audio_layer": 12,
    "n_text_ctx": 448,
    "n_text_state": 768,
    "n_text_head": 12,
    "n_text_layer": 12,
}
TOKENS = 16


@dataclass(frozen=True)
class Case:
    """A network at work; ``bound``: what keeps it below the target where it is."""

    name: str
    kind: str
    make: Callable[[], Callable[[], object]]
    bound: str = ""


def _s3fd() -> Callable[[], object]:
    net, picture = channels_last(S3FD().eval()), torch.randn(1, 180, 320, 3).permute(0, 3, 1, 2)
    return lambda: net(picture)


def _lips() -> Callable[[], object]:
    fast, frames = Fast(SyncNet().eval()), torch.randint(0, 256, (12, 224, 224, 3), dtype=torch.uint8)
    return lambda: fast.lips(frames)


def _speech() -> Callable[[], object]:
    fast, windows = Fast(SyncNet().eval()), torch.randn(70, 1, 13, 20)
    return lambda: fast.audio(windows)


def _inception() -> Callable[[], object]:
    net = Inception().eval().fold()
    pictures = torch.randn(16, 3, 299, 299).contiguous(memory_format=torch.channels_last)
    return lambda: net(pictures)


def _arcface() -> Callable[[], object]:
    settings: Any = ARCFACE.parameters["network"]
    net = IResNet(settings["layers"], settings["num_features"]).eval().fold()
    faces = torch.randn(16, 3, 112, 112).contiguous(memory_format=torch.channels_last)
    return lambda: net(faces)


def _utmos() -> Callable[[], object]:
    net, waves = StrongLearner(Sizes.of(PARAMETERS)).eval().settle(), torch.randn(1, 48_000)
    return lambda: net(waves)


def _voices(windows: int) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        net, mels = VoiceEncoder().eval(), torch.randn(windows, 160, 40)
        return lambda: net(mels)

    return make


def _whisper() -> Any:
    model = Network(WHISPER_SMALL).on_cpu().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model


def _hearing() -> Callable[[], object]:
    model, mel = _whisper(), torch.randn(1, 80, 3000)
    model.encoder.positional_embedding.zero_()
    return lambda: model.encoder(mel)


def _telling(clips: int) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        model, features = _whisper(), [torch.randn(1, 1500, 768) for _ in range(clips)]
        token = torch.zeros(clips, 1, dtype=torch.long)

        def tell() -> None:
            steps = Steps(model, features, TOKENS)
            for _ in range(TOKENS):
                steps(token)

        return tell

    return make


CASES = (
    Case("S3FD, one picture of 320x180", CONVOLUTION, _s3fd),
    Case(
        "SyncNet lips, 8 windows", CONVOLUTION, _lips, bound="a first kernel of 15 channels, unfolding of uint8 frames"
    ),
    Case(
        "SyncNet speech, 70 windows", CONVOLUTION, _speech, bound="pictures of 13x20 and less: kernels end at borders"
    ),
    Case("Inception, 16 pictures of 299x299", CONVOLUTION, _inception, bound="pooling, joins, narrow and 1x1 kernels"),
    Case("ArcFace r100, 16 faces", CONVOLUTION, _arcface, bound="norms and PReLU between small maps"),
    Case(
        "UTMOS, 3 s", MATMUL, _utmos, bound="GELU over 512 channels of 9,599 steps; BLSTM: a step needs the one before"
    ),
    Case(
        "Resemblyzer, 4 windows (a clip)",
        MATMUL,
        _voices(4),
        bound="a step is a product of 4 rows: weights are read, not used again",
    ),
    Case("Resemblyzer, 32 windows", MATMUL, _voices(32), bound="160 steps, each waits for the one before"),
    Case("Whisper small encoder, 30 s", MATMUL, _hearing, bound="softmax and GELU beside the products"),
    Case(
        "Whisper small decoder, 16 tokens of 1 clip",
        MATMUL,
        _telling(1),
        bound="memory: every token reads all weights for one row",
    ),
    Case(
        "Whisper small decoder, 16 tokens of 8 clips",
        MATMUL,
        _telling(8),
        bound="memory: every token reads all weights for 8 rows",
    ),
)


def run(options: Options) -> list[Line]:
    """One line per network, and the two rates."""
    torch.set_num_threads(1)
    rounds = options.size(5, 3, 1)
    with torch.inference_mode():
        best: dict[str, float] = {}
        for _ in range(rounds):
            best = {name: max(best.get(name, 0.0), found) for name, found in _peaks(options).items()}
        lines = []
        for case in CASES[:2] if options.tiny else CASES:
            work = case.make()
            rate = operations(work)  # also the first, slow call
            seconds = min(timed(work).cpu for _ in range(rounds))
            again = _peaks(options)  # the machine may have become slower meanwhile
            lines.append(_line(case, rate / seconds, again[case.kind], seconds, rate))
            best = {name: max(best[name], found) for name, found in again.items()}
    heads = [Line(PART, f"large {name}", rate, "GFLOP/s") for name, rate in best.items()]
    return heads + lines


def _line(case: Case, rate: float, peak: float, seconds: float, operations_: float) -> Line:
    share = rate / 1e9 / peak
    told = f"{rate / 1e9:.1f} of {peak:.1f} GFLOP/s of a {case.kind}; {operations_ / 1e9:.2f} GFLOP"
    note = told if share >= SHARE or not case.bound else f"{told}; bound by {case.bound}"
    return Line(PART, case.name, share * 100, "%", f">= {SHARE:.0%}", share >= SHARE, cpu=seconds, note=note)


def _peaks(options: Options) -> Mapping[str, float]:
    """GFLOP per second of processor time of a large matrix product and of a large convolution."""
    side = options.size(2048, 2048, 256)
    a, b = torch.randn(side, side), torch.randn(side, side)
    conv = torch.nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.randn(options.size(8, 4, 1), 256, 56, 56).contiguous(memory_format=torch.channels_last)
    works: dict[str, Callable[[], object]] = {MATMUL: lambda: a @ b, CONVOLUTION: lambda: conv(x)}
    found = {}
    for name, work in works.items():
        count = operations(work)
        found[name] = count / min(timed(work).cpu for _ in range(3)) / 1e9
    return found


def operations(work: Callable[[], object]) -> float:
    """Floating-point operations of a call."""
    recurrent = [0.0]

    def note(module: Any, given: Any, _: Any) -> None:
        if isinstance(module, torch.nn.LSTM):
            steps = int(np.prod(given[0].shape[:2]))
            sizes = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
            recurrent[0] += 2.0 * steps * sizes

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        with FlopCounterMode(display=False) as counter:
            work()
    finally:
        hook.remove()
    return float(counter.get_total_flops()) + recurrent[0]
