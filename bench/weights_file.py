"""The files that ``bench weights add`` writes: safetensors whose metadata say what they were made from.

Format: 8 bytes (little endian) length of the header, the header as JSON, the tensors one behind another.
Files are written piece by piece (memory does not grow with their size) under a temporary name, and
renamed when they are complete and on the disk.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DataError, in_words
from bench.records import WeightFile
from bench.weights_check import ITEM_BYTES, Spec, difference, manifest_of

if TYPE_CHECKING:
    import torch

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_PIECE = 1 << 24  # bytes handed on at a time
_STALE_S = 86_400.0  # a temporary file of that age belongs to nobody any more

#: Types as safetensors writes them.
DTYPES: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_CODES = {name: code for code, name in DTYPES.items()}


@dataclass(frozen=True)
class Header:
    """Names, shapes and types of a file's tensors, and its metadata."""

    tensors: Mapping[str, Spec]
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """What a converted file says about its origin.

    ``source_sha256`` and ``source_name`` are those of the user's file; ``tensors_sha256`` is :func:`digest`.
    """

    source_sha256: str
    source_name: str
    weight: str
    manifest: str
    tensors_sha256: str
    bench_version: str


def recorded(metadata: Mapping[str, str], path: Path) -> Record:
    """The record in a file's metadata.

    Raises:
        DataError: there is none.
    """
    try:
        return Record(**{name: metadata[name] for name in Record.__dataclass_fields__})
    except KeyError as error:
        raise DataError(
            f"{path} was not written by `bench weights add`: its metadata lack {error}",
            "remove it, then `bench weights add` the official file.",
        ) from error


def read_header(path: Path) -> Header:
    """The header of a safetensors file; what it says fits the file's size.

    Raises:
        DataError: no such file, or a damaged one.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            if not 0 < length <= _LONGEST_HEADER:
                raise DataError(f"{path} is damaged: no safetensors header")
            told = json.loads(stream.read(length))
            size = os.fstat(stream.fileno()).st_size - _LENGTH_BYTES - length
        metadata = told.pop("__metadata__", {})
        specs = {name: Spec(tuple(entry["shape"]), DTYPES[entry["dtype"]]) for name, entry in told.items()}
        _check_places(told, specs, size)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "check that path and the rights to it.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged or cut off: {in_words(error)}", "get the file again.") from error
    return Header(specs, metadata)


def _check_places(told: Mapping[str, Any], specs: Mapping[str, Spec], size: int) -> None:
    """Tensors must lie one behind another and fill the ``size`` bytes behind the header, no more and no less."""
    end = 0
    for name, entry in sorted(told.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        start, stop = entry["data_offsets"]
        need = math.prod(specs[name].shape) * ITEM_BYTES[specs[name].dtype]
        if start != end or stop - start != need or any(length < 0 for length in specs[name].shape):
            raise ValueError(f"tensor {name!r} does not lie where it must")
        end = stop
    if end != size:
        raise ValueError(f"{size} bytes of tensors, expected {end}")


def load(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a converted file, on the CPU, held against their recorded hash.

    Raises:
        DataError: the file is damaged.
    """
    wanted = recorded(read_header(path).metadata, path).tensors_sha256
    found = load_any(path)
    if digest(found) != wanted:
        raise DataError(
            f"{path} is damaged: its tensors hash to other than when it was written",
            "remove it, then `bench weights add` the official file again.",
        )
    return found


def load_any(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of any safetensors file, on the CPU.

    Raises:
        DataError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged: {in_words(error)}", "get the file again.") from error
    return found


def digest(tensors: Mapping[str, torch.Tensor], step: Callable[[int], None] | None = None) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, by name; ``step`` is told the bytes of each piece."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        spec = spec_of(tensors[name])
        state.update(json.dumps([name, spec.dtype, spec.shape]).encode())
        for piece in _pieces(tensors[name]):
            state.update(piece)
            if step is not None:
                step(len(piece))
    return state.hexdigest()


def spec_of(tensor: torch.Tensor) -> Spec:
    """Shape and type of a tensor."""
    return Spec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def _pieces(tensor: torch.Tensor) -> Iterator[memoryview]:
    import torch

    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
    for start in range(0, len(raw), _PIECE):
        yield raw[start : start + _PIECE]


def write(
    path: Path, tensors: Mapping[str, torch.Tensor], record: Record, step: Callable[[int], None] | None = None
) -> None:
    """Write tensors and record; the file appears under its name only when it is complete."""
    # widest elements first, so that each tensor starts at a multiple of its element's size
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    with _appearing(path) as stream:
        stream.write(_header_bytes({name: spec_of(tensors[name]) for name in names}, asdict(record)))
        for name in names:
            for piece in _pieces(tensors[name]):
                stream.write(piece)
                if step is not None:
                    step(len(piece))


def copy(path: Path, source: Path, step: Callable[[int], None] | None = None) -> None:
    """A copy of ``source`` that appears under its name only when it is complete."""
    with _appearing(path) as stream, source.open("rb") as given:
        while piece := given.read(_PIECE):
            stream.write(piece)
            if step is not None:
                step(len(piece))


def _header_bytes(specs: Mapping[str, Spec], metadata: Mapping[str, str]) -> bytes:
    told: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, spec in specs.items():
        end = offset + math.prod(spec.shape) * ITEM_BYTES[spec.dtype]
        told[name] = {"dtype": _CODES[spec.dtype], "shape": list(spec.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # tensors start at a multiple of eight
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[Any]:
    """A stream to a temporary file that becomes ``path`` at the end, and nothing at all after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(FileNotFoundError):  # another process may be clearing up too
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    number = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def check_header(weight: WeightFile, path: Path) -> None:
    """Hold the header of a converted file against the declaration; its numbers are not read.

    Raises:
        DataError: damaged, made from another file than the declared one, or other tensors.
    """
    header = read_header(path)
    record = recorded(header.metadata, path)
    official = weight.sha256 is not None
    if official and record.source_sha256 != weight.sha256:
        raise DataError(
            f"{path} was made from a file with SHA-256 {record.source_sha256}, declared is {weight.sha256}",
            "`bench weights add --force FILE` with the official file.",
        )
    manifest = manifest_of(weight)
    found = difference(header.tensors, manifest, official)
    absent = [name for name in manifest.tensors if name not in header.tensors]
    if found or absent:
        raise DataError(
            f"{path} does not fit manifest {manifest.name}: {found or f'{len(absent)} counters missing'}",
            "the manifest has changed: `bench weights add --force FILE` with the official file.",
        )
