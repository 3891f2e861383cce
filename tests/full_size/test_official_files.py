"""The parts of the full-size trial, small: layouts, numbers, the tokenizer; what is said of missing files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import OFFICIAL, Official, write_tokenizer
from talker_acceptance import watched

from bench.commands.catalogue import info
from bench.detfill import tensor_pieces, tensor_values
from bench.errors import DataError
from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_sizes import LiaSizes
from bench.systems.talker.nar import Rotary
from bench.systems.talker.text import Chat
from bench.weights_check import Spec, manifest_of
from bench.weights_read import read, state_of

_KEPT_WHOLE = (".kernel", ".rope.w", "positional_embedding")


def small(official: Official) -> dict[str, Spec]:
    """The official names with at most three numbers along each dimension."""
    return {
        name: spec if name.endswith(_KEPT_WHOLE) else Spec(tuple(min(3, size) for size in spec.shape), spec.dtype)
        for name, spec in official.specs().items()
    }


@pytest.mark.parametrize("name,shape", [("a.weight", (3, 50)), ("b.running_var", (70,)), ("c.weight_g", (9, 1, 1))])
def test_pieces_are_the_whole(name: str, shape: tuple[int, ...]) -> None:
    pieces = list(tensor_pieces(name, shape, 1.3, most=32))
    assert all(len(piece) <= 32 for piece in pieces)
    assert np.array_equal(np.concatenate(pieces), tensor_values(name, shape, 1.3).ravel())


@pytest.mark.parametrize("official", OFFICIAL, ids=lambda official: official.manifest)
def test_what_is_written_can_be_read(official: Official, tmp_path: Path) -> None:
    wanted = small(official)
    path = official.write(tmp_path, wanted)
    objects = "whisperx" in official.manifest
    if objects:
        with pytest.raises(DataError, match=r"omegaconf.dictconfig.DictConfig.*refused"):
            read(path)
    found = state_of(read(path, objects=objects), ("state_dict", "model"), path)
    assert {name: Spec(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in found.items()} == wanted
    name = next(name for name, spec in wanted.items() if name.endswith("weight") and len(spec.shape) > 1)
    assert np.array_equal(found[name].numpy(), tensor_values(name, wanted[name].shape, official.gain))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in found.values())


def test_tables_are_the_networks_own() -> None:
    numbers = {name: made for official in OFFICIAL for name, made in _tables(official)}
    assert torch.equal(numbers["speech_cfm.estimator.decoder.rope.w"], Rotary(128).w)
    network = Generator(LiaSizes(widths=(32,) * 7, style_dim=8, motion_dim=4, blocks=1))
    kernels = {name: tensor for name, tensor in network.named_buffers() if name.endswith("kernel")}
    assert {name for name in numbers if name.endswith("kernel")} == set(kernels)
    assert all(torch.equal(numbers[name], kernel) for name, kernel in kernels.items())


def _tables(official: Official) -> list[tuple[str, torch.Tensor]]:
    return [
        (name, torch.from_numpy(np.concatenate(list(official._numbers(name, spec)))))
        for name, spec in official.specs().items()
        if name.endswith(_KEPT_WHOLE) and ".decoder.positional" not in name
    ]


def test_the_tokenizer_has_the_official_numbers(tmp_path: Path) -> None:
    chat = Chat(write_tokenizer(tmp_path))
    ids = chat.ids("bin blue at f two now")
    assert (ids[0], ids[-2:]) == (151644, ids[-2:])
    assert [number for number in ids if number >= 151643] == [151644, 151645, 151644, 151667, 151668]
    table = chat._tokenizer
    assert [table.token_to_id(mark) for mark in ("<SPEECH_FRAME>", "<MOTION_FRAME>")] == [151669, 151670]
    assert table.decode(ids, skip_special_tokens=True).startswith("user\nbin blue at f two now")


def test_memory_is_watched() -> None:
    import os

    with watched(every=0.01) as memory:
        memory.root = os.getpid()
        held = np.ones(20_000_000, np.uint8)
        memory.look()
    assert memory.peak >= memory.anonymous >= len(held)


def test_info_says_where_paper_and_code_differ() -> None:
    told = info("talker")["where paper and code differ"]
    assert "infer.py" in told["task embedding"]
    assert {"delay of motion behind speech", "sampling", "end of speech", "longest result"} <= set(told)
    assert {weight["file"] for weight in info("talker")["weights"]} >= set(_official_names())


def _official_names() -> Sequence[str]:
    from bench.systems.talker.weight_files import CANONICAL

    assert [manifest_of(file).name for file in CANONICAL if file.manifest] == [one.manifest for one in OFFICIAL]
    return [file.name for file in CANONICAL]
