"""Small random Whisper networks and waves for the tests of its error rates."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

#: As the released networks where the reference demands it; the rest small. 16 tokens per window at most.
SMALL = {
    "n_audio_ctx": 1500,
    "n_audio_state": 32,
    "n_audio_head": 2,
    "n_audio_layer": 1,
    "n_text_ctx": 32,
    "n_text_state": 32,
    "n_text_head": 2,
    "n_text_layer": 2,
}


def network(seed: int = 0, gain: float = 3.0, large: bool = False, **dims: int) -> Any:
    """Random numbers; the gain decides how sure of its tokens the network is."""
    import torch

    from bench.metrics.whisper_net import Network

    sizes = {"n_mels": 128, "n_vocab": 51866} if large else {"n_mels": 80, "n_vocab": 51865}
    net = Network({**sizes, **SMALL, **dims}).on_cpu()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
            tensor *= gain / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.1
            if tensor.ndim == 1 and name.endswith("weight"):
                tensor += 1
    return net.eval().requires_grad_(False)


@lru_cache(maxsize=32)
def pcm(seconds: float, seed: int = 0) -> Any:
    """Noise whose level changes every tenth of a second, int16 (N,) at 16 kHz."""
    n = int(seconds * 16000)
    random = np.random.default_rng(seed)
    level = np.repeat(np.abs(random.standard_normal(n // 1600 + 1)), 1600)[:n]
    return np.clip(3000 * random.standard_normal(n) * level, -32768, 32767).astype(np.int16)


def reference_options() -> dict[str, Any]:
    """What the protocols ask of the reference's ``transcribe``, by its own names."""
    from bench.metrics.whisper_declare import WER_LARGE_V3

    asr = dict(WER_LARGE_V3.parameters["asr"])
    names = ("language", "task", "temperature", "beam_size", "condition_on_previous_text", "without_timestamps")
    return {name: asr[name] for name in (*names, "initial_prompt", "word_timestamps")} | {"fp16": asr["fp16"]["cpu"]}


def reference_text(net: Any, samples: Any) -> str:
    import whisper

    return str(whisper.transcribe(net, samples.astype(np.float32) / 32768, **reference_options())["text"])


def ours(net: Any, large: bool = False) -> Any:
    from bench.metrics.whisper_declare import WER_LARGE_V3, WER_MEDIUM
    from bench.metrics.whisper_decode import transcriber

    return transcriber(net, (WER_LARGE_V3 if large else WER_MEDIUM).parameters, "cpu")
