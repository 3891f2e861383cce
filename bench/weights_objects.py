"""Tensors of a ``torch.save`` archive that holds objects of other packages beside them, without these packages.

Checkpoints of training frameworks keep their settings as objects, for which PyTorch's restricted reader refuses the
whole file. Here every class and function that the pickle names, but for what makes tensors and dictionaries, is an
empty shell: it takes what it is given and does nothing. Nothing of the file is run, nothing is imported for it, and
what the shells were given is thrown away. Only files whose manifest says so (``objects_beside``) are read this way.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import DataError, in_words, printable

if TYPE_CHECKING:
    import torch

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
_LOCAL_HEADER = 30  # bytes in front of an entry's name, whose lengths are its last four
_NEXT = "get the file again, from its official source."


def read_beside(path: Path) -> Any:
    """What the archive holds; objects are shells. Tensors are mapped from the file, not read.

    Raises:
        DataError: damaged, or not what ``torch.save`` writes; nothing of it was run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise ValueError("no list of tensors")
            return _Unpickler(archive, path, names[0]).load()
    except Exception as error:  # a made-up file reaches every corner of the unpickler
        raise DataError(
            f"{path} is damaged: {printable(in_words(error), 200)}; nothing of it was run", _NEXT
        ) from error


class Shell:
    """Stands for an object of another package."""

    def __new__(cls, *_: Any, **__: Any) -> Shell:
        """Takes anything."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Shell:
        """What a function would have given."""
        return Shell()

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        """Nothing is kept."""

    def extend(self, _: Any) -> None:
        """Nothing is kept."""


class _Storage(NamedTuple):
    dtype: torch.dtype
    numbers: torch.UntypedStorage


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, path: Path, tree: str) -> None:
        import torch

        super().__init__(io.BytesIO(archive.read(tree)))
        self._archive, self._path = archive, path
        self._folder = tree.removesuffix("data.pkl")
        self._whole = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; never what it is a name of."""
        import torch

        if module == "torch" and name in _TYPES:
            return getattr(torch, _TYPES[name])
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return _tensor
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return lambda *_: OrderedDict()
        return type("Shell", (Shell,), {})

    def persistent_load(self, told: Any) -> _Storage:
        """Numbers of a tensor: ``('storage', type, key, place, count)``."""
        kind, dtype, key, *_ = told
        entry = self._archive.getinfo(f"{self._folder}data/{key}")
        if kind != "storage" or entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError("a reference to something else than numbers")
        with self._path.open("rb") as stream:
            stream.seek(entry.header_offset)
            name, extra = struct.unpack("<HH", stream.read(_LOCAL_HEADER)[-4:])
        first = entry.header_offset + _LOCAL_HEADER + name + extra
        if first + entry.file_size > len(self._whole):
            raise ValueError("numbers beyond the file's end")
        return _Storage(dtype, self._whole[first : first + entry.file_size])


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    import torch

    whole = all(type(number) is int and number >= 0 for number in (offset, *size, *stride))
    if type(storage) is not _Storage or not whole or len(size) != len(stride):
        raise ValueError("a tensor without numbers, or of no shape")
    last = offset + sum((number - 1) * step for number, step in zip(size, stride, strict=True))
    if math.prod(size) and (last + 1) * storage.dtype.itemsize > len(storage.numbers):
        raise ValueError("a tensor that is larger than its numbers")
    made: torch.Tensor = torch.empty(0, dtype=storage.dtype).set_(storage.numbers, offset, tuple(size), tuple(stride))
    return made
