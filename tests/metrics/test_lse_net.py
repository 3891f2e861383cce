"""SyncNet: its names, its fast form against the published one, and embeddings in pieces."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from lse_helpers import babble, fast, network, pictures

from bench.metrics.lse import embed
from bench.metrics.lse.embed import audio_windows, embed_audio, embed_lips
from bench.metrics.lse.lrs import squeezed
from bench.metrics.lse.protocols import NO_JPEG, SYNCNET_WEIGHTS
from bench.metrics.lse.syncnet_net import SyncNet

SETTINGS = NO_JPEG.parameters


def faces(n: int) -> Any:
    return np.stack([squeezed(picture, 224, 224) for picture in pictures(n)])


def relative(a: Any, b: Any) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def test_names_and_shapes_are_the_official_ones() -> None:
    manifest = json.loads((files("bench") / "manifests" / str(SYNCNET_WEIGHTS.manifest)).read_text())
    wanted = {name: tuple(entry["shape"]) for name, entry in manifest["tensors"].items()}
    assert {name: tuple(tensor.shape) for name, tensor in SyncNet().state_dict().items()} == wanted


def test_the_fast_lip_branch_is_the_three_dimensional_one() -> None:
    frames = faces(9)
    windows = np.stack([frames[i : i + 5] for i in range(5)])  # (5, 5, 224, 224, 3)
    with torch.inference_mode():
        expected = network().forward_lips(torch.from_numpy(windows).permute(0, 4, 1, 2, 3).float()).numpy()
        found = fast().lips(torch.from_numpy(frames)).numpy()
    assert relative(found, expected) < 4e-6


def test_the_fast_audio_branch_is_the_published_one() -> None:
    windows = torch.from_numpy(audio_windows(babble(20 * 640), SETTINGS))
    with torch.inference_mode():
        assert relative(fast().audio(windows).numpy(), network().forward_audio(windows).numpy()) < 4e-6


def test_audio_windows_are_pictures_of_their_own() -> None:
    """The whole sequence at once would give other numbers: the convolutions pad within a window."""
    pcm = babble(20 * 640)
    alone = audio_windows(pcm, SETTINGS)[4:5]
    with torch.inference_mode():
        expected = network().forward_audio(torch.from_numpy(alone)).numpy()
    assert relative(embed_audio(fast(), pcm, SETTINGS)[4:5], expected) < 4e-6


@pytest.mark.parametrize("sizes", [[12], [1] * 12, [5, 6, 1], [11, 1]])
def test_lips_do_not_depend_on_the_pieces_in_which_frames_arrive(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "LIP_WINDOWS", {"cpu": 3})
    frames = faces(12)
    edges = np.cumsum([0, *sizes])
    found = embed_lips(fast(), (frames[a:b] for a, b in pairwise(edges)), SETTINGS)
    assert found.shape == (7, 1024)
    assert (found == embed_lips(fast(), [frames], SETTINGS)).all()


@pytest.mark.parametrize("n", [6, 8, 9, 12, 13, 14, 15, 21])
def test_every_window_but_the_last_is_looked_at_once(n: int) -> None:
    frames = np.arange(n, dtype=np.uint8)[:, None, None, None]
    pieces = (frames[k : k + 4] for k in range(0, n, 4))
    firsts = [int(s[i, 0, 0, 0]) for s in embed._stretches(pieces, 3, 5) for i in range(len(s) - 4)]
    assert firsts == list(range(n - 5))


def test_later_frames_and_samples_do_not_change_earlier_embeddings() -> None:
    frames, pcm = faces(11), babble(30 * 640)
    assert relative(embed_lips(fast(), [frames[:8]], SETTINGS), embed_lips(fast(), [frames], SETTINGS)[:3]) < 2e-6
    short = embed_audio(fast(), pcm[: 12 * 640 + 5], SETTINGS)
    assert relative(short, embed_audio(fast(), pcm, SETTINGS)[: len(short)]) < 2e-6


def test_streams_without_a_window_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter than one window"):
        embed_lips(fast(), [faces(5)], SETTINGS)
    with pytest.raises(ValueError, match="shorter than one window"):
        embed_lips(fast(), [], SETTINGS)
    with pytest.raises(ValueError, match="shorter than one window"):
        embed_audio(fast(), babble(6 * 640 - 1), SETTINGS)
