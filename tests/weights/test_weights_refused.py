"""Files that ``bench weights add`` refuses: unsafe, damaged, or something else. Nothing is kept of them."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from weights_kit import TOY, many_manifest, state, toy_manifest

from bench import weights
from bench.api import DataError, UsageError
from bench.weights_add import add


def saved(path: Path, what: object, legacy: bool = False) -> Path:
    torch.save(what, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.fixture(autouse=True)
def nothing_kept(home: Path) -> object:
    yield
    assert not home.exists() or list(home.iterdir()) == []


class Bomb:
    """Makes a file where it is unpickled without care."""

    def __init__(self, target: Path, how: str) -> None:
        self.target, self.how = target, how

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        if self.how == "open":
            return open, (str(self.target), "w")
        if self.how == "eval":
            return eval, (f"open({str(self.target)!r}, 'w')",)
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain", "inside"])
@pytest.mark.parametrize("how", ["system", "open", "eval"])
def test_a_pickle_that_would_make_a_file_makes_none(form: str, how: str, tmp_path: Path) -> None:
    target = tmp_path / "made by the pickle"
    bomb: object = Bomb(target, how)
    path = tmp_path / "x.pth"
    if form == "plain":
        path.write_bytes(pickle.dumps(bomb))
    elif form == "inside":
        saved(path, {"state_dict": {**state(toy_manifest()), "scale": bomb}})
    else:
        saved(path, bomb, legacy=form == "legacy")
    with pytest.raises(DataError, match="refused, nothing of it was") as error:
        add(path, name="toy.pth")
    assert not target.exists()
    assert form == "plain" or {"system": "system", "open": "open", "eval": "eval"}[how] in error.value.message
    # the trap is a real one: read without care it makes the file
    if form == "plain":
        pickle.loads(path.read_bytes())
        assert target.exists()


def test_the_environment_cannot_lift_the_restriction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    target = tmp_path / "made"
    with pytest.raises(DataError, match="refused"):
        add(saved(tmp_path / "x.pth", Bomb(target, "open")))
    assert not target.exists()


def test_a_module_in_place_of_its_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is code or an object and no tensor"):
        add(saved(tmp_path / "x.pth", torch.nn.Linear(2, 2)))


def test_torchscript_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    with pytest.raises(DataError):
        add(path, name="toy.pth")


@pytest.mark.parametrize(
    "root",
    [
        [1, 2],
        {"a": 1, "b": "text"},
        {"state_dict": {"a": 1}},
        {},
        torch.zeros(3),
        {"conv.weight": torch.zeros(2), "x": 3},
    ],
    ids=["list", "numbers", "no tensors", "empty", "bare tensor", "number among tensors"],
)
def test_other_contents_are_named(root: object, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        add(saved(tmp_path / "x.pth", root), name="toy.pth")
    assert "expected" in error.value.message or "no tensors at its top" in error.value.message


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(8).to_sparse(),
        torch.zeros(8, device="meta"),
        torch.quantize_per_tensor(torch.zeros(8), 1.0, 0, torch.qint8),
    ],
    ids=["sparse", "meta", "quantised"],
)
def test_odd_tensors_are_refused(odd: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a plain tensor|refused"):
        add(saved(tmp_path / "x.pth", {**state(toy_manifest()), "bn.bias": odd}), name="toy.pth")


def rewritten(source: Path, target: Path, compression: int, extra: bytes = b"") -> Path:
    """A checkpoint's archive packed anew, with one more entry."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        if extra:
            new.writestr("archive/data/99", extra)
    return target


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    plain = saved(tmp_path / "x.pth", state(toy_manifest()))
    bomb = rewritten(plain, tmp_path / "bomb.pth", zipfile.ZIP_DEFLATED, bytes(50_000_000))
    assert bomb.stat().st_size < 200_000
    with pytest.raises(DataError, match=r"compressed archive .* nothing of it was unpacked"):
        add(bomb)


def test_a_directory_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", state(toy_manifest()))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")  # first entry of the central directory
    data[at + 20 : at + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"promises|damaged"):
        add(path)


def test_another_archive_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"torch.save did not write"):
        add(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    if kind == "safetensors":
        save_file(state(toy_manifest()), path)
    else:
        saved(path, state(toy_manifest()), legacy=kind == "legacy")
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(len(data) * share))])
    with pytest.raises(DataError) as error:
        add(path, name="toy.pth")
    assert str(path) in error.value.message and "Traceback" not in error.value.message


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused(number: float, tmp_path: Path) -> None:
    given = state(toy_manifest())
    given["conv.weight"][3, 1, 2, 0] = number
    with pytest.raises(DataError, match=r"1 tensors hold NaN or infinite numbers, the first is conv.weight"):
        add(saved(tmp_path / "x.pth", given))


def test_differences_are_counted_and_the_first_ten_named(tmp_path: Path) -> None:
    given = state(many_manifest())
    for index in range(4):
        del given[f"layers.{index}.weight"]
    for index in range(4, 10):
        given[f"layers.{index}.weight"] = torch.zeros(3, 2)
    given["layers.10.weight"] = torch.zeros(2, 2, dtype=torch.float64)
    given["head"] = torch.zeros(1)
    with pytest.raises(DataError) as error:
        add(saved(tmp_path / "x.model", given))
    lines = error.value.message.splitlines()
    assert "12 tensors differ (4 missing, 1 not expected, 6 of another shape, 1 of another type)" in lines[0]
    assert lines[1].strip() == "layers.0.weight: missing"
    assert lines[6].strip() == "layers.4.weight: shape [3, 2], expected [2, 2]"
    assert len(lines) == 12 and lines[-1].strip() == "and 2 more"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.update(extra=torch.zeros(2)), "extra: not expected"),
        (lambda s: s.pop("bn.running_var"), "bn.running_var: missing"),
        (lambda s: s.update({"conv.bias": torch.zeros(8).half()}), "conv.bias: float16, expected float32"),
        (lambda s: s.update({"conv.bias": torch.zeros(9)}), "conv.bias: shape \\[9\\], expected \\[8\\]"),
        (lambda s: s.update({"bn.num_batches_tracked": torch.zeros(())}), "float32, expected int64"),
        (lambda s: s.update({"conv.bias": torch.zeros(()).expand(1 << 40)}), "conv.bias: shape"),
    ],
    ids=["extra", "missing", "half", "shape", "counter", "expanded without end"],
)
def test_one_wrong_tensor_is_named(change: object, told: str, tmp_path: Path) -> None:
    given = state(toy_manifest())
    change(given)  # type: ignore[operator]
    with pytest.raises(DataError, match=told):
        add(saved(tmp_path / "x.pth", given))


def test_a_stranger_is_told_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the known weight files") as error:
        add(saved(tmp_path / "x.pth", OrderedDict(a=torch.zeros(2))))
    assert "toy.pth, half.pt, many.model" in error.value.hint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"x", "no checkpoint"),
        (b"\0" * 100, "no checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Not found", "web page"),
        (b"\x1f\x8b\x08abc", "unpack it first"),
        (b"PK\x03\x04 and nothing more", "cut off or damaged"),
        ((1 << 40).to_bytes(8, "little") + b'{"a":', "damaged"),
        ((8).to_bytes(8, "little") + b'{"a":1} ', "damaged or cut off"),
        (pickle.dumps({"a": 1}), "pickle that torch.save did not write"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "cut off or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_words(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        add(path, name="toy.pth")


def test_safetensors_with_a_lying_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(4)}, path)
    data = path.read_bytes().replace(b'"shape":[4]', b'"shape":[9]')
    path.write_bytes(data)
    with pytest.raises(DataError, match="does not lie where it must"):
        add(path)


def test_a_checkpoint_under_a_wrong_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds what torch.save writes"):
        add(saved(tmp_path / "x.safetensors", state(toy_manifest())))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    wanted = {"absent": "no such file", "link": "a link to nothing", ".": "is a folder", "pipe": "no regular file"}
    for name, told in {**wanted, "loop": "symbolic links"}.items():
        with pytest.raises(UsageError, match=told):
            add(tmp_path / name)


def test_a_link_to_a_file_is_followed(tmp_path: Path, home: Path) -> None:
    (tmp_path / "link").symlink_to(saved(tmp_path / "x.pth", state(toy_manifest())))
    kept = add(tmp_path / "link").path
    assert not kept.is_symlink()
    kept.unlink()


def test_random_damage_never_ends_in_a_trace(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for legacy in (False, True):
        buffer = io.BytesIO()
        torch.save(state(toy_manifest()), buffer, _use_new_zipfile_serialization=not legacy)
        whole = buffer.getvalue()
        for trial in range(40):
            data = bytearray(whole)
            for at in torch.randint(0, len(data), (6,), generator=generator).tolist():
                data[at] ^= 0x5A
            path = tmp_path / f"{trial}.pth"
            path.write_bytes(data)
            try:
                add(path, name="toy.pth", force=True)
            except DataError:
                continue
            kept = weights.locate(TOY)  # the damage hit numbers alone: still what a toy file may hold
            assert kept is not None
            kept.unlink()
