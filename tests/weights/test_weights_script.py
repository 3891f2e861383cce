"""TorchScript archives: their tensors are read, their programs are not run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from weights_kit import TOY

from bench import weights
from bench.api import DataError
from bench.weights_add import add
from bench.weights_read import read


class Toy(torch.nn.Module):
    """The tensors of ``toy_manifest``, attributes of other kinds, numbers that lie apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.bn = torch.nn.BatchNorm2d(8)
        self.scale = torch.nn.Parameter(torch.tensor(2.5))
        self.sizes, self.label = [1, 2], "toy"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x)) * self.scale + len(self.sizes)


class Odd(torch.nn.Module):
    """Half precision, turned and shared numbers, lists of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = torch.nn.Linear(3, 4).half()
        self.register_buffer("turned", torch.arange(6).view(2, 3).t())
        self.rows = torch.nn.ModuleList([torch.nn.Conv1d(2, 2, 1), torch.nn.Conv1d(2, 2, 1)])
        self.rows[1].weight = self.rows[0].weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.narrow(x)


def saved(path: Path, module: torch.nn.Module) -> Path:
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def replaced(path: Path, **entries: bytes) -> Path:
    """The archive with other contents of ``data_pkl`` or new entries, stored as they are."""
    with zipfile.ZipFile(path) as archive:
        held = {entry: archive.read(entry) for entry in archive.namelist()}
    root = next(name for name in held if name.endswith("/data.pkl")).removesuffix("/data.pkl")
    held |= {f"{root}/{name.replace('_pkl', '.pkl')}": data for name, data in entries.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("module", [Toy(), Odd()], ids=["toy", "odd"])
def test_tensors_are_those_of_its_state(module: torch.nn.Module, tmp_path: Path) -> None:
    found, wanted = read(saved(tmp_path / "x.pt", module)), module.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_it_is_added_like_any_other_file(home: Path, tmp_path: Path) -> None:
    module = Toy()
    add(saved(tmp_path / "x.pt", module), name=TOY.name)
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in weights.tensors(TOY).items())


class Bomb:
    """Makes a file where it is unpickled without care."""

    def __init__(self, target: Path, how: str) -> None:
        self.target, self.how = target, how

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (open, (str(self.target), "w")) if self.how == "open" else (os.system, (f"touch '{self.target}'",))


@pytest.mark.parametrize("how", ["open", "system"])
def test_a_pickle_that_would_make_a_file_makes_none(how: str, tmp_path: Path) -> None:
    target = tmp_path / "made"
    pickled = pickle.dumps(Bomb(target, how))
    path = replaced(saved(tmp_path / "x.pt", Toy()), data_pkl=pickled)
    with pytest.raises(DataError, match=f"it asks for .*{how}"):
        read(path)
    assert not target.exists()
    pickle.loads(pickled)  # the trap is a real one
    assert target.exists()


#: Pickles in protocol 2 that are no tree of modules.
SHELL = b"\x80\x02c__torch__.net\nNet\n)\x81"
NUMBERS = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + NUMBERS
WRONG = {
    "a number": b"\x80\x02K\x01.",
    "no names": SHELL + b"K\x01b.",
    "a class of torch": b"\x80\x02ctorch.nn\nLinear\n.",
    "more than there is": SHELL + b"}X\x01\x00\x00\x00w" + TENSOR + b"K\x00J\xff\xff\xff\x7f\x85K\x01\x85tRsb.",
    "before the beginning": SHELL + b"}X\x01\x00\x00\x00w" + TENSOR + b"J\xff\xff\xff\xffK\x01\x85K\x01\x85tRsb.",
    "cut off": SHELL,
    "without end": b"\x80\x02" + b"(" * 100_000,
}


@pytest.mark.parametrize("case", WRONG)
def test_made_up_trees_are_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read(replaced(saved(tmp_path / "x.pt", Toy()), data_pkl=WRONG[case]))


def test_the_made_up_tensor_would_be_read_if_it_were_right(tmp_path: Path) -> None:
    fits = SHELL + b"}X\x01\x00\x00\x00w" + TENSOR + b"K\x00K\x01\x85K\x01\x85tRsb."
    assert list(read(replaced(saved(tmp_path / "x.pt", Toy()), data_pkl=fits))) == ["w"]


def test_a_module_within_itself_ends(tmp_path: Path) -> None:
    circle = SHELL + b"q\x00}X\x01\x00\x00\x00mh\x00sb."
    with pytest.raises(DataError):
        read(replaced(saved(tmp_path / "x.pt", Toy()), data_pkl=circle))
