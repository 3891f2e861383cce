"""What ``bench conformance`` calls for SyncNet's operations; conventions in :mod:`bench.conformance`.

A case may hold several inputs of a kind (``audio0``, ``audio1``; ``v``, ``v_short``): each is answered under
the output's name with the same ending.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.metrics.lse.offsets import Sync
    from bench.metrics.lse.syncnet_net import SyncNet

Arrays = Mapping[str, NDArray[Any]]
Config = Mapping[str, Any]

OPS = {
    op: f"bench.metrics.adapters_lse:{op}"
    for op in ("syncnet_net", "lse_clip", "lse_embeddings", "lse_lengths", "lrs_resize", "mfcc")
}
_KEPT = 8  # recorded embeddings of whole clips keep every eighth component
_SKIPPED = 2  # recorded pictures keep every second row and column


def _settings(config: Config) -> dict[str, Any]:
    """The protocol's parameters, with what the case sets otherwise."""
    from bench.metrics.lse.protocols import WAV2LIP

    return {**WAV2LIP.parameters, **config}


def _endings(inputs: Arrays, name: str) -> Iterator[str]:
    """What follows ``name`` in the keys of inputs: ``""``, ``"0"``, ``"_short"``."""
    for key in inputs:
        ending = key.removeprefix(name)
        if key.startswith(name) and (not ending or ending.isdigit() or ending.startswith("_")):
            yield ending


def _network(config: Config, fill: Fill) -> SyncNet:
    from bench.metrics.lse.syncnet_net import SyncNet

    return fill.apply(SyncNet(config.get("num_layers_in_fc_layers", 1024))).eval()


def _enlarged(small: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Pictures (..., h, w, 3) with each pixel repeated up to ``size``."""
    rows, columns = (wanted // have for wanted, have in zip(size, small.shape[-3:-1], strict=True))
    return np.repeat(np.repeat(small, rows, axis=-3), columns, axis=-2)


def syncnet_net(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Embeddings of MFCC windows ``aud`` and of five-frame windows ``lip_small``; lip features before the head.

    The network as published answers here: the recorded tolerance is the rounding of float32 itself. What
    scores clips is its fast form, which answers :func:`lse_clip`.
    """
    import torch

    net, size = _network(config, fill), _settings(config)["frames"]["size"]
    outputs: dict[str, Any] = {}
    with torch.inference_mode():
        for ending in _endings(inputs, "aud"):
            outputs[f"aud{ending}"] = net.forward_audio(torch.from_numpy(inputs[f"aud{ending}"])).numpy()
        for ending in _endings(inputs, "lip_small"):
            frames = torch.from_numpy(_enlarged(inputs[f"lip_small{ending}"], size))  # (B, 5, 224, 224, 3)
            features = net.lip_features(frames.permute(0, 4, 1, 2, 3).to(torch.float32))
            outputs[f"lipfeat{ending}"] = features.numpy()
            outputs[f"lip{ending}"] = net.netfclip(features).numpy()
    return outputs


def lse_clip(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """A whole clip from BGR pictures and int16 audio: embeddings, distances, LSE and offset."""
    from bench.metrics.lse.compare import common
    from bench.metrics.lse.embed import embed_audio, embed_lips
    from bench.metrics.lse.syncnet_net import Fast

    net, settings = Fast(_network(config, fill)), _settings(config)
    frames = _enlarged(inputs["frames_small"], settings["frames"]["size"])
    windows = common(len(frames), inputs["audio"].size, settings).n_windows
    lips = embed_lips(net, [frames], settings)[:windows]
    audio = embed_audio(net, inputs["audio"], settings)[:windows]
    return {
        "lip": lips[:, ::_KEPT],
        "aud": audio[:, ::_KEPT],
        **_searched(lips, audio, settings),
    }


def lse_embeddings(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Distances and search for each pair of given embeddings ``v``, ``a``."""
    settings = _settings(config)
    outputs: dict[str, Any] = {}
    for ending in _endings(inputs, "v"):
        found = _searched(inputs[f"v{ending}"], inputs[f"a{ending}"], settings)
        outputs |= {f"{name}{ending}": value for name, value in found.items()}
    return outputs


def _searched(lips: NDArray[Any], audio: NDArray[Any], settings: Config) -> dict[str, Any]:
    from bench.metrics.lse.offsets import search, shifted_distances

    distances = shifted_distances(lips, audio, settings["vshift"], settings["pairwise_eps"])
    sync: Sync = search(distances)
    return {
        "dists": distances,
        "mean_dist": sync.mean_distances,
        "lse_c": sync.lse_c,
        "lse_d": sync.lse_d,
        "offset": sync.offset,
    }


def lse_lengths(config: Config, inputs: Sequence[Mapping[str, int]], fill: Fill) -> list[dict[str, Any]]:
    """What counts of clips of so many frames and samples."""
    from bench.metrics.lse.compare import common

    answers = []
    for case in inputs:
        found = common(case["frames"], case["samples"], _settings(config))
        answers.append(
            {
                "usable": found.n_frames,
                "windows": found.n_windows,
                "status": "scored" if found.n_windows else "too_short",
                "short_for_offsets": found.short_for_offsets,
            }
        )
    return answers


def lrs_resize(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Each picture ``frame`` squeezed to the network's size."""
    from bench.metrics.lse.lrs import squeezed

    height, width = _settings(config)["frames"]["size"]
    return {
        f"resized{ending}": squeezed(inputs[f"frame{ending}"], height, width)[::_SKIPPED, ::_SKIPPED]
        for ending in _endings(inputs, "frame")
    }


def mfcc(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Coefficients of each signal ``audio``, and the filter bank. Settings may have the package's names."""
    from bench.metrics.lse.mfcc import MfccRecipe, filterbank
    from bench.metrics.lse.mfcc import mfcc as coefficients

    settings = _settings({})
    rate = int(config.get("samplerate", settings["sample_rate"]))
    highest = {} if rate == settings["sample_rate"] else {"highfreq": rate / 2}  # the package's default
    named = {"append_energy" if name == "appendEnergy" else name: value for name, value in config.items()}
    recipe = MfccRecipe.of({**settings["mfcc"], **highest, **named}, rate)
    outputs: dict[str, Any] = {
        f"mfcc{ending}": coefficients(inputs[f"audio{ending}"], recipe) for ending in _endings(inputs, "audio")
    }
    return {**outputs, "filterbank": filterbank(recipe)}
