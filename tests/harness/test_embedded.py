"""Shipped checkpoints: rounded once, filled strictly, held against their recorded hash."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bench import weights
from bench.embedded import EMBEDDED, embedded_file, facts, read, ship, without_place
from bench.errors import DataError
from bench.records import WeightFile
from bench.train_files import write_weights
from bench.weights_verify import verify

FILE = embedded_file("toy", "net", "first")
CURVE = '{"step": 1, "loss": 2.5}\n'


def network(width: int = 3) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))  # the counter of batches is an integer


def trained(folder: Path, **networks: nn.Module) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{name}.{key}": tensor for name, made in networks.items() for key, tensor in made.state_dict().items()}
    (folder / "curve.jsonl").write_text(CURVE)
    return write_weights(folder / "weights.safetensors", tensors, {"command": "bench train toy", "seed": "7"})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder with the shipped file."""
    root = tmp_path / "package"
    monkeypatch.setattr(weights, "own_folder", lambda: root)
    ship(trained(tmp_path / "train", net=network(), helper=network(5)), "net", root / FILE.name)
    return root


def test_one_network_is_shipped_with_its_facts_and_its_curve(root: Path) -> None:
    path = root / FILE.name
    assert weights.locate(FILE) == path
    told = facts(path)
    assert (told["command"], told["seed"], told["network"]) == ("bench train toy", "7", "net")
    assert path.with_suffix(".jsonl").read_text() == CURVE
    assert set(read(path)) == set(network().state_dict())
    assert path.stat().st_mode & 0o777 == 0o644
    assert "--stage first" in FILE.source
    assert FILE.package == "bench-avgen"


def test_floats_are_rounded_to_16_bits_and_come_back_in_32(root: Path) -> None:
    wanted, found = network().state_dict(), EMBEDDED.fill(network(3), FILE).state_dict()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype  # float32, and int64 for the counter
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(found[name], expected)
    assert not torch.equal(found["0.weight"], wanted["0.weight"])
    from bench.weights_file import load_any

    assert {str(t.dtype) for t in load_any(root / FILE.name).values()} == {"torch.float16", "torch.int64"}


def test_a_filled_network_is_still(root: Path) -> None:
    filled = EMBEDDED.fill(network().train(), FILE)
    assert not filled.training
    assert not any(parameter.requires_grad for parameter in filled.parameters())


@pytest.mark.parametrize("other", [network(4), nn.Linear(2, 3), nn.Sequential(*network(), nn.Linear(3, 1))])
def test_it_must_fit_all_over(root: Path, other: nn.Module) -> None:
    with pytest.raises(DataError, match="do not fit the network"):
        EMBEDDED.fill(other, FILE)


@pytest.mark.parametrize("place", [-1, -40])
def test_a_changed_byte_is_found(root: Path, place: int) -> None:
    path = root / FILE.name
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged"):
        EMBEDDED.fill(network(), FILE)
    with pytest.raises(DataError, match="damaged"):
        verify(FILE)


def test_a_file_cut_off_or_not_shipped_by_us_is_refused(root: Path, tmp_path: Path) -> None:
    path = root / FILE.name
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(DataError, match="damaged"):
        EMBEDDED.fill(network(), FILE)
    write_weights(path, network().state_dict(), {"command": "by hand"})
    with pytest.raises(DataError, match="damaged"):
        EMBEDDED.fill(network(), FILE)
    path.unlink()
    assert weights.locate(FILE) is None
    with pytest.raises(DataError, match="make embedded"):
        EMBEDDED.fill(network(), FILE)


def test_identity_is_the_files_hash(root: Path, tmp_path: Path) -> None:
    path = root / FILE.name
    first = EMBEDDED.identity(FILE)
    assert first == weights.sha256(path)[:12] == weights.source_sha256(FILE)[:12] == verify(FILE)[:12]
    ship(trained(tmp_path / "again", net=network(3).double()[:1]), "net", path)
    assert EMBEDDED.identity(FILE) != first


def test_what_cannot_be_shipped(tmp_path: Path) -> None:
    file = trained(tmp_path / "train", net=network())
    with pytest.raises(DataError, match="no network 'nets'"):
        ship(file, "nets", tmp_path / "out.safetensors")
    large = network()
    large[0].weight.data[0, 0] = 1e6
    with pytest.raises(DataError, match=r"cannot hold 0\.weight"):
        ship(trained(tmp_path / "large", net=large), "net", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(DataError):
        ship(tmp_path / "absent", "net", tmp_path / "out.safetensors")
    assert ship(tmp_path / "train", "net", tmp_path / "out.safetensors").is_file()  # a folder will do


def test_the_files_of_a_package_are_named_as_they_lie() -> None:
    assert FILE.name == "systems/toy/embedded/net.safetensors"
    assert weights.locate(WeightFile("weights.py", None, None, "", "", package="bench-avgen")) == Path(weights.__file__)
    assert weights.locate(WeightFile("absent.py", None, None, "", "", package="bench-avgen")) is None


@pytest.mark.parametrize(
    "command",
    ["bench train x --out /home/me/x --seed 0", "bench train x --seed 0 -o y", "bench train x --out=z --seed 0"],
)
def test_a_command_does_not_say_where_its_training_lay(command: str) -> None:
    assert without_place(command) == "bench train x --seed 0"
