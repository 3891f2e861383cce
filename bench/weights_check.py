"""What a weight file must hold: manifests of names, shapes and types, and how a file differs from one.

A manifest is a JSON file in ``bench/manifests`` (``{"tensors": {NAME: {"shape": [...], "dtype": ...}},
"top_level_keys": [...]}``), or a function ``module:function`` that returns ``{NAME: (shape, dtype)}``. Keys that a
JSON file may have besides: see :class:`Manifest`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.errors import DataError, blaming
from bench.records import WeightFile

_Value = TypeVar("_Value")
FOLDER = Path(__file__).parent / "manifests"
SHOWN = 10  # differences that a message names

#: Bytes of an element, by the name of its type.
ITEM_BYTES: Mapping[str, int] = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
#: Checkpoints keep their tensors under one of these where they are not flat; a manifest may name others.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model")

#: The counter of batch normalisation: files of old releases of PyTorch lack it, and inference never reads it.
COUNTER = "num_batches_tracked"

#: torch.hub's habit: the official file's name ends in the beginning of its SHA-256.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[A-Za-z]+$")


class Spec(NamedTuple):
    """Shape and type (``float32``) of a tensor."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Manifest:
    """The tensors of an official file, and under which keys of the file they may lie.

    ``ignored_in_file``: names that a file may have besides. ``own_prefixes``: names of other beginnings are ignored
    too (what only training needs). ``nested``: a beginning under which larger files have all of these names; where a
    file has it, only what is under it counts. ``tied``: pairs of names of one tensor, of which a file may have either.
    ``any_float``: official files differ in the width of their numbers. ``objects_beside``: they hold objects of other
    packages too, which are not read.
    """

    name: str
    tensors: Mapping[str, Spec]
    keys: tuple[str, ...] = WRAPPERS
    ignored_in_file: frozenset[str] = frozenset()
    own_prefixes: tuple[str, ...] = ("",)
    tied: tuple[tuple[str, str], ...] = ()
    any_float: bool = False
    objects_beside: bool = False
    nested: str = ""

    def taken(self, found: Mapping[str, _Value]) -> dict[str, _Value]:
        """What of a file counts: without ignored names, and with both names of tied tensors."""
        if self.nested and any(name.startswith(self.nested) for name in found):
            inner = {name: value for name, value in found.items() if name.startswith(self.nested)}
            found = {name.removeprefix(self.nested): value for name, value in inner.items()}
        kept = {
            name: value
            for name, value in found.items()
            if name not in self.ignored_in_file and name.startswith(self.own_prefixes)
        }
        for one, other in self.tied:
            there = kept.get(one, kept.get(other))
            if there is not None:
                kept.setdefault(one, there)
                kept.setdefault(other, there)
        return kept

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(math.prod(spec.shape) * ITEM_BYTES[spec.dtype] for spec in self.tensors.values())


def manifest_of(weight: WeightFile) -> Manifest:
    """The declared manifest of a file.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    if weight.manifest is None:
        raise DataError(f"weights {weight.name} have no manifest", "a defect of the plug-in that declares them.")
    with blaming(f"manifest {weight.manifest!r} of weights {weight.name}"):
        return _manifest(weight.manifest)


@cache
def _manifest(name: str) -> Manifest:
    if ":" in name:
        module, _, function = name.partition(":")
        made = getattr(import_module(module), function)()
        return Manifest(name, {key: _spec(shape, dtype) for key, (shape, dtype) in made.items()})
    told = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    specs = {key: _spec(value["shape"], value["dtype"]) for key, value in told["tensors"].items()}
    return Manifest(
        name,
        specs,
        tuple(dict.fromkeys([*told.get("top_level_keys", ()), *WRAPPERS])),
        frozenset(told.get("ignored_in_file", ())),
        tuple(told.get("own_prefixes", ("",))),
        tuple((one, other) for one, other in told.get("tied", ())),
        bool(told.get("any_float", False)),
        bool(told.get("objects_beside", False)),
        str(told.get("nested", "")),
    )


def _spec(shape: Sequence[int], dtype: str) -> Spec:
    if dtype not in ITEM_BYTES:
        raise ValueError(f"type {dtype!r} is not one of {', '.join(ITEM_BYTES)}")
    return Spec(tuple(int(size) for size in shape), dtype)


def hash_in_name(weight: WeightFile) -> str:
    """The beginning of the official file's SHA-256 where the file's name tells it, else ``""``."""
    found = _HASH_IN_NAME.search(weight.name)
    return found.group(1) if found else ""


def is_official(weight: WeightFile, sha256: str) -> bool:
    """Whether a hash is the declared one (or begins as the file's name says)."""
    if weight.sha256 is not None:
        return sha256 == weight.sha256
    begin = hash_in_name(weight)
    return bool(begin) and sha256.startswith(begin)


@dataclass(frozen=True)
class Difference:
    """How a file's tensors differ from a manifest; each line is ``name: what``."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    shapes: tuple[str, ...]
    dtypes: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """Everything, what weighs most first."""
        return [*self.missing, *self.extra, *self.shapes, *self.dtypes]

    def __bool__(self) -> bool:
        return bool(self.lines)

    def __str__(self) -> str:
        """How many tensors differ, of which kind, and the first ten."""
        kinds = {"missing": self.missing, "not expected": self.extra, "of another shape": self.shapes}
        kinds["of another type"] = self.dtypes
        counts = ", ".join(f"{len(lines)} {kind}" for kind, lines in kinds.items() if lines)
        shown = self.lines[:SHOWN]
        rest = len(self.lines) - len(shown)
        tail = [f"and {rest} more"] if rest else []
        return f"{len(self.lines)} tensors differ ({counts}):\n    " + "\n    ".join([*shown, *tail])


def difference(found: Mapping[str, Spec], wanted: Manifest, official: bool = False) -> Difference:
    """Compare a file's tensors with a manifest.

    Counters of batch normalisation may be absent. ``official``: the hash is the declared one, so that
    the width of its numbers is the official one whatever the manifest says.
    """
    names = wanted.tensors
    missing = [f"{n}: missing" for n in names if n not in found and not is_counter(n)]
    extra = [f"{n}: not expected ({spec})" for n, spec in found.items() if n not in names]
    both = [(n, spec, names[n]) for n, spec in found.items() if n in names]
    shapes = [f"{n}: shape {list(a.shape)}, expected {list(b.shape)}" for n, a, b in both if a.shape != b.shape]
    dtypes = [
        f"{n}: {a.dtype}, expected {b.dtype}"
        for n, a, b in both
        if a.dtype != b.dtype and not ((official or wanted.any_float) and _floating(a) and _floating(b))
    ]
    return Difference(tuple(missing), tuple(extra), tuple(shapes), tuple(dtypes))


def likeness(found: Mapping[str, Spec], wanted: Manifest) -> float:
    """Share of common names, 0 to 1; counters of batch normalisation aside."""
    ours = {name for name in found if not is_counter(name)}
    theirs = {name for name in wanted.tensors if not is_counter(name)}
    return len(ours & theirs) / max(1, len(ours | theirs))


def is_counter(name: str) -> bool:
    """Whether a tensor is batch normalisation's counter."""
    return name.rpartition(".")[2] == COUNTER


def _floating(spec: Spec) -> bool:
    return "float" in spec.dtype
