"""Checkpoints that hold objects beside their tensors, and what a manifest may allow."""

from __future__ import annotations

import json
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from weights_kit import TOY, metric

from bench import registry, weights, weights_check
from bench.errors import DataError
from bench.records import WeightFile
from bench.weights_add import add
from bench.weights_check import Manifest, Spec, difference
from bench.weights_objects import Shell, read_beside
from bench.weights_read import read, state_of


class _Evil:
    """Would leave a file behind, if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As a training framework writes it: tensors, settings of a class that is not installed, and worse."""
    module = types.ModuleType("not_installed")
    settings = type("Settings", (dict,), {"__module__": "not_installed"})
    module.Settings = settings  # type: ignore[attr-defined]
    sys.modules["not_installed"] = module
    weights = OrderedDict(a=torch.arange(6.0).reshape(2, 3).T, b=torch.nn.Parameter(torch.ones(4).half()))
    held = {"state_dict": weights, "hyper": settings(cfg=1), "more": [_Evil(tmp_path / "was-run")]}
    try:
        torch.save(held, tmp_path / "model.ckpt")
    finally:
        del sys.modules["not_installed"]
    return tmp_path / "model.ckpt"


def test_tensors_are_read_and_nothing_is_run(checkpoint: Path) -> None:
    found = state_of(read(checkpoint, objects=True), ("state_dict",), checkpoint)
    assert torch.equal(found["a"], torch.arange(6.0).reshape(2, 3).T)
    assert torch.equal(found["b"], torch.ones(4).half())
    assert not (checkpoint.parent / "was-run").exists()
    assert "not_installed" not in sys.modules


def test_objects_are_shells(checkpoint: Path) -> None:
    found = read_beside(checkpoint)
    assert isinstance(found["hyper"], Shell)
    assert isinstance(found["more"][0], Shell)


def test_without_leave_the_file_is_refused(checkpoint: Path) -> None:
    with pytest.raises(DataError, match="refused"):
        read(checkpoint)
    assert not (checkpoint.parent / "was-run").exists()


def test_damaged_archives_are_refused(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:200] + b"\0" * 60 + whole[260:])
    with pytest.raises(DataError):
        read(checkpoint, objects=True)
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        read(checkpoint, objects=True)


SPEC = Spec((2,), "float32")


def test_what_of_a_file_counts() -> None:
    manifest = Manifest(
        "m",
        {"net.a": SPEC, "net.b": SPEC},
        ignored_in_file=frozenset({"net.loss"}),
        own_prefixes=("net.",),
        tied=(("net.a", "net.b"),),
    )
    assert manifest.taken({"net.b": 1, "net.loss": 2, "other": 3}) == {"net.a": 1, "net.b": 1}
    assert manifest.taken({"net.a": 1, "net.b": 2}) == {"net.a": 1, "net.b": 2}
    assert Manifest("m", {"a": SPEC}).taken({"x": 1}) == {"x": 1}
    nested = Manifest("m", {"net.a": SPEC}, own_prefixes=("net.",), nested="whole.part.")
    assert nested.taken({"net.a": 1, "other": 3}) == {"net.a": 1}
    assert nested.taken({"whole.part.net.a": 1, "whole.part.other": 2, "net.b": 3}) == {"net.a": 1}


def test_the_width_of_numbers_may_be_free() -> None:
    found = {"a": Spec((2,), "bfloat16")}
    assert difference(found, Manifest("m", {"a": SPEC}))
    assert not difference(found, Manifest("m", {"a": SPEC}, any_float=True))
    assert difference({"a": Spec((2,), "int64")}, Manifest("m", {"a": SPEC}, any_float=True))


@pytest.mark.parametrize("name", ["speech_llm", "whisperx_vae", "lia_x_generator", "speaker_encoder"])
def test_manifests_are_those_of_the_specification(name: str) -> None:
    folder = Path(__file__).parents[2]
    given = folder / ".." / "shared" / "manifests" / f"talker_{name}.json"
    if not given.is_file():
        pytest.skip("../shared is not here")
    kept = json.loads((folder / "bench" / "manifests" / given.name).read_text())
    assert kept["tensors"] == json.loads(given.read_text())["tensors"]


def test_such_a_file_is_recognised_and_kept(
    checkpoint: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With objects beside, a tied name absent, other tensors and narrower numbers: all as its manifest allows."""
    told = {
        "tensors": {
            "a": {"shape": [3, 2], "dtype": "float32"},
            "b": {"shape": [4], "dtype": "float32"},
            "c": {"shape": [4], "dtype": "float32"},
        },
        "tied": [["b", "c"]],
        "any_float": True,
        "objects_beside": True,
    }
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "framework.json").write_text(json.dumps(told))
    monkeypatch.setattr(weights_check, "FOLDER", tmp_path / "manifests")
    framework = WeightFile("framework.ckpt", None, None, "MIT", "somebody/net", manifest="framework.json")
    made = {"kit": metric(TOY, framework)}
    monkeypatch.setattr(registry, "get", lambda group, name: made[name])
    added = add(checkpoint)
    assert added.weight is framework
    kept = weights.tensors(framework)
    assert torch.equal(kept["a"], torch.arange(6.0).reshape(2, 3).T)
    assert torch.equal(kept["b"], torch.ones(4).half())
    assert torch.equal(kept["c"], kept["b"])
    assert not (checkpoint.parent / "was-run").exists()
    assert add(checkpoint).state == "there"


def test_other_files_with_objects_stay_refused(checkpoint: Path) -> None:
    with pytest.raises(DataError, match="refused, nothing of it was run"):
        add(checkpoint)
    assert not (checkpoint.parent / "was-run").exists()
