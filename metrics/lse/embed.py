"""From pictures and samples to SyncNet's embeddings, in bounded memory.

Both functions return one embedding per window that counts: those that begin at frames 0 .. n - 6 of a stream
of n frames. A stream's embeddings do not depend on the other stream; where the other is
shorter, the first rows are those of the common part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.metrics.lse.mfcc import MfccRecipe, mfcc
from bench.metrics.lse.offsets import usable_frames, window_count
from bench.metrics.lse.syncnet_net import Fast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Frames

    Pcm = NDArray[np.int16]
    Embeddings = NDArray[np.float32]

#: Windows per call of the network. A CPU is quickest where the first layers stay near its caches (and needs
#: 80 MB then); a GPU wants more work at a time (500 MB).
LIP_WINDOWS = {"cpu": 8, "cuda": 64}
AUDIO_WINDOWS = 128


@torch.inference_mode()
def embed_lips(net: Fast, frames: Iterable[Frames], parameters: Mapping[str, Any]) -> Embeddings:
    """Embeddings (n - 5, E) of the n frames in ``frames``, pieces of uint8 BGR (m, 224, 224, 3), in order.

    Windows are made piece by piece and always in the same groups, however the frames arrive.
    """
    found = [
        net.lips(torch.from_numpy(stretch).to(net.device)).cpu().numpy()
        for stretch in _stretches(frames, LIP_WINDOWS[net.device.type], parameters["frames_per_window"])
    ]
    return _joined(found)


def _stretches(pieces: Iterable[Frames], windows: int, window_frames: int) -> Iterator[Frames]:
    """Runs of frames that hold ``windows`` windows each, the last one fewer, without the clip's last window."""
    held: Frames | None = None
    length = windows + window_frames - 1
    for piece in pieces:
        held = piece if held is None else np.concatenate([held, piece])
        while len(held) > length:  # one frame more must exist: the last window does not count
            yield np.ascontiguousarray(held[:length])
            held = held[windows:]
    if held is not None and len(held) > window_frames:
        yield np.ascontiguousarray(held[:-1])


@torch.inference_mode()
def embed_audio(net: Fast, pcm: Pcm, parameters: Mapping[str, Any]) -> Embeddings:
    """Embeddings (n - 5, E) of 16 kHz ``pcm`` (N,), n = N // 640; its values are not scaled."""
    windows = audio_windows(pcm, parameters)
    found = [
        net.audio(torch.from_numpy(windows[k : k + AUDIO_WINDOWS]).to(net.device)).cpu().numpy()
        for k in range(0, len(windows), AUDIO_WINDOWS)
    ]
    return _joined(found)


def audio_windows(pcm: Pcm, parameters: Mapping[str, Any]) -> Embeddings:
    """MFCC windows (n - 5, 1, 13, 20) float32: window i holds columns 4 i .. 4 i + 19.

    Each is a picture of its own to the network: its convolutions pad within the 20 columns.
    """
    rate = parameters["sample_rate"]
    usable = usable_frames(pcm.size, pcm.size, rate // parameters["fps"])
    count = window_count(usable, parameters["frames_per_window"])
    columns = mfcc(pcm, MfccRecipe.of(parameters["mfcc"], rate)).astype(np.float32)  # (M, 13)
    length, step = parameters["mfcc_columns_per_window"], parameters["mfcc_columns_per_frame"]
    windows = np.lib.stride_tricks.sliding_window_view(columns, length, axis=0)[::step]  # (W, 13, 20)
    return np.ascontiguousarray(windows[:count, None])


def _joined(parts: list[Embeddings]) -> Embeddings:
    if not parts:
        raise ValueError("the stream is shorter than one window")
    return np.concatenate(parts)
