"""The tensors of a TorchScript archive, without its program.

Such an archive is a zip file: ``code/`` holds the program, ``data.pkl`` the tree of modules with their tensors, whose
numbers lie in ``data/<n>``. ``torch.jit.load`` would compile the program. Here ``data.pkl`` alone is read, by an
unpickler to which every class of the program is an empty shell and which knows nothing else but tensors; the program
is not looked at. Names are those of ``state_dict()`` (attributes joined by dots).
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import DataError, in_words, printable

if TYPE_CHECKING:
    import torch

_PROGRAM = "/constants.pkl"
_TREE = "/data.pkl"
_LARGEST_PICKLE = 1 << 26  # bytes of names and shapes
_DEEPEST = 100  # modules inside one another
_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_NEXT = "export its state_dict() with torch.save on a machine that you trust it on."


def is_script(names: Sequence[str]) -> bool:
    """Whether an archive with these entries is TorchScript's."""
    return any(name.endswith(_PROGRAM) for name in names)


def read_script(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of the archive's modules, by name.

    Raises:
        DataError: damaged, or made of more than modules, tensors, numbers and containers; nothing of it was run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(_tensors(_Reader(archive, path).tree(), ""))
    except DataError:
        raise
    except Exception as error:  # a made-up file reaches every corner of the unpickler
        raise DataError(
            f"{path} is damaged, or its modules are not what torch.jit.save writes ({in_words(error)})", _NEXT
        ) from error


class _Storage(NamedTuple):
    dtype: str
    key: str


class _Reader:
    """One archive; every class and function that its pickle can name is made for it alone."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        names = archive.namelist()
        trees = [name for name in names if name.endswith(_TREE) and name.count("/") == 1]
        if len(trees) != 1 or len(set(names)) != len(names):
            raise DataError(f"{path} is no TorchScript archive: it has {len(trees)} lists of modules", _NEXT)
        if sum(entry.file_size for entry in archive.infolist() if "/data/" in entry.filename) > path.stat().st_size:
            raise DataError(f"{path}: its directory promises more bytes than the file has", _NEXT)
        self._tree = trees[0]
        self._folder = trees[0].removesuffix(_TREE)
        self._numbers: dict[str, bytearray] = {}

    def tree(self) -> Any:
        """The outermost module."""
        return _Unpickler(self._entry(self._tree, _LARGEST_PICKLE), self._tensor, self._storage).load()

    def _entry(self, name: str, longest: int) -> bytes:
        entry = self._archive.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise DataError(f"{self._path}: {printable(name, 80)} is compressed, as torch.jit.save leaves none", _NEXT)
        if entry.file_size > longest:
            raise DataError(f"{self._path}: {printable(name, 80)} has {entry.file_size} bytes", _NEXT)
        return self._archive.read(name)

    def _storage(self, told: Any) -> _Storage:
        """``('storage', type, key, place, count)``, as the pickle refers to numbers."""
        kind, dtype, key, *_ = told
        if kind != "storage" or dtype not in _TYPES.values() or type(key) is not str:
            raise ValueError("a reference to something else than numbers")
        return _Storage(dtype, key)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
        import torch

        sizes, strides = tuple(size), tuple(stride)
        whole = all(type(number) is int and number >= 0 for number in (offset, *sizes, *strides))
        if type(storage) is not _Storage or not whole or len(sizes) != len(strides):
            raise ValueError("a tensor without numbers, or of no shape")
        if storage.key not in self._numbers:
            longest = self._archive.getinfo(f"{self._folder}/data/{storage.key}").file_size
            self._numbers[storage.key] = bytearray(self._entry(f"{self._folder}/data/{storage.key}", longest))
        raw = self._numbers[storage.key]
        dtype: torch.dtype = getattr(torch, storage.dtype)
        last = offset + sum((number - 1) * step for number, step in zip(sizes, strides, strict=True))
        if math.prod(sizes) == 0:
            return torch.empty(sizes, dtype=dtype)
        if (last + 1) * dtype.itemsize > len(raw) or math.prod(sizes) * dtype.itemsize > len(raw):
            raise ValueError("a tensor that is larger than its numbers")
        return torch.as_strided(torch.frombuffer(raw, dtype=dtype), sizes, strides, offset)


class _Unpickler(pickle.Unpickler):
    """Knows tensors, lists of numbers and ordered dictionaries; classes of the program become empty shells."""

    def __init__(self, data: bytes, tensor: Callable[..., Any], storage: Callable[[Any], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._tensor, self._storage = tensor, storage

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; never what it is a name of."""
        if module == "__torch__" or module.startswith("__torch__."):
            return type("_Module", (_Part,), {})
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *told: self._tensor(*told)
        if module == "torch.jit._pickle" and name in {"build_intlist", "build_doublelist", "build_boollist"}:
            return lambda items: list(items)
        if module == "torch.jit._pickle" and name in {"build_tensorlist", "restore_type_tag"}:
            return lambda items, *_: items
        if (module, name) == ("collections", "OrderedDict"):
            return lambda *_: OrderedDict()
        raise pickle.UnpicklingError(f"it asks for {printable(f'{module}.{name}', 200)}")

    def persistent_load(self, told: Any) -> Any:
        """A reference to numbers."""
        return self._storage(told)


class _Part:
    """A module without its code: the attributes that it was saved with."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise TypeError("a module whose attributes have no names")
        self.state = state


def _tensors(part: Any, head: str, depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    if not isinstance(part, _Part) or depth > _DEEPEST:
        raise TypeError("no tree of modules")
    for name, value in part.__dict__.get("state", {}).items():
        if not isinstance(name, str):
            raise TypeError("an attribute without a name")
        if isinstance(value, torch.Tensor):
            yield head + name, value
        elif isinstance(value, _Part):
            yield from _tensors(value, f"{head}{name}.", depth + 1)
