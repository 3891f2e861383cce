"""Reading a weight file of a stranger: what it holds, and nothing that it asks to be done.

Four kinds of files are known: safetensors, TorchScript's archives (:mod:`bench.weights_script`), and what
``torch.save`` writes now (a zip archive) and wrote before release 1.6 (pickles behind one another). Pickles of
``torch.save`` go through PyTorch's restricted reader alone (``weights_only=True``), which knows tensors, containers
and numbers and calls nothing else; a file that needs more is refused. Archives are looked at before anything is
unpacked: ``torch.save`` never compresses, so one that does, or whose directory promises more bytes than the file
has, is no checkpoint.
"""

from __future__ import annotations

import pickle
import re
import stat
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DataError, UsageError, in_words, printable
from bench.weights import CONVERTED
from bench.weights_file import load_any, read_header
from bench.weights_objects import read_beside
from bench.weights_script import is_script, read_script

if TYPE_CHECKING:
    import torch

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
#: Every file of the old ``torch.save`` begins with a pickle of this number.
_LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_LEGACY_WITHIN = 16  # bytes
_LARGEST_PICKLE = 1 << 26  # bytes of names and shapes; the largest checkpoints have less than 1 MiB

#: Beginnings of what people take for checkpoints.
_KNOWN = {
    b"version https://git-lfs": "a Git LFS pointer, not the file that it stands for: `git lfs pull` fetches that",
    b"<!DOCTYPE": "a web page: the download went to a page about the file",
    b"<html": "a web page: the download went to a page about the file",
    b"\x89HDF": "an HDF5 file (Keras)",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "gzip-compressed: unpack it first",
    b"BZh": "bzip2-compressed: unpack it first",
    b"7z\xbc\xaf": "a 7-zip archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"GGUF": "a GGUF file",
}
_ASKS = re.compile(r"GLOBAL (\S+) (?:was not an allowed|whose module)|Trying to call (\S+)")


def regular_file(path: Path) -> Path:
    """``path``, if it is a file with something in it.

    Raises:
        UsageError: nothing there, a link to nowhere, a folder, a device.
        DataError: empty.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        wrong = "a link to nothing" if path.is_symlink() else "no such file"
        raise UsageError(f"{path}: {wrong}", "give the path of the official file.") from None
    except OSError as error:  # no rights, a loop of links
        raise UsageError(f"{path}: {error.strerror}", "give the path of the official file.") from error
    if stat.S_ISDIR(state.st_mode):
        raise UsageError(f"{path} is a folder", "give the files in it one by one.")
    if not stat.S_ISREG(state.st_mode):
        raise UsageError(f"{path} is no regular file", "give the path of the official file.")
    if state.st_size == 0:
        raise DataError(f"{path} is empty", "get the file again.")
    return path


def read(path: Path, *, objects: bool = False) -> Any:
    """What a checkpoint holds: tensors (on the CPU, not read from the disk yet where that can be), and containers.

    ``objects``: those of other packages may stand beside the tensors; they come back as empty shells
    (:mod:`bench.weights_objects`).

    Raises:
        DataError: no checkpoint, damaged, or one that would run code; nothing of it was run.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "check that path and the rights to it.") from error
    if head.startswith((_ZIP, _EMPTY_ZIP)):
        script = _check_archive(path)
        if objects and not script:
            return read_beside(path)
        return read_script(path) if script else _unpickled(path, mmap=True)
    if _LEGACY in head[:_LEGACY_WITHIN]:
        return _unpickled(path, mmap=False)
    if head[8:9] == b"{":
        read_header(path)
        return load_any(path)
    known = next((text for begin, text in _KNOWN.items() if head.startswith(begin)), "")
    if not known and head.startswith(b"\x80"):
        known = "a pickle that torch.save did not write, which may hold any code"
    raise DataError(
        f"{path} is {known or 'no checkpoint'}: refused, nothing of it was loaded",
        "a file of torch.save or safetensors is expected.",
    )


def _check_archive(path: Path) -> bool:
    """Look at the directory of a zip archive, nothing is unpacked; whether it is TorchScript's."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error) as error:
        raise DataError(
            f"{path} is cut off or damaged: the archive's directory at its end cannot be read ({in_words(error)})",
            "get the file again; compare its size with the official one.",
        ) from error
    if is_script([entry.filename for entry in entries]):
        return True
    wrong = _wrong_entries(entries, path.stat().st_size)
    if wrong:
        raise DataError(
            f"{path}: {wrong}: refused, nothing of it was unpacked", "a file of torch.save or safetensors is expected."
        )
    return False


def _wrong_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> str:
    """Why an archive cannot be a checkpoint; ``""``: it can."""
    names = [entry.filename for entry in entries]
    total = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        return f"a compressed archive ({total} bytes out of {size}), which torch.save never writes"
    if total > size:
        return f"its directory promises {total} bytes in a file of {size}"
    if len(set(names)) != len(names):
        return "two entries of the archive have one name"
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl") or entry.filename == "data.pkl"]
    if len(pickles) != 1:
        return "a zip archive that torch.save did not write"
    if pickles[0].file_size > _LARGEST_PICKLE:
        return f"its list of tensors has {pickles[0].file_size} bytes"
    return ""


def _unpickled(path: Path, mmap: bool) -> Any:
    import torch

    if path.suffix == CONVERTED:  # PyTorch would choose its reader by the name
        raise DataError(f"{path} is named {CONVERTED} and holds what torch.save writes", "give it its own name back.")
    try:
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise DataError(f"{path}: {_asked(str(error))}: refused, nothing of it was run", _ONLY_TENSORS) from error
    except MemoryError as error:
        raise DataError(f"{path} asks for more memory than there is", "get the file again.") from error
    except Exception as error:  # a damaged or made-up file reaches every corner of the reader
        first = in_words(error).split("\n", 1)[0]
        raise DataError(f"{path} is cut off or damaged: {first}", "get the file again.") from error


_ONLY_TENSORS = "a file of tensors alone is expected: the official one, from its official source."


def _asked(message: str) -> str:
    """What a refused pickle wanted, from the restricted reader's message."""
    found = _ASKS.search(message)
    if found:
        name = next(group for group in found.groups() if group).rstrip(".,")
        return f"it asks for {printable(name, 200)}, which is code or an object and no tensor"
    lines = [line for line in message.splitlines() if line.strip()]
    detail = lines[1] if len(lines) > 1 else message  # the first line is general advice
    return f"it holds more than tensors ({printable(detail.strip(), 200)})"


def state_of(root: Any, keys: Sequence[str], path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a checkpoint: its own, or those under the first of ``keys`` that has some.

    A prefix ``module.`` of all names (of training on several devices) is taken off.

    Raises:
        DataError: none, or something else among them.
    """
    if not isinstance(root, Mapping):
        raise DataError(f"{path} holds a {type(root).__name__}, expected tensors by name", _ONLY_TENSORS)
    inside = root
    if not any(_is_tensor(value) for value in root.values()):
        inside = next((root[key] for key in keys if _has_tensors(root.get(key))), {})
        if not inside:
            told = ", ".join(printable(repr(key), 60) for key in list(root)[:10]) or "nothing"
            wanted = ", ".join(key for key in keys if key.isidentifier())
            raise DataError(f"{path} has no tensors at its top, which holds {told}, nor under {wanted}", _ONLY_TENSORS)
    for name, value in inside.items():
        if not isinstance(name, str) or not _is_tensor(value):
            raise DataError(
                f"{path}: entry {printable(repr(name), 100)} is {_kind(value)}, expected a plain tensor", _ONLY_TENSORS
            )
    prefix = "module."
    if all(name.startswith(prefix) for name in inside):
        return {name.removeprefix(prefix): tensor for name, tensor in inside.items()}
    return dict(inside)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(_is_tensor(entry) for entry in value.values())


def _is_tensor(value: Any) -> bool:
    import torch

    plain = type(value) in {torch.Tensor, torch.nn.Parameter}
    return plain and value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized


def _kind(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return f"a {type(value).__name__} ({value.layout}, {value.device.type}, {value.dtype})"
    return f"a {type(value).__name__}"
