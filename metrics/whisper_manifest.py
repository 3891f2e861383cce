"""Tensor names, shapes and kinds of the official Whisper files, from the module itself.

The released files keep every tensor in half precision (their sizes say so: two bytes a number). The
network is laid out on PyTorch's ``meta`` device, which takes no memory.
"""

from __future__ import annotations

from bench.api import Protocol
from bench.metrics.whisper_declare import WER_LARGE_V3, WER_MEDIUM, dims_of

Manifest = dict[str, tuple[tuple[int, ...], str]]

DTYPE = "float16"


def large_v3() -> Manifest:
    """Name to (shape, kind) of ``model_state_dict`` in ``large-v3.pt``."""
    return _of(WER_LARGE_V3)


def medium() -> Manifest:
    """Name to (shape, kind) of ``model_state_dict`` in ``medium.pt``."""
    return _of(WER_MEDIUM)


def _of(protocol: Protocol) -> Manifest:
    from bench.metrics.whisper_net import Network

    state = Network(dims_of(protocol.parameters)).state_dict()
    return {name: (tuple(tensor.shape), DTYPE) for name, tensor in state.items()}
