"""``bench weights add``: what is taken, in every format, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from weights_kit import HALF, MANY, SYNCNET, TOY, half_manifest, metric, state, toy_manifest, weight

from bench import protocols, registry, weights
from bench.api import DataError, UsageError, WeightFile
from bench.detfill import tensor_values
from bench.networks import OFFICIAL
from bench.progress import Progress
from bench.weights_add import add
from bench.weights_check import manifest_of


def saved(path: Path, what: object, legacy: bool = False) -> Path:
    torch.save(what, path, _use_new_zipfile_serialization=not legacy)
    return path


def toy(path: Path, seed: int = 0) -> Path:
    return saved(path, state(toy_manifest(), seed))


def declare(monkeypatch: pytest.MonkeyPatch, *files: WeightFile) -> None:
    made = {"kit": metric(*files)}
    monkeypatch.setattr(registry, "names", lambda group: sorted(made) if group == "metrics" else [])
    monkeypatch.setattr(registry, "get", lambda group, name: made[name])


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_every_format_gives_the_same_tensors(kind: str, tmp_path: Path, home: Path) -> None:
    wanted = state(toy_manifest())
    path = tmp_path / "mine.bin"
    if kind == "safetensors":
        save_file(wanted, path)
    else:
        saved(path, wanted, legacy=kind == "legacy")
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    added = add(path)
    assert (added.state, added.weight, added.notes) == ("added", TOY, ())
    assert added.path == home / "toy.pth.safetensors" == weights.locate(TOY)
    assert added.source_sha256 == weights.sha256(path) == weights.source_sha256(TOY)
    found = weights.tensors(TOY)
    assert sorted(found) == sorted(wanted)
    assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [p.name for p in home.iterdir()] == ["toy.pth.safetensors"]  # no temporary file is left


def test_the_metadata_say_where_it_comes_from(tmp_path: Path) -> None:
    added = add(toy(tmp_path / "downloaded (1).pth"))
    with safe_open(added.path, "pt") as opened:
        told = opened.metadata()
    assert told["source_sha256"] == added.source_sha256
    assert told["source_name"] == "downloaded (1).pth"
    assert (told["weight"], told["manifest"]) == ("toy.pth", "weights_kit:toy_manifest")
    assert len(told["tensors_sha256"]) == 64 and told["bench_version"]


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model_state", "model"])
def test_known_keys_are_unwrapped(key: str, tmp_path: Path) -> None:
    root = {"dims": {"n_mels": 80}, "epoch": 3, key: state(half_manifest()), "optimizer": {"state": {}}}
    added = add(saved(tmp_path / "x.pt", root))
    assert added.weight == HALF
    assert weights.tensors(HALF)["encoder.weight"].dtype == torch.float16


def test_a_manifest_may_name_its_own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gan.json"
    specs = {name: {"shape": shape, "dtype": dtype} for name, (shape, dtype) in toy_manifest().items()}
    file.write_text(json.dumps({"top_level_keys": ["iteration", "generator"], "tensors": specs}))
    gan = replace(TOY, name="gan.pth", manifest=str(file))
    declare(monkeypatch, gan)
    root = {"iteration": 7, "generator": state(toy_manifest()), "discriminator": state(half_manifest())}
    assert add(saved(tmp_path / "g_best", root)).weight == gan


def test_the_prefix_of_parallel_training_is_taken_off(tmp_path: Path) -> None:
    add(saved(tmp_path / "x.pth", {f"module.{k}": v for k, v in state(toy_manifest()).items()}))
    assert "conv.weight" in weights.tensors(TOY)


def test_absent_counters_are_zero(tmp_path: Path) -> None:
    given = state(toy_manifest())
    del given["bn.num_batches_tracked"]
    add(saved(tmp_path / "old.pth", given, legacy=True))
    counter = weights.tensors(TOY)["bn.num_batches_tracked"]
    assert counter.shape == () and counter.dtype == torch.int64 and int(counter) == 0


def test_parameters_and_shared_storage_are_tensors_like_others(tmp_path: Path) -> None:
    given = state(toy_manifest())
    block = torch.randn(16)
    given["bn.weight"], given["bn.bias"] = torch.nn.Parameter(block[:8]), block[8:]
    given["conv.weight"] = given["conv.weight"].to(memory_format=torch.channels_last)
    add(saved(tmp_path / "x.pth", given))
    found = weights.tensors(TOY)
    assert torch.equal(torch.cat([found["bn.weight"], found["bn.bias"]]), block)
    assert torch.equal(found["conv.weight"], given["conv.weight"])


def test_the_same_file_again_is_no_work(tmp_path: Path) -> None:
    path = toy(tmp_path / "x.pth")
    first = add(path)
    stamp = first.path.stat().st_mtime_ns
    again = add(path, name="toy.pth")
    assert (add(path).state, again.state, again.path.stat().st_mtime_ns) == ("there", "there", stamp)


def test_another_file_needs_force_and_both_hashes_are_named(tmp_path: Path) -> None:
    one, two = toy(tmp_path / "1.pth", 1), toy(tmp_path / "2.pth", 2)
    add(one)
    with pytest.raises(DataError, match="is here already") as error:
        add(two)
    assert weights.sha256(one) in error.value.message and weights.sha256(two) in error.value.message
    assert "--force" in error.value.hint
    assert weights.source_sha256(TOY) == weights.sha256(one)
    assert add(two, force=True).state == "replaced"
    assert weights.source_sha256(TOY) == weights.sha256(two)


def test_a_damaged_copy_is_written_anew_without_force(tmp_path: Path) -> None:
    path = toy(tmp_path / "x.pth")
    kept = add(path).path
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    assert add(path).state == "replaced"
    assert add(path).state == "there"


def test_two_source_files_never_share_a_score_key(tmp_path: Path) -> None:
    (protocol,) = metric(TOY).protocols
    empty = protocols.weights_sha256(protocol)
    keys = []
    for seed in (1, 2):
        add(toy(tmp_path / f"{seed}.pth", seed), force=True)
        keys.append(protocols.weights_sha256(protocol))
        assert OFFICIAL.identity(TOY) == weights.sha256(tmp_path / f"{seed}.pth")[:12]
    assert len({empty, *keys}) == 3


def test_a_declared_hash_counts_wherever_the_file_is() -> None:
    (protocol,) = metric(replace(TOY, sha256="a" * 64)).protocols
    line = "toy.pth:" + "a" * 64  # stores of earlier versions hold this
    assert protocols.weights_sha256(protocol) == hashlib.sha256(line.encode()).hexdigest()


def test_a_declared_hash_is_recognised_and_its_types_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state(toy_manifest()).items()
    }
    path = saved(tmp_path / "any name", given)
    official = replace(TOY, sha256=weights.sha256(path))
    declare(monkeypatch, official)
    assert add(path).weight == official
    assert weights.tensors(official)["conv.weight"].dtype == torch.float16
    assert weights.verified(official) == weights.locate(official)


def test_a_file_like_the_declared_one_is_not_the_declared_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, replace(TOY, sha256="a" * 64))
    with pytest.raises(DataError, match="is another file: SHA-256") as error:
        add(toy(tmp_path / "x.pth"))
    assert "a" * 64 in error.value.message


def test_a_hash_in_the_official_name_is_held_against_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toy(tmp_path / "x.pth")
    begin = weights.sha256(path)[:8]
    declare(monkeypatch, replace(TOY, name=f"net-2015-12-05-{begin}.pth"))
    assert add(path).notes == ()
    declare(monkeypatch, replace(TOY, name="other-2015-12-05-0123abcd.pth"))
    (note,) = add(path, name="other-2015-12-05-0123abcd.pth").notes
    assert "0123abcd" in note


def test_two_names_for_one_layout_need_to_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = replace(TOY, name="twin.pth")
    declare(monkeypatch, TOY, twin)
    path = toy(tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"may be any of toy.pth, twin.pth"):
        add(path)
    assert add(path, name="twin.pth").weight == twin
    with pytest.raises(UsageError, match=r"no weight file is called 'twn.pth'") as error:
        add(path, name="twn.pth")
    assert "twin.pth" in error.value.hint


def test_a_file_without_manifest_is_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    path = tmp_path / "vocabulary"
    path.write_bytes(b"not a checkpoint at all")
    raw = weight("tokens.model", None, weights.sha256(path))
    declare(monkeypatch, raw)
    assert add(path).path == home / "tokens.model"
    assert (home / "tokens.model").read_bytes() == path.read_bytes()
    assert add(path).state == "there" and weights.verified(raw) == home / "tokens.model"
    path.write_bytes(b"another")
    with pytest.raises(DataError, match="has SHA-256"):
        add(path, name="tokens.model")


def test_what_ships_in_a_package_needs_no_adding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toy(tmp_path / "x.pth")
    declare(monkeypatch, replace(TOY, package="no-such-package", manifest=None, sha256=weights.sha256(path)))
    with pytest.raises(DataError, match="comes with package no-such-package"):
        add(path)


def test_a_real_manifest_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, SYNCNET, TOY)
    given = {
        name: torch.from_numpy(tensor_values(name, spec.shape)).to(getattr(torch, spec.dtype))
        for name, spec in manifest_of(SYNCNET).tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    assert add(saved(tmp_path / "syncnet_v2.model", given, legacy=True)).weight == SYNCNET
    found = weights.tensors(SYNCNET)
    assert found.keys() == manifest_of(SYNCNET).tensors.keys()
    assert all(torch.equal(found[name], given[name]) for name in given)


def test_no_temporary_file_survives_an_error(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(home / "toy.pth.safetensors"))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        add(toy(tmp_path / "x.pth"))
    assert list(home.iterdir()) == [] and weights.locate(TOY) is None


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import weights_add

    path = toy(tmp_path / "x.pth")
    real = weights_add.read

    def slow(given: Path) -> object:
        found = real(given)
        os.utime(path, (1, 1))
        return found

    monkeypatch.setattr(weights_add, "read", slow)
    with pytest.raises(DataError, match="was changed while it was read"):
        add(path)
    assert weights.locate(TOY) is None


def test_large_files_show_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.weights_add._LARGE", 1)
    add(toy(tmp_path / "x.pth"), progress=Progress(colour=False))
    error = capsys.readouterr().err
    assert [line.split(" x.pth")[0] for line in error.splitlines()] == ["hash", "check", "write"]
    assert MANY.name not in error
